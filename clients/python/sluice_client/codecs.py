# SPDX-License-Identifier: Apache-2.0
"""The codecs of a batch's records: gzip is RFC 1952, snappy the raw block format,
lz4 one frame, zstd one frame.

gzip comes with Python; the others are the system's shared libraries, loaded when
first used. Decoding is bounded: never more than `limit` bytes, whatever the input
claims, and nothing may follow the one frame.
"""

import ctypes
import functools
import zlib

from .errors import CorruptData

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
NAMES = ("none", "gzip", "snappy", "lz4", "zstd")

_size_t, _ptr, _int = ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int
_size_p = ctypes.POINTER(ctypes.c_size_t)


def limit_of(compressed_size):
    """What a compressed size may decode to, here and in the broker."""
    return 16 * compressed_size + (1 << 20)


def compress(codec, data):
    return _CODECS[codec][0](bytes(data))


def decompress(codec, data, limit=None):
    data = bytes(data)
    limit = limit_of(len(data)) if limit is None else limit
    out = _CODECS[codec][1](data, limit)
    if len(out) > limit:
        raise CorruptData(f"{NAMES[codec]}: decodes to more than {limit} bytes")
    return out


def _require(condition, what):
    if not condition:
        raise CorruptData(what)


def _library(name, signatures):
    library = ctypes.CDLL(name)
    for function, (result, *arguments) in signatures.items():
        getattr(library, function).restype = result
        getattr(library, function).argtypes = arguments
    return library


# --- gzip -----------------------------------------------------------------------------------


def _gzip_compress(data):
    encoder = zlib.compressobj(wbits=31)
    return encoder.compress(data) + encoder.flush()


def _gzip_decompress(data, limit):
    decoder = zlib.decompressobj(wbits=31)
    try:
        out = decoder.decompress(data, limit + 1)
    except zlib.error as e:
        raise CorruptData(f"gzip: {e}") from e
    if len(out) <= limit:
        _require(decoder.eof, "gzip: the stream ends early")
        _require(not decoder.unused_data, "gzip: bytes behind the stream")
    return out


# --- snappy ---------------------------------------------------------------------------------


@functools.lru_cache(None)
def _snappy():
    return _library("libsnappy.so.1", {
        "snappy_max_compressed_length": (_size_t, _size_t),
        "snappy_compress": (_int, ctypes.c_char_p, _size_t, _ptr, _size_p),
        "snappy_uncompress": (_int, ctypes.c_char_p, _size_t, _ptr, _size_p),
        "snappy_uncompressed_length": (_int, ctypes.c_char_p, _size_t, _size_p),
    })


def _snappy_compress(data):
    size = ctypes.c_size_t(_snappy().snappy_max_compressed_length(len(data)))
    out = ctypes.create_string_buffer(size.value)
    _require(_snappy().snappy_compress(data, len(data), out, ctypes.byref(size)) == 0, "snappy")
    return out.raw[:size.value]


def _snappy_decompress(data, limit):
    size = ctypes.c_size_t()
    status = _snappy().snappy_uncompressed_length(data, len(data), ctypes.byref(size))
    _require(status == 0, "snappy: no length")
    _require(size.value <= limit, f"snappy: decodes to more than {limit} bytes")
    out = ctypes.create_string_buffer(max(1, size.value))
    status = _snappy().snappy_uncompress(data, len(data), out, ctypes.byref(size))
    _require(status == 0, "snappy: malformed")
    return out.raw[:size.value]


# --- lz4 ------------------------------------------------------------------------------------


@functools.lru_cache(None)
def _lz4():
    return _library("liblz4.so.1", {
        "LZ4F_isError": (ctypes.c_uint, _size_t),
        "LZ4F_compressFrameBound": (_size_t, _size_t, _ptr),
        "LZ4F_compressFrame": (_size_t, _ptr, _size_t, ctypes.c_char_p, _size_t, _ptr),
        "LZ4F_createDecompressionContext": (_size_t, ctypes.POINTER(_ptr), ctypes.c_uint),
        "LZ4F_freeDecompressionContext": (_size_t, _ptr),
        "LZ4F_decompress": (_size_t, _ptr, _ptr, _size_p, ctypes.c_char_p, _size_p, _ptr),
    })


def _lz4_compress(data):
    out = ctypes.create_string_buffer(_lz4().LZ4F_compressFrameBound(len(data), None))
    size = _lz4().LZ4F_compressFrame(out, len(out), data, len(data), None)
    _require(not _lz4().LZ4F_isError(size), "lz4")
    return out.raw[:size]


def _lz4_decompress(data, limit):
    context = _ptr()
    _require(_lz4().LZ4F_createDecompressionContext(ctypes.byref(context), 100) == 0, "lz4")
    try:
        out = bytearray()
        chunk = ctypes.create_string_buffer(64 << 10)
        more = 1
        while more and len(out) <= limit:
            made, used = ctypes.c_size_t(len(chunk)), ctypes.c_size_t(len(data))
            more = _lz4().LZ4F_decompress(context, chunk, ctypes.byref(made), data,
                                          ctypes.byref(used), None)
            _require(not _lz4().LZ4F_isError(more), "lz4: malformed")
            _require(not more or made.value or used.value, "lz4: the frame ends early")
            out += chunk.raw[:made.value]
            data = data[used.value:]
        _require(more or not data, "lz4: bytes behind the frame")
        return bytes(out)
    finally:
        _lz4().LZ4F_freeDecompressionContext(context)


# --- zstd -----------------------------------------------------------------------------------


@functools.lru_cache(None)
def _zstd():
    return _library("libzstd.so.1", {
        "ZSTD_isError": (ctypes.c_uint, _size_t),
        "ZSTD_compressBound": (_size_t, _size_t),
        "ZSTD_compress": (_size_t, _ptr, _size_t, ctypes.c_char_p, _size_t, _int),
        "ZSTD_decompress": (_size_t, _ptr, _size_t, ctypes.c_char_p, _size_t),
        "ZSTD_findFrameCompressedSize": (_size_t, ctypes.c_char_p, _size_t),
        "ZSTD_getFrameContentSize": (ctypes.c_ulonglong, ctypes.c_char_p, _size_t),
    })


_ZSTD_SIZE_UNKNOWN = (1 << 64) - 1


def _zstd_compress(data):
    out = ctypes.create_string_buffer(_zstd().ZSTD_compressBound(len(data)))
    size = _zstd().ZSTD_compress(out, len(out), data, len(data), 3)
    _require(not _zstd().ZSTD_isError(size), "zstd")
    return out.raw[:size]


def _zstd_decompress(data, limit):
    _require(_zstd().ZSTD_findFrameCompressedSize(data, len(data)) == len(data),
             "zstd: not one whole frame")
    announced = _zstd().ZSTD_getFrameContentSize(data, len(data))
    if announced != _ZSTD_SIZE_UNKNOWN:
        _require(announced <= limit, f"zstd: decodes to more than {limit} bytes")
    out = ctypes.create_string_buffer(max(1, min(announced, limit)))
    size = _zstd().ZSTD_decompress(out, len(out), data, len(data))
    _require(not _zstd().ZSTD_isError(size), f"zstd: malformed, or more than {limit} bytes")
    return out.raw[:size]


_CODECS = {
    NONE: (bytes, lambda data, limit: data),
    GZIP: (_gzip_compress, _gzip_decompress),
    SNAPPY: (_snappy_compress, _snappy_decompress),
    LZ4: (_lz4_compress, _lz4_decompress),
    ZSTD: (_zstd_compress, _zstd_decompress),
}
