/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/base/crc32c.h"

#include <isa-l/crc.h>

#include "proto/base/check.h"

enum { CHUNK = 1 << 30 }; /* isa-l takes an int */

uint32_t crc32c(uint32_t crc, const void *data, size_t size)
{
    /* isa-l's parameter lacks const; it only reads. */
    unsigned char *p = (unsigned char *)(uintptr_t)data;
    crc = ~crc;
    while (size > CHUNK) {
        crc = crc32_iscsi(p, CHUNK, crc);
        p += CHUNK;
        size -= CHUNK;
    }
    return ~crc32_iscsi(p, (int)size, crc);
}
