/* SPDX-License-Identifier: MIT */
#include "crc32c.h"

#include <isa-l/crc.h>

#include "checked.h"

uint32_t crc32c(uint32_t crc, const void *data, uint64_t bytes)
{
    /* ISA-L takes a length of type int, does not write to its buffer, and leaves both inversions of the CRC to its caller. */
    const uint64_t largest_piece = UINT64_C(1) << 30;
    unsigned char *next = (unsigned char *)(uintptr_t)data;
    while (bytes > 0) {
        const uint64_t piece = min_u64(bytes, largest_piece);
        crc = ~crc32_iscsi(next, (int)piece, ~crc);
        next += piece;
        bytes -= piece;
    }
    return crc;
}
