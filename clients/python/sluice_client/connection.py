# SPDX-License-Identifier: Apache-2.0
"""One connection: frames out, frames in, answers matched by correlation id.

A frame is a 4-byte big-endian length and one Request or Response. Many requests may
be under way; answers come as they complete. Not for several threads at a time.
"""

import itertools
import socket
import struct
import time

import hello_pb2
import request_pb2

from .errors import ConnectionLost, check

VERSION = 1
ANSWER_BYTES_MAX = 1 << 30

# Request body type -> its name in the oneof: a message says by its type which request it is.
_BODIES = {f.message_type.full_name: f.name
           for f in request_pb2.Request.DESCRIPTOR.oneofs_by_name["body"].fields}


def frame(message):
    data = message.SerializeToString()
    return struct.pack(">I", len(data)) + data


def split_address(address):
    """("host", port) of "host:port" or "[v6]:port"."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


class Connection:
    def __init__(self, address, timeout=30.0, client_id="sluice-python", hello=True):
        self.address = address
        self.timeout = timeout
        self.client_id = client_id
        self.hello = None  # the HelloResponse
        self._ids = itertools.count(1)
        self._answers = {}  # that came while another was waited for
        self._received = bytearray()
        try:
            self.socket = socket.create_connection(split_address(address), timeout)
        except OSError as e:
            raise ConnectionLost(f"{address}: {e}") from e
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hello:
            self.say_hello()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def say_hello(self):
        self.hello = self.call(hello_pb2.HelloRequest(
            min_version=VERSION, max_version=VERSION, software="sluice-python 0.1"))
        return self.hello

    def call(self, body, timeout=None):
        """Sends, waits, gives the answer's body. Raises what the server refuses."""
        return self.receive(self.send(body), timeout)

    def send(self, body):
        """Gives the correlation id to receive by."""
        request = request_pb2.Request(correlation_id=next(self._ids), client_id=self.client_id)
        getattr(request, _BODIES[body.DESCRIPTOR.full_name]).CopyFrom(body)
        self.send_bytes(frame(request))
        return request.correlation_id

    def send_bytes(self, data):
        try:
            self.socket.settimeout(self.timeout)
            self.socket.sendall(data)
        except OSError as e:
            raise ConnectionLost(f"{self.address}: {e}") from e

    def receive(self, correlation_id, timeout=None):
        """The body of the answer to that request; others that come first are kept."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while correlation_id not in self._answers:
            response = self.receive_any(max(0.0, deadline - time.monotonic()))
            if not response.correlation_id:
                check(response)  # about the connection, and its last words
            self._answers[response.correlation_id] = response
        response = self._answers.pop(correlation_id)
        check(response)
        return getattr(response, response.WhichOneof("body"))

    def receive_any(self, timeout=None):
        """The next Response, whichever it is."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        size, = struct.unpack(">I", self._take(4, deadline))
        if size > ANSWER_BYTES_MAX:
            raise ConnectionLost(f"{self.address}: an answer of {size} bytes")
        return request_pb2.Response.FromString(self._take(size, deadline))

    def _take(self, size, deadline):
        while len(self._received) < size:
            try:
                self.socket.settimeout(max(0.001, deadline - time.monotonic()))
                data = self.socket.recv(1 << 20)
            except OSError as e:
                raise ConnectionLost(f"{self.address}: {e}") from e
            if not data:
                raise ConnectionLost(f"{self.address}: closed by the server")
            self._received += data
        taken = bytes(self._received[:size])
        del self._received[:size]
        return taken
