# SPDX-License-Identifier: Apache-2.0
"""CRC-32C (Castagnoli, as in iSCSI, RFC 3720): reflected polynomial 0x82f63b78,
initial value and final xor all ones. crc32c(b"123456789") is 0xe3069283."""


def _table():
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


_TABLE = _table()


def crc32c(data, crc=0):
    """The checksum of data that follows bytes whose checksum is crc (0 for none)."""
    table = _TABLE
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF
