# SPDX-License-Identifier: Apache-2.0
"""A client for Sluice that is protoc's output and a socket. See README.md beside this package."""

from . import codecs
from .batch import Record, make_batch, read_batches, read_records, segment
from .client import EARLIEST, LATEST, MAX_TIMESTAMP, Client, Fetched, Produced
from .connection import Connection
from .errors import ConnectionLost, CorruptData, SluiceError

__all__ = ["Client", "Connection", "ConnectionLost", "CorruptData", "EARLIEST", "Fetched", "LATEST",
           "MAX_TIMESTAMP", "Produced", "Record", "SluiceError", "codecs", "make_batch",
           "read_batches", "read_records", "segment"]
