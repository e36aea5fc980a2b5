# SPDX-License-Identifier: Apache-2.0
"""Starting: what it says, what it refuses, and with which status."""

import os
import re
import shutil
import socket
import subprocess

import pytest

from messages import values
from support import BUILD, eventually

BROKER = str(BUILD / "bin/sluice-broker")


def run(*words, env=None):
    return subprocess.run([BROKER, *words], capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL,
                          env={**os.environ, **(env or {})})


def test_help_and_version():
    done = run("--help")
    assert done.returncode == 0 and "--standalone" in done.stdout and "--set" in done.stdout
    done = run("--version")
    assert done.returncode == 0 and "sluice-broker" in done.stdout
    done = run("--help-config")
    assert done.returncode == 0 and "data.dirs" in done.stdout and "log.segment.bytes" in done.stdout


@pytest.mark.parametrize("words", [["--bogus"], ["--set"], ["--standalone", "stray"], ["--ready-fd", "x"],
                                   ["--standalone", "--ready-fd", "77"]])
def test_a_wrong_command_line(words):
    done = run(*words)
    assert done.returncode == 2
    assert done.stderr.strip() and "sluice-broker" in done.stderr


def test_all_wrong_configs_are_named_at_once(directory):
    config = directory / "broker.properties"
    config.write_text("log.segment.bytes=big\n# a comment\nno equals sign\nmystery.key = 1\n")
    done = run("--standalone", "--config", str(config), "--set", "num.partitions=-3", "--set", "data.dirz=/tmp",
               "--set", "listener=nonsense", "--set", "compression.type=rar", env={"SLUICE_NUM_IO_THREADS": "many"})
    assert done.returncode == 2
    for key in ("log.segment.bytes", "mystery.key", "num.partitions", "data.dirz", "listener", "compression.type",
                "num.io.threads"):
        assert key in done.stderr, f"{key} is not named in\n{done.stderr}"
    assert f"{config.name}:1" in done.stderr and f"{config.name}:3" in done.stderr, "with its place"
    assert "data.dirs" in done.stderr, "what was probably meant"


def test_a_config_file_that_is_not_there(directory):
    done = run("--standalone", "--config", str(directory / "missing"))
    assert done.returncode == 2 and "missing" in done.stderr


def test_sources_of_configuration(new_broker):
    """--set wins over the environment, the environment over the file, the file over the default."""
    broker = new_broker({"num.partitions": 3}, env={"SLUICE_NUM_PARTITIONS": "4", "SLUICE_LOG_SEGMENT_BYTES": "3000000"})
    config = broker.directory / "broker.properties"
    config.write_text("num.partitions=5\nlog.segment.bytes=4000000\nlog.retention.ms = 12345\n")
    broker.args = ["--config", str(config)]
    client = broker.start().client()
    client.create_topic("t")
    entries = client.describe_configs("t")
    assert len(client.topic("t").partition) == 3
    assert (entries["segment.bytes"].value, entries["retention.ms"].value) == ("3000000", "12345")


def test_ready_means_ready(broker):
    """What the ready descriptor says is bound and serves; stderr says it too."""
    assert set(broker.addresses) >= {"metad", "broker", "http"}
    for name, role in (("metad", "metad"), ("broker", "broker")):
        assert broker.connect(name).hello.role == role
    assert broker.http("/health/ready")[0] == 200
    broker.says("ready")


def test_several_listeners(new_broker):
    broker = new_broker({"listeners": "INSIDE://127.0.0.1:0,OUTSIDE://127.0.0.2:0",
                         "metad.listeners": "INSIDE://127.0.0.1:0,OUTSIDE://127.0.0.2:0"})
    del broker.settings["listener"], broker.settings["metad.listener"]
    broker.start()
    assert {"broker.INSIDE", "broker.OUTSIDE"} <= set(broker.addresses)
    # Whoever bootstraps at a listener is given the brokers' addresses of that name.
    import metadata_pb2
    for name, host in (("INSIDE", "127.0.0.1"), ("OUTSIDE", "127.0.0.2")):
        told = broker.connect(f"metad.{name}").call(metadata_pb2.MetadataRequest()).broker[0]
        assert f"{told.host}:{told.port}" == broker.addresses[f"broker.{name}"]
        assert told.host == host
        assert broker.connect(f"broker.{name}").hello.role == "broker"


def test_an_advertised_address(start_broker):
    import metadata_pb2
    broker = start_broker({"advertised.listener": "broker.example:9292"})
    told = broker.connect("metad").call(metadata_pb2.MetadataRequest()).broker[0]
    assert (told.host, told.port) == ("broker.example", 9292)


@pytest.mark.parametrize("key", ["listener", "metad.listener", "http.listener"])
def test_a_port_in_use(new_broker, key):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        broker = new_broker({key: address}).launch()
        assert broker.wait() == 1
    assert address in broker.stderr() and "in use" in broker.stderr()
    # It left nothing behind that would be in the way.
    broker.settings[key] = "127.0.0.1:0"
    broker.start()


def test_two_brokers_on_one_data_directory(new_broker):
    first = new_broker().start()
    client = first.client()
    client.create_topic("t", 1)
    client.produce("t", 0, [b"v"])
    second = new_broker({"data.dirs": str(first.data)}).launch()
    assert second.wait() == 1
    assert str(first.data) in second.stderr()
    # The first does not notice.
    client.produce("t", 0, [b"w"])
    assert values(client.read_all("t", 0)) == [b"v", b"w"]
    first.kill()
    second.start()
    assert values(second.client().read_all("t", 0)) == [b"v", b"w"]


def test_a_data_directory_of_another_cluster(new_broker):
    one, other = new_broker().start(), new_broker().start()
    one.terminate(), other.terminate()
    mixed = new_broker({"data.dirs": f"{one.data},{other.data}"}).launch()
    assert mixed.wait() == 1
    assert str(one.data) in mixed.stderr() or str(other.data) in mixed.stderr()
    for b in (one, other):  # both are unharmed
        b.restart()


def test_a_data_directory_that_is_a_file(new_broker):
    broker = new_broker()
    broker.data.write_text("not a directory")
    assert broker.launch().wait() == 1
    assert str(broker.data) in broker.stderr()


def test_the_data_directory_is_made(new_broker):
    broker = new_broker()
    assert not broker.data.exists()
    broker.start()
    assert broker.data.is_dir()


def test_its_parent_is_not(new_broker):
    """A missing parent is more likely a disk that is not mounted than a wish."""
    broker = new_broker()
    broker.settings["data.dirs"] = str(broker.directory / "not/mounted")
    assert broker.launch().wait() == 1
    assert re.search("not/mounted.*not mounted", broker.stderr())


def test_a_foreign_file_in_the_data_directory_is_left_alone(new_broker):
    broker = new_broker()
    (broker.data / "lost+found").mkdir(parents=True)
    (broker.data / "notes.txt").write_text("mine")
    (broker.data / "topic-0.zzzzzzzz").mkdir()
    broker.start()
    broker.terminate()
    assert (broker.data / "notes.txt").read_text() == "mine"
    assert (broker.data / "lost+found").is_dir() and (broker.data / "topic-0.zzzzzzzz").is_dir()


def test_systemd_is_notified(new_broker):
    broker = new_broker()
    path = str(broker.directory / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(path)
        s.settimeout(20)
        broker.env["NOTIFY_SOCKET"] = path
        broker.start()
        assert b"READY=1" in s.recv(4096)
        assert broker.terminate() == 0
        assert b"STOPPING=1" in s.recv(4096)


def test_a_move_of_the_data_directory(new_broker):
    """A directory knows itself by what is in it, not by its path."""
    broker = new_broker().start()
    client = broker.client()
    client.create_topic("t", 1)
    client.produce("t", 0, [b"v"])
    broker.terminate()
    moved = broker.directory / "moved"
    shutil.move(broker.data, moved)
    broker.settings["data.dirs"] = str(moved)
    broker.restart()
    assert values(broker.client().read_all("t", 0)) == [b"v"]


def test_descriptor_limits_are_raised(start_broker):
    """A soft limit of 64 descriptors, as some shells have, does not limit a broker whose hard limit is higher."""
    import resource
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    broker = start_broker(preexec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard)))
    connections = [broker.connect() for _ in range(100)]
    assert all(c.hello.role == "broker" for c in connections)
    eventually(lambda: broker.descriptors() > 100)
