# SPDX-License-Identifier: Apache-2.0
"""What the documents promise to whoever writes a client is checked: bytes, checksums, tables, programs."""

import re
import subprocess
import sys

import pytest
import request_pb2

from sluice_client import errors, read_batches
from sluice_client.batch import canonical
from sluice_client.crc32c import crc32c
from support import GENERATED, ROOT

PAGE = (ROOT / "proto/README.md").read_text()


def hex_block(name):
    """The bytes of a ```hex block: on each line the pairs of hex digits it begins with."""
    block, = re.findall(rf"^```hex {name}\n(.*?)^```", PAGE, re.M | re.S)
    lines = (re.match(r" *((?:[0-9a-f]{2} {0,2})+)(?: {2}|$)", line + "  ") for line in block.splitlines())
    return b"".join(bytes.fromhex(line[1]) for line in lines)


@pytest.mark.parametrize("direction, name", [("request", "hello"), ("request", "produce"), ("response", "produce"),
                                             ("request", "fetch"), ("response", "fetch")])
def test_example_frames_are_of_the_schema(direction, name):
    data = hex_block(f"{direction} {name}")
    assert int.from_bytes(data[:4], "big") == len(data) - 4
    message = {"request": request_pb2.Request, "response": request_pb2.Response}[direction].FromString(data[4:])
    assert message.WhichOneof("body") == name
    assert message.SerializeToString() == data[4:], "as a stock runtime would write it"


def produced_batch():
    request = request_pb2.Request.FromString(hex_block("request produce")[4:])
    batch, = read_batches(request.produce.topic[0].partition[0].batches)
    return batch


def test_example_checksums():
    batch = produced_batch()
    assert crc32c(hex_block("covered batch_crc")) == batch.batch_crc
    assert crc32c(hex_block("covered header_crc")) == batch.header_crc
    response = request_pb2.Response.FromString(hex_block("response fetch")[4:])
    assert response.fetch.topic[0].partition[0].batches == canonical(batch)


def test_example_exchange_with_a_real_broker(broker, client):
    client.create_topic("greetings", 1)
    client.list_offset("greetings", 0, -1)  # once it answers, the broker leads the partition
    with broker.connect(hello=False) as c:
        c.send_bytes(hex_block("request hello"))
        hello = c.receive(1)
        assert (hello.version, hello.role) == (1, "broker")
        for name, body in (("produce", 2), ("fetch", 3)):
            c.send_bytes(hex_block(f"request {name}"))
            assert c.receive_any() == request_pb2.Response.FromString(hex_block(f"response {name}")[4:])


def table_in(text, *columns):
    """Rows of the Markdown table that has these columns."""
    head = r"\| " + r" \| ".join(columns) + r" \|\n\|[-|]+\|\n"
    body, = re.findall(head + r"((?:\|.*\n)+)", text)
    return [[cell.strip() for cell in row.strip("|\n").split("|")] for row in body.splitlines()]


def test_error_table_is_that_of_the_code():
    source = (ROOT / "proto/base/err.h").read_text()
    classes = {"REROUTE": "refresh metadata"}
    expected = sorted(
        [int(number), name, classes.get(class_, class_.lower()), text]
        for name, number, class_, text in re.findall(r'X\(E_(\w+),\s+(\d+),\s+(\w+),\s+"([^"]+)"\)', source))
    found = [[int(number), *rest] for number, *rest in table_in(PAGE, "number", "name", "class", "meaning")]
    assert found == expected
    assert errors.CODES == {number: name for number, name, *_ in expected}


def test_limits_are_those_of_the_code():
    source = (ROOT / "proto/base/limits.h").read_text()
    limits = {row[0]: row[1] for row in table_in(PAGE, "what", "limit", "beyond it")}

    def constant(name):
        text, = re.findall(rf"^ +{name} = ([^,/]+?)[,\n ]*(?:/\*|,|$)", source, re.M)
        return eval(text, {"KIB": 1 << 10, "MIB": 1 << 20})

    assert limits["a frame before hello"] == f"{constant('FRAME_BYTES_BEFORE_HELLO') >> 10} KiB"
    assert f"({constant('FRAME_BYTES_MAX') >> 20} MiB" in limits["a frame of `produce`"]
    assert limits["a frame of any other request"] == f"{constant('CONTROL_FRAME_BYTES_MAX') >> 20} MiB"
    assert limits["nesting of messages in a request"] == f"{constant('MESSAGE_DEPTH_MAX')}"
    assert limits["unknown fields in a request"] == f"{constant('MESSAGE_UNKNOWN_MAX')}"
    assert limits["repeated elements in a request"] == f"{constant('MESSAGE_ELEMENTS_MAX'):,} in all"
    assert limits["`client_id`"] == f"{constant('CLIENT_ID_BYTES_MAX')} bytes"
    assert f"({constant('BATCH_BYTES_DEFAULT'):,})" in limits["a batch"]
    assert limits["records in a batch"] == f"{constant('BATCH_RECORDS_MAX'):,}"
    assert limits["a batch, decoded"] == f"{constant('DECODED_RATIO')} times its size and {constant('DECODED_SLACK') >> 20} MiB"
    assert f"1 to {constant('TOPIC_NAME_MAX')} of" in limits["a topic name"]


def test_the_python_client_s_example_runs(broker):
    program, = re.findall(r"^```python\n(.*?)^```", (ROOT / "clients/python/README.md").read_text(), re.M | re.S)
    assert "localhost:9290" in program
    done = subprocess.run(
        [sys.executable, "-c", program.replace("localhost:9290", broker.addresses["metad"])],
        env={"PYTHONPATH": f"{ROOT / 'clients/python'}:{GENERATED}"}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "0 None b'hello'\n1 b'key' b'world'\n"
