# SPDX-License-Identifier: Apache-2.0
"""Topics come, grow, change and go; metadata tells."""

import os
import threading

import configs_pb2
import metadata_pb2
import pytest
import topic_admin_pb2

from messages import fetch_request, fill, produce_request, refused, result_of, values
from sluice_client import EARLIEST, SluiceError
from support import eventually


# --- create ---------------------------------------------------------------------------------


def test_a_new_topic_is_in_metadata(broker, client):
    made = client.create_topic("orders", 3, {"retention.ms": 1000})
    assert (made.name, made.partitions, made.replication_factor, len(made.topic_id)) == ("orders", 3, 1, 16)
    info = client.topic("orders", refresh=True)
    assert info.topic_id == made.topic_id
    assert [(c.key, c.value) for c in info.config] == [("retention.ms", "1000")]
    assert [p.partition for p in info.partition] == [0, 1, 2]
    broker_info, = client.metadata().broker
    assert {p.leader for p in info.partition} == {broker_info.id}
    assert all(list(p.replica) == list(p.isr) == [broker_info.id] for p in info.partition)
    assert info.min_insync_replicas == 1
    assert f"{broker_info.host}:{broker_info.port}" == broker.addresses["broker"]


def test_counts_left_out_are_the_broker_s(start_broker):
    client = start_broker({"num.partitions": 5}).client()
    assert client.create_topic("plain").partitions == 5


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "a/b", "../x", "ä", "x" * 201, "a\nb", "a:b", "__mine"])
def test_invalid_names(client, name):
    with refused("INVALID_TOPIC"):
        client.create_topic(name, 1)


@pytest.mark.parametrize("name", ["a", "A.b_c-9", "x" * 200, "...", "_mine"])
def test_valid_names(client, name):
    client.create_topic(name, 1)
    client.produce(name, 0, [b"v"])
    assert values(client.read_all(name, 0)) == [b"v"]


def test_a_name_with_a_nul(client):
    with refused("INVALID_REQUEST"):
        client.create_topic("a\0b", 1)


def test_names_that_differ_only_by_dot_and_underscore(client):
    client.create_topic("a.b", 1)
    with refused("INVALID_TOPIC", "a.b"):
        client.create_topic("a_b", 1)


@pytest.mark.parametrize("partitions", [0, -1, 10_001, 1 << 30])
def test_invalid_partition_counts(client, partitions):
    with refused("INVALID_PARTITIONS"):
        client.create_topic("t", partitions)


@pytest.mark.parametrize("factor", [0, -1, 2])
def test_invalid_replication_factors(client, factor):
    with refused("INVALID_REPLICATION_FACTOR"):
        client.create_topic("t", 1, replication_factor=factor)


def test_a_second_of_that_name(client, topic):
    with refused("TOPIC_EXISTS", topic):
        client.create_topic(topic, 1)


def test_wrong_configs_are_all_named(client):
    with refused("INVALID_CONFIG") as caught:
        client.create_topic("t", 1, {"retention.ms": "soon", "no.such.key": "1", "segment.bytes": "1"})
    for key in ("retention.ms", "no.such.key", "segment.bytes"):
        assert key in caught.value.message
    with refused("UNKNOWN_TOPIC_OR_PARTITION"):
        client.topic("t", refresh=True)


def test_each_topic_is_decided_by_itself(client, topic):
    request = topic_admin_pb2.CreateTopicsRequest()
    for name in ("one", topic, "b/d", "two"):
        request.topic.add(name=name, partitions=1)
    response = client.ask_metad(request)
    assert [(r.name, r.error.code) for r in response.topic] == [("one", 0), (topic, 36), ("b/d", 17), ("two", 0)]
    assert {t.name for t in client.metadata(min_version=response.version).topic} >= {"one", "two", topic}


def test_the_same_name_twice_in_one_request(client):
    request = topic_admin_pb2.CreateTopicsRequest()
    for _ in range(2):
        request.topic.add(name="twin", partitions=1)
    response = client.ask_metad(request)
    codes = sorted(r.error.code for r in response.topic)
    assert codes in ([0, 36], [42, 42], [0, 42])
    image = client.metadata(min_version=response.version)
    assert len([t for t in image.topic if t.name == "twin"]) == codes.count(0)


def test_validate_only_makes_nothing(client):
    request = topic_admin_pb2.CreateTopicsRequest(validate_only=True)
    request.topic.add(name="maybe", partitions=1)
    request.topic.add(name="n/o", partitions=1)
    assert [r.error.code for r in client.ask_metad(request).topic] == [0, 17]
    assert "maybe" not in {t.name for t in client.metadata().topic}


# --- delete and create again ----------------------------------------------------------------


def test_a_deleted_topic_is_gone(broker, client, topic):
    client.produce(topic, 0, [b"v"])
    old_id = client.topic_id(topic)
    client.delete_topic(topic)
    with refused("UNKNOWN_TOPIC_OR_PARTITION", topic):
        client.topic(topic, refresh=True)
    by_id = client.metad().call(metadata_pb2.MetadataRequest(topic_id=[old_id]))
    assert by_id.topic[0].error.code in (3, 100)
    c = broker.connect()
    eventually(lambda: result_of(c.call(fetch_request(topic, 0))).error.code == 3, what="the broker let go")
    with refused("UNKNOWN_TOPIC_OR_PARTITION"):
        client.delete_topic(topic)


def test_its_files_go_too(start_broker):
    broker = start_broker({"log.retention.check.interval.ms": 50})
    client = broker.client()
    client.create_topic("t", 2, {"file.delete.delay.ms": 0})
    client.produce("t", 0, [b"v"])
    assert broker.partition("t", 0).is_dir()
    client.delete_topic("t")
    eventually(lambda: not list(broker.data.glob("t-*")), what="no directory of the topic is left")


def test_created_again_it_is_another(broker, client, topic):
    client.produce(topic, 0, [b"old"] * 10)
    old_id, old_directory = client.topic_id(topic), broker.partition(topic)
    client.delete_topic(topic)
    client.create_topic(topic, 1)
    assert client.topic_id(topic) != old_id
    assert client.read_all(topic, 0) == []
    assert client.produce(topic, 0, [b"new"]).base_offset == 0
    assert values(client.read_all(topic, 0)) == [b"new"]
    assert broker.partition(topic) != old_directory
    # Who still means the old one learns it.
    request = produce_request(topic, [b"late"])
    request.topic[0].topic_id = old_id
    assert result_of(client.leader(topic, 0).call(request)).error.code in (100, 103)
    request.topic[0].ClearField("name")
    assert result_of(client.leader(topic, 0).call(request)).error.code == 100
    # And so it stays after a crash.
    broker.kill()
    broker.restart()
    assert values(broker.client().read_all(topic, 0)) == [b"new"]


def test_again_and_again(broker, client):
    ids = set()
    for i in range(20):
        ids.add(client.create_topic("phoenix", 1).topic_id)
        client.produce("phoenix", 0, [b"%d" % i])
        assert values(client.read_all("phoenix", 0)) == [b"%d" % i]
        client.delete_topic("phoenix")
    assert len(ids) == 20


def test_delete_by_id(client, topic):
    request = topic_admin_pb2.DeleteTopicsRequest(topic_id=[client.topic_id(topic)])
    result, = client.ask_metad(request).topic
    assert (result.name, result.error.code) == (topic, 0)


def test_the_disk_space_of_a_deleted_topic_comes_back(start_broker):
    """Also if nothing else is produced ever after, and somebody reads it to the end."""
    broker = start_broker({"log.flush.offset.checkpoint.interval.ms": "50"})
    client = broker.client()
    client.create_topic("t", 1, {"file.delete.delay.ms": 0})
    client.produce("t", 0, [b"v"])
    client.read_all("t", 0)
    client.delete_topic("t")

    def files():
        folder = f"/proc/{broker.process.pid}/fd"
        return [os.readlink(f"{folder}/{fd}") for fd in os.listdir(folder)]

    eventually(lambda: not list(broker.data.glob("t-0*")), what="its directory is gone")
    eventually(lambda: not [f for f in files() if "/t-0." in f], what="its files are closed")


# --- grow -----------------------------------------------------------------------------------


def test_more_partitions(client, topic):
    client.produce(topic, 0, [b"kept"])
    client.create_partitions(topic, 3)
    assert len(client.topic(topic, refresh=True).partition) == 3
    for partition in (1, 2):
        client.produce(topic, partition, [b"%d" % partition])
    assert [values(client.read_all(topic, p)) for p in range(3)] == [[b"kept"], [b"1"], [b"2"]]


@pytest.mark.parametrize("total", [0, 1, 2, 10_001])
def test_partitions_only_grow(client, total):
    client.create_topic("t", 2)
    with refused("INVALID_PARTITIONS"):
        client.create_partitions("t", total)
    with refused("UNKNOWN_TOPIC_OR_PARTITION"):
        client.create_partitions("nowhere", 3)


# --- configs --------------------------------------------------------------------------------


def test_configs_have_values_and_sources(client, topic):
    entries = client.describe_configs(topic)
    assert entries["max.message.bytes"].value == "1048588"
    assert entries["durability"].value == "fsync"
    assert {e.source for e in entries.values()} == {configs_pb2.SOURCE_DEFAULT}
    assert all(e.doc for e in entries.values()), [k for k, e in entries.items() if not e.doc]
    client.alter_configs(topic, {"retention.ms": 5000})
    entry = client.describe_configs(topic)["retention.ms"]
    assert (entry.value, entry.source) == ("5000", configs_pb2.SOURCE_TOPIC)
    client.alter_configs(topic, delete=["retention.ms"])
    assert client.describe_configs(topic)["retention.ms"].source == configs_pb2.SOURCE_DEFAULT


def test_the_broker_s_own_keys_are_the_defaults(start_broker):
    client = start_broker({"log.segment.bytes": 2 << 20}).client()
    client.create_topic("t", 1)
    entry = client.describe_configs("t")["segment.bytes"]
    assert (entry.value, entry.source) == (str(2 << 20), configs_pb2.SOURCE_STATIC_BROKER)


def test_altering_is_incremental_and_all_or_nothing(client, topic):
    client.alter_configs(topic, {"retention.ms": 1, "segment.ms": 2})
    client.alter_configs(topic, {"segment.ms": 3})
    with refused("INVALID_CONFIG", "retention.bytes"):
        client.alter_configs(topic, {"segment.ms": 4, "retention.bytes": "many"})
    with refused("INVALID_CONFIG", "nonsense"):
        client.alter_configs(topic, {"nonsense": "4"})
    entries = client.describe_configs(topic)
    assert (entries["retention.ms"].value, entries["segment.ms"].value) == ("1", "3")
    with refused("UNKNOWN_TOPIC_OR_PARTITION"):
        client.alter_configs("nowhere", {"retention.ms": 1})
    with refused("UNKNOWN_TOPIC_OR_PARTITION"):
        client.describe_configs("nowhere")


def accepted(client, topic, size):
    try:
        client.produce(topic, 0, [bytes(size)])
        return True
    except SluiceError as e:
        assert e.name == "MESSAGE_TOO_LARGE"
        return False


def test_a_changed_limit_is_in_force(client, topic):
    assert accepted(client, topic, 2000)
    client.alter_configs(topic, {"max.message.bytes": 1000})
    eventually(lambda: not accepted(client, topic, 2000), what="the lower limit is in force")
    client.alter_configs(topic, {"max.message.bytes": 3 << 20})
    eventually(lambda: accepted(client, topic, 2 << 20), what="the higher limit is in force")


def test_a_changed_segment_size_is_in_force(broker, client, topic):
    fill(client, topic, 2_500_000)
    assert len(broker.segments(topic)) == 1
    client.alter_configs(topic, {"segment.bytes": 1 << 20})
    eventually(lambda: fill(client, topic, 100_000) and len(broker.segments(topic)) >= 3, what="segments roll")


def test_a_changed_retention_is_in_force(start_broker):
    client = start_broker({"log.retention.check.interval.ms": 50}).client()
    client.create_topic("t", 1, {"segment.bytes": 1 << 20})
    fill(client, "t", 3 << 20, timestamp=1000)  # long past a week: but not before the topic says so
    client.alter_configs("t", {"retention.ms": -1})
    start = client.list_offset("t", 0, EARLIEST).offset
    client.alter_configs("t", {"retention.ms": 1000})
    eventually(lambda: client.list_offset("t", 0, EARLIEST).offset > start, what="old segments go")


def test_configs_survive_a_restart(broker, client, topic):
    client.alter_configs(topic, {"retention.ms": 12345, "max.message.bytes": 1000})
    broker.kill()
    broker.restart()
    client = broker.client()
    assert client.describe_configs(topic)["retention.ms"].value == "12345"
    assert not accepted(client, topic, 2000)


def test_broker_configs(broker, client):
    broker_id = str(client.metadata().broker[0].id)
    entries = client.describe_configs(broker_id, configs_pb2.RESOURCE_BROKER)
    assert entries["data.dirs"].value == str(broker.data)
    assert entries["data.dirs"].source == configs_pb2.SOURCE_STATIC_BROKER
    assert entries["data.dirs"].read_only
    with refused("INVALID_CONFIG", "data.dirs"):
        client.alter_configs(broker_id, {"data.dirs": "/elsewhere"}, resource=configs_pb2.RESOURCE_BROKER)
    with refused("BROKER_NOT_AVAILABLE"):
        client.describe_configs("999", configs_pb2.RESOURCE_BROKER)
    with refused("INVALID_REQUEST"):
        client.describe_configs("nobody", configs_pb2.RESOURCE_BROKER)


def test_broker_configs_change_while_it_runs(client, topic):
    broker_id = str(client.metadata().broker[0].id)
    client.alter_configs(broker_id, {"message.max.bytes": 1000}, resource=configs_pb2.RESOURCE_BROKER)
    entry = client.describe_configs(broker_id, configs_pb2.RESOURCE_BROKER)["message.max.bytes"]
    assert (entry.value, entry.source) == ("1000", configs_pb2.SOURCE_DYNAMIC_BROKER)
    assert client.describe_configs(topic)["max.message.bytes"].value == "1000"
    eventually(lambda: not accepted(client, topic, 2000), what="the broker's new default is in force")
    client.alter_configs(broker_id, delete=["message.max.bytes"], resource=configs_pb2.RESOURCE_BROKER)
    eventually(lambda: accepted(client, topic, 2000), what="the old default is back")


# --- metadata -------------------------------------------------------------------------------


def test_an_unknown_topic_stands_in_its_place(client, topic):
    response = client.metadata(["nowhere", topic, "b/d"])
    assert [(t.name, t.error.code) for t in response.topic][1] == (topic, 0)
    assert response.topic[0].error.code == 3
    assert response.topic[2].error.code in (3, 17)


def test_metadata_without_topics_tells_the_brokers(client, topic):
    response = client.metad().call(metadata_pb2.MetadataRequest())
    assert not response.topic
    assert len(response.broker) == 1 and response.cluster_id and response.version > 0
    assert response.controller_id == response.broker[0].id


def test_a_watch_waits_for_the_next_change(broker, client):
    version = client.metadata().version
    c = broker.connect("metad")
    watch = c.send(metadata_pb2.MetadataRequest(all_topics=True, watch_version=version, max_wait_ms=60_000))
    # It holds up nothing on its connection.
    assert c.call(metadata_pb2.MetadataRequest()).version == version
    client.create_topic("news", 1)
    seen = c.receive(watch)
    assert seen.version > version
    assert "news" in {t.name for t in seen.topic}


def test_a_watch_ends_empty_handed(client):
    version = client.metadata().version
    assert client.metadata(watch_version=version, max_wait_ms=50).version == version


def test_a_stale_watch_is_answered_at_once(client, topic):
    version = client.metadata().version
    assert client.metadata(watch_version=version - 1, max_wait_ms=60_000).version == version


def test_min_version_shows_one_s_own_writes(broker, client):
    """Asked on another connection, right behind each write."""
    other = broker.connect("metad")
    for i in range(20):
        request = topic_admin_pb2.CreateTopicsRequest()
        request.topic.add(name=f"t{i}", partitions=1)
        version = client.ask_metad(request).version
        answer = other.call(metadata_pb2.MetadataRequest(topic=[f"t{i}"], min_version=version))
        assert answer.version >= version and not answer.topic[0].HasField("error")


def test_a_min_version_that_never_comes(client):
    version = client.metadata().version
    try:
        assert client.metadata(min_version=version + 1000, max_wait_ms=50).version == version
    except SluiceError as e:
        assert e.class_name == "retry"


@pytest.mark.parametrize("enabled", ["true", "false"])
def test_auto_creation(start_broker, enabled):
    client = start_broker({"auto.create.topics.enable": enabled, "num.partitions": 2}).client()
    client.metadata(["wish"], allow_auto_topic_creation=True)

    def leaders():
        topic, = client.metadata(["wish"], allow_auto_topic_creation=True).topic
        return not topic.HasField("error") and len(topic.partition)

    if enabled == "true":
        assert eventually(leaders) == 2
        client.produce("wish", 1, [b"granted"])
        # Not without the client's consent.
        with refused("UNKNOWN_TOPIC_OR_PARTITION"):
            client.topic("another")
    else:
        assert not leaders()
        assert not client.metadata().topic


def test_auto_creation_is_off_by_default_for_bad_names(start_broker):
    client = start_broker({"auto.create.topics.enable": "true"}).client()
    topic, = client.metadata(["b/d"], allow_auto_topic_creation=True).topic
    assert topic.error.code in (3, 17)


def test_many_topics(broker, client):
    """A thousand partitions: created, led, seen by all."""
    request = topic_admin_pb2.CreateTopicsRequest()
    for i in range(100):
        request.topic.add(name=f"many-{i}", partitions=10)
    response = client.ask_metad(request)
    assert not any(r.HasField("error") for r in response.topic)
    topics = client.metadata(min_version=response.version).topic
    assert sum(len(t.partition) for t in topics) == 1000
    client.produce("many-99", 9, [b"last"])
    broker.kill()
    broker.restart()
    assert values(broker.client().read_all("many-99", 9)) == [b"last"]


def test_concurrent_creation_of_one_topic(broker):
    """Ten clients at once: one makes it, nine are told."""
    outcomes, barrier = [], threading.Barrier(10)

    def create():
        with broker.client() as client:
            client.metadata()
            barrier.wait()
            try:
                client.create_topic("race", 1)
                outcomes.append(None)
            except SluiceError as e:
                outcomes.append(e.name)

    threads = [threading.Thread(target=create) for _ in range(10)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert outcomes.count(None) == 1 and outcomes.count("TOPIC_EXISTS") == 9, outcomes
