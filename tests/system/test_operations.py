# SPDX-License-Identifier: Apache-2.0
"""Health, metrics, diagnostics: what an operator looks at."""

import re
import socket

from messages import fetch_request, fill, refused
from sluice_client import SluiceError
from support import eventually

LINE = re.compile(r'[a-zA-Z_:][a-zA-Z0-9_:]*(\{([a-z_]+="(\\.|[^"\\])*",?)*\})? (-?[0-9.e+-]+|NaN|[+-]Inf)')


def samples(broker):
    """name -> [(labels, value)], after every line was parsed strictly."""
    status, text = broker.http("/metrics")
    assert status == 200
    types, found = {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name not in types, f"{name} is declared twice"
            assert kind in ("counter", "gauge", "histogram"), line
            types[name] = kind
        elif line.startswith("# HELP "):
            assert len(line.split(maxsplit=3)) == 4, line
        else:
            assert LINE.fullmatch(line), line
            name = re.match(r"[a-zA-Z0-9_:]+", line)[0]
            family = re.sub(r"_(bucket|sum|count)$", "", name) if re.sub(r"_(bucket|sum|count)$", "", name) in types else name
            assert family in types, f"no TYPE for {line}"
            if types[family] == "counter":
                assert name.endswith("_total"), line
            labels = dict(re.findall(r'([a-z_]+)="((?:\\.|[^"\\])*)"', line))
            found.setdefault(name, []).append((labels, float(line.rsplit(" ", 1)[1])))
    return found


def value(found, name, **labels):
    matching = [v for l, v in found[name] if labels.items() <= l.items()]
    assert matching, f"{name}{labels}: {found[name]}"
    return sum(matching)


def test_health(broker):
    for path in ("/health/live", "/health/ready"):
        status, text = broker.http(path)
        assert status == 200 and text
    assert broker.http("/nowhere")[0] == 404


def test_http_refuses_other_methods_and_nonsense(broker):
    host, port = broker.addresses["http"].rsplit(":", 1)
    for request, status in ((b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", b"405"),
                            (b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", b"404")):
        with socket.create_connection((host, int(port)), 10) as s:
            s.sendall(request)
            assert s.recv(4096).split()[1] == status
    with socket.create_connection((host, int(port)), 10) as s:
        s.sendall(b"\x16\x03\x01" + bytes(200))
    assert broker.http("/health/live")[0] == 200


def test_metrics_follow_what_happens(broker, client):
    client.create_topic("orders", 2)
    client.produce("orders", 1, [bytes(1000)] * 10)
    client.read_all("orders", 1)
    found = samples(broker)
    assert value(found, "sluice_partition_log_end_offset", topic="orders", partition="1") == 10
    assert value(found, "sluice_partition_log_start_offset", topic="orders", partition="1") == 0
    assert value(found, "sluice_partition_size_bytes", topic="orders", partition="1") > 10_000
    before = value(found, "sluice_requests_total", api="produce")
    client.produce("orders", 0, [b"x"])
    found = samples(broker)
    assert value(found, "sluice_requests_total", api="produce") == before + 1
    assert value(found, "sluice_partition_log_end_offset", topic="orders", partition="0") == 1
    with refused("UNKNOWN_TOPIC_OR_PARTITION"):
        client.produce("nowhere", 0, [b"x"], timeout=0)


def test_histograms_are_histograms(broker, client, topic):
    client.produce(topic, 0, [b"v"])
    found = samples(broker)
    families = {name.removesuffix("_bucket") for name in found if name.endswith("_bucket")}
    assert families
    for family in families:
        series = {}
        for labels, count in found[family + "_bucket"]:
            le = labels.pop("le")
            series.setdefault(tuple(sorted(labels.items())), []).append((float(le.replace("+Inf", "inf")), count))
        for labels, buckets in series.items():
            assert buckets == sorted(buckets), "bounds ascend, counts too"
            assert [c for _, c in buckets] == sorted(c for _, c in buckets)
            assert buckets[-1][0] == float("inf")
            total = [v for l, v in found[family + "_count"] if tuple(sorted(l.items())) == labels]
            assert total == [buckets[-1][1]]


def test_process_figures(broker):
    found = samples(broker)
    assert abs(value(found, "process_resident_memory_bytes") - broker.memory()) < 16 << 20
    before = value(found, "process_open_fds")
    held = [broker.connect() for _ in range(20)]
    assert value(samples(broker), "process_open_fds") >= before + 20
    [c.close() for c in held]
    eventually(lambda: value(samples(broker), "process_open_fds") < before + 20)


def test_hostile_names_do_not_break_the_page(broker, client):
    """Topic names are tame; client ids and what a peer sends must not reach the page raw."""
    c = broker.connect(client_id='evil"} 1\nsluice_fake 1\n# ')
    c.call(fetch_request("nowhere\n\"}", 0))
    assert "sluice_fake" not in samples(broker)
    assert all("\x1b" not in line for line in broker.stderr().splitlines())


def test_many_partitions_on_one_page(broker, client):
    client.create_topic("wide", 500)
    client.produce("wide", 499, [b"v"])
    found = samples(broker)
    assert len([1 for labels, _ in found["sluice_partition_log_end_offset"] if labels["topic"] == "wide"]) == 500


def test_diagnostics_are_one_line_each(broker, client, topic):
    fill(client, topic, 100_000)
    broker.terminate()
    for line in broker.stderr().splitlines():
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (error|warn|info|debug) +\S+ ", line), line


def test_payloads_are_never_logged(broker, client, topic):
    client.produce(topic, 0, [b"SECRETPAYLOAD" * 3])
    try:
        client.produce_bytes(topic, 0, b"SECRETPAYLOAD" * 3)
    except SluiceError:
        pass
    broker.terminate()
    assert "SECRETPAYLOAD" not in broker.stderr()


def test_no_http_unless_asked(new_broker):
    broker = new_broker()
    del broker.settings["http.listener"]
    broker.start()
    assert "http" not in broker.addresses
