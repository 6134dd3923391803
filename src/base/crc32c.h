/* SPDX-License-Identifier: MIT */
/** CRC32C (Castagnoli, as in iSCSI, RFC 3720): of what travels, and of what is kept in files. */
#ifndef VKRING_BASE_CRC32C_H
#define VKRING_BASE_CRC32C_H

#include <stdint.h>

/** Of what crc covers and then bytes of data. Start with 0. */
uint32_t crc32c(uint32_t crc, const void *data, uint64_t bytes);

#endif
