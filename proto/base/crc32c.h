/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRC-32C (Castagnoli, as in iSCSI, RFC 3720): initial value and final xor all
 * ones, reflected. crc32c("123456789") is 0xe3069283. isa-l computes it, with
 * the widest instructions the machine has.
 */
#ifndef SLUICE_BASE_CRC32C_H
#define SLUICE_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Of size bytes that follow those whose CRC is given (0 for none). */
uint32_t crc32c(uint32_t crc, const void *data, size_t size);

#endif
