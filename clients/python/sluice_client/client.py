# SPDX-License-Identifier: Apache-2.0
"""A client: finds leaders, produces, fetches, administers.

It starts at a metadata address, asks there who leads what, and talks to the brokers
themselves for records. Errors of class `reroute` mean that its picture is stale, a few
others that the server has just begun: it asks again and retries until the timeout is
over. Everything else is the caller's to decide. Not for several threads at a time.
"""

import dataclasses
import time

import configs_pb2
import delete_records_pb2
import fetch_pb2
import list_offsets_pb2
import metadata_pb2
import produce_pb2
import topic_admin_pb2

from . import batch as batches
from .connection import Connection
from .errors import ConnectionLost, SluiceError, check

LATEST, EARLIEST, MAX_TIMESTAMP = -1, -2, -3
_BACKOFF_MS = 20


@dataclasses.dataclass
class Produced:
    base_offset: int
    last_offset: int
    log_append_time_ms: int | None
    log_start_offset: int


@dataclasses.dataclass
class Fetched:
    records: list  # from the offset that was asked for on
    next_offset: int  # where to go on
    high_watermark: int
    log_start_offset: int
    data: bytes  # the bytes of the log, as they came


class Client:
    def __init__(self, bootstrap, timeout=30.0, client_id="sluice-python"):
        self.bootstrap = [bootstrap] if isinstance(bootstrap, str) else list(bootstrap)
        self.timeout = timeout
        self.client_id = client_id
        self._metad = None
        self._brokers = {}  # id -> Connection
        self._topics = {}  # name -> TopicInfo
        self._endpoints = {}  # broker id -> "host:port"
        self._version = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for connection in [self._metad, *self._brokers.values()]:
            if connection:
                connection.close()
        self._metad, self._brokers = None, {}

    # --- metadata -----------------------------------------------------------------------

    def metad(self):
        """A connection to one of the metadata addresses."""
        if not self._metad:
            for position, address in enumerate(self.bootstrap):
                try:
                    self._metad = Connection(address, self.timeout, self.client_id)
                    break
                except ConnectionLost:
                    if position + 1 == len(self.bootstrap):
                        raise
        return self._metad

    def ask_metad(self, body, timeout=None):
        try:
            return self.metad().call(body, timeout)
        except ConnectionLost:
            self._metad.close() if self._metad else None
            self._metad = None
            raise

    def metadata(self, topics=None, **fields):
        """The MetadataResponse for these topics (None: all). What it says is remembered."""
        request = metadata_pb2.MetadataRequest(topic=topics or [], all_topics=topics is None, **fields)
        response = self.ask_metad(request, self.timeout + request.max_wait_ms / 1000)
        self._version = max(self._version, response.version)
        self._endpoints = {b.id: f"{b.host}:{b.port}" for b in response.broker}
        for topic in response.topic:
            self._topics[topic.name] = topic
        return response

    def topic(self, name, refresh=False):
        """TopicInfo of one topic; raises if there is none."""
        if refresh or name not in self._topics or self._topics[name].HasField("error"):
            self.metadata([name])
        info = self._topics[name]
        check(info)
        return info

    def topic_id(self, name):
        return self.topic(name).topic_id

    def leader(self, topic, partition):
        """The connection to the broker that leads the partition."""
        for p in self.topic(topic).partition:
            if p.partition == partition and p.HasField("leader"):
                return self.broker(p.leader)
        # Nobody known to lead it: any broker knows how to refuse.
        return self.broker(next(iter(self._endpoints)))

    def broker(self, broker_id):
        known = self._brokers.get(broker_id)
        if not known or known.address != self._endpoints[broker_id]:
            self._brokers[broker_id] = Connection(self._endpoints[broker_id], self.timeout,
                                                  self.client_id)
        return self._brokers[broker_id]

    def _at_leader(self, topic, partition, request, timeout):
        """The partition's result of a request about that one partition."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                response = self._ask_leader(topic, partition, request, timeout)
                result = response.topic[0].partition[0]
                check(result)
                return result
            except SluiceError as e:
                if not e.passes or time.monotonic() >= deadline:
                    raise
            # Waits for news, or the back-off.
            self.metadata([topic], watch_version=self._version, max_wait_ms=_BACKOFF_MS)

    def _ask_leader(self, topic, partition, request, timeout):
        connection = self.leader(topic, partition)
        try:
            return connection.call(request, timeout + self.timeout)
        except ConnectionLost:
            connection.close()
            self._brokers = {i: c for i, c in self._brokers.items() if c is not connection}
            self._topics.pop(topic, None)
            raise

    # --- records ------------------------------------------------------------------------

    def produce(self, topic, partition, records, acks=-1, codec=0, crc=True, timeout=None):
        """Appends one batch. records: Record, or bytes that become values. With acks=0 there
        is no answer, and None is returned."""
        records = [batches.Record(r) if isinstance(r, bytes) else r for r in records]
        data = batches.segment(batches.make_batch(records, codec, crc))
        return self.produce_bytes(topic, partition, data, acks, timeout)

    def produce_bytes(self, topic, partition, data, acks=-1, timeout=None):
        """The same for a serialized Segment."""
        timeout = self.timeout if timeout is None else timeout
        request = produce_pb2.ProduceRequest(acks=acks, timeout_ms=int(self.timeout * 1000))
        request.topic.add(name=topic).partition.add(partition=partition, batches=data)
        if acks == 0:
            self.leader(topic, partition).send(request)
            return None
        r = self._at_leader(topic, partition, request, timeout)
        append_time = r.log_append_time_ms if r.HasField("log_append_time_ms") else None
        return Produced(r.base_offset, r.last_offset, append_time, r.log_start_offset)

    def fetch(self, topic, partition, offset, max_wait_ms=0, min_bytes=1, max_bytes=1 << 20,
              timeout=None):
        """Records from the offset on, as many as one answer holds."""
        request = fetch_pb2.FetchRequest(max_wait_ms=max_wait_ms, min_bytes=min_bytes,
                                         max_bytes=max_bytes)
        request.topic.add(name=topic).partition.add(partition=partition, fetch_offset=offset,
                                                    max_bytes=max_bytes)
        timeout = self.timeout if timeout is None else timeout
        r = self._at_leader(topic, partition, request, timeout + max_wait_ms / 1000)
        read = batches.read_batches(r.batches)
        end = read[-1].base_offset + read[-1].last_offset_delta + 1 if read else offset
        records = [record for b in read for record in batches.read_records(b) if record.offset >= offset]
        return Fetched(records, max(end, offset), r.high_watermark, r.log_start_offset, r.batches)

    def read_all(self, topic, partition, offset=None):
        """Every record from the offset (None: the start) to the high watermark of now."""
        offset = self.list_offset(topic, partition, EARLIEST).offset if offset is None else offset
        end = self.list_offset(topic, partition, LATEST).offset
        records = []
        while offset < end:
            fetched = self.fetch(topic, partition, offset, max_wait_ms=1000)
            records += fetched.records
            offset = fetched.next_offset
        return records

    def list_offset(self, topic, partition, timestamp, timeout=None):
        """offset, timestamp and leader_epoch of the first record at or after timestamp (ms), or of
        LATEST, EARLIEST, MAX_TIMESTAMP."""
        request = list_offsets_pb2.ListOffsetsRequest()
        request.topic.add(name=topic).partition.add(partition=partition, timestamp=timestamp)
        return self._at_leader(topic, partition, request, self.timeout if timeout is None else timeout)

    def delete_records(self, topic, partition, before_offset, timeout=None):
        """Gives the partition's new start."""
        request = delete_records_pb2.DeleteRecordsRequest()
        request.topic.add(name=topic).partition.add(partition=partition, before_offset=before_offset)
        timeout = self.timeout if timeout is None else timeout
        return self._at_leader(topic, partition, request, timeout).log_start_offset

    # --- administration -----------------------------------------------------------------

    def create_topic(self, name, partitions=None, config=None, **fields):
        """Gives the TopicResult; after it metadata() shows the topic."""
        new = topic_admin_pb2.NewTopic(name=name, partitions=partitions, **fields)
        for key, value in (config or {}).items():
            new.config.add(key=key, value=str(value))
        return self._admin(topic_admin_pb2.CreateTopicsRequest(topic=[new]), name)

    def delete_topic(self, name):
        result = self._admin(topic_admin_pb2.DeleteTopicsRequest(topic=[name]), None)
        self._topics.pop(name, None)
        return result

    def create_partitions(self, name, total):
        request = topic_admin_pb2.CreatePartitionsRequest()
        request.topic.add(name=name, total=total)
        return self._admin(request, name)

    def _admin(self, request, topic):
        response = self.ask_metad(request)
        check(response.topic[0])
        self.metadata([topic] if topic else None, min_version=response.version)
        return response.topic[0]

    def describe_configs(self, name, resource=configs_pb2.RESOURCE_TOPIC):
        """Key -> ConfigEntry of a topic or broker."""
        request = configs_pb2.DescribeConfigsRequest()
        request.resource.add(type=resource, name=name)
        result = self.ask_metad(request).result[0]
        check(result)
        return {entry.key: entry for entry in result.entry}

    def alter_configs(self, name, set=None, delete=(), resource=configs_pb2.RESOURCE_TOPIC):
        request = configs_pb2.AlterConfigsRequest()
        alteration = request.alteration.add(delete=delete)
        alteration.resource.type, alteration.resource.name = resource, name
        for key, value in (set or {}).items():
            alteration.set.add(key=key, value=str(value))
        response = self.ask_metad(request)
        check(response.result[0])
        self.metadata(min_version=response.version)
