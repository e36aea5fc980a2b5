# SPDX-License-Identifier: Apache-2.0
"""What a server refuses, and what a client does about it.

The class decides, not the number: a server newer than this file may send numbers
that CODES does not know, and its class says all the same what to do.
"""

CLASSES = ("none", "retry", "reroute", "caller", "storage", "fatal")
NONE, RETRY, REROUTE, CALLER, STORAGE, FATAL = range(6)

# Number: name. The table with classes and texts is in proto/README.md.
CODES = {
    1: "OFFSET_OUT_OF_RANGE",
    2: "CORRUPT",
    3: "UNKNOWN_TOPIC_OR_PARTITION",
    5: "LEADER_NOT_AVAILABLE",
    6: "NOT_LEADER",
    7: "TIMED_OUT",
    8: "BROKER_NOT_AVAILABLE",
    10: "MESSAGE_TOO_LARGE",
    13: "NETWORK",
    17: "INVALID_TOPIC",
    19: "NOT_ENOUGH_REPLICAS",
    20: "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
    21: "INVALID_REQUIRED_ACKS",
    32: "INVALID_TIMESTAMP",
    35: "UNSUPPORTED_VERSION",
    36: "TOPIC_EXISTS",
    37: "INVALID_PARTITIONS",
    38: "INVALID_REPLICATION_FACTOR",
    39: "INVALID_REPLICA_ASSIGNMENT",
    40: "INVALID_CONFIG",
    41: "NOT_CONTROLLER",
    42: "INVALID_REQUEST",
    44: "POLICY_VIOLATION",
    45: "OUT_OF_ORDER_SEQUENCE",
    56: "STORAGE",
    74: "FENCED_LEADER_EPOCH",
    75: "UNKNOWN_LEADER_EPOCH",
    76: "UNSUPPORTED_COMPRESSION",
    77: "STALE_BROKER_EPOCH",
    78: "OFFSET_NOT_AVAILABLE",
    87: "INVALID_RECORD",
    100: "UNKNOWN_TOPIC_ID",
    103: "INCONSISTENT_TOPIC_ID",
    104: "INCONSISTENT_CLUSTER_ID",
    1000: "UNKNOWN",
    1001: "NO_SPACE",
    1002: "OVERLOADED",
    1003: "SHUTTING_DOWN",
    1004: "NOT_READY",
    1005: "NO_HELLO",
    1006: "WRONG_ROLE",
    1007: "WRONG_PARTITION",
    1008: "NOT_PERMITTED",
    1009: "COORDINATION",
}


class SluiceError(Exception):
    """A server's refusal. `answer` is the partition's or topic's result it came with, if any:
    OFFSET_OUT_OF_RANGE, for one, brings the range that exists."""

    def __init__(self, error, answer=None):
        self.code = error.code
        self.error_class = getattr(error, "class")
        self.message = error.message
        self.answer = answer
        super().__init__(f"{self.name} ({self.code}, {self.class_name}): {self.message}")

    @property
    def name(self):
        return CODES.get(self.code, "UNKNOWN")

    @property
    def passes(self):
        """Nothing was done, and soon the right server will do it: ask metadata again and retry."""
        return self.error_class == REROUTE or self.name in ("NOT_READY", "OFFSET_NOT_AVAILABLE")

    @property
    def class_name(self):
        known = 0 <= self.error_class < len(CLASSES)
        return CLASSES[self.error_class] if known else "fatal"


class ConnectionLost(Exception):
    """The connection ended, or an answer did not come in time: the outcome of what was asked is unknown."""


class CorruptData(Exception):
    """Bytes that break the format, a checksum that does not match, or a decoded size over the bound."""


def check(error_holder, answer=None):
    """Raises what `error_holder.error` says, if it is there."""
    if error_holder.HasField("error"):
        raise SluiceError(error_holder.error, answer if answer is not None else error_holder)
