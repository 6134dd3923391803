/* SPDX-License-Identifier: MIT */
#include "tensor_io.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_ELEMENTS ((uint64_t)2 << 20) /* 8 MiB of f32 */

bool tensor_piece_create(struct tensor_piece *piece, struct failure *failure)
{
    *piece = (struct tensor_piece){malloc(4 * PIECE_ELEMENTS), malloc(4 * PIECE_ELEMENTS), malloc(4 * PIECE_ELEMENTS)};
    return piece->in_file && piece->on_device && piece->between ? true : fail_memory(failure);
}

void tensor_piece_free(struct tensor_piece *piece)
{
    free(piece->in_file);
    free(piece->on_device);
    free(piece->between);
    *piece = (struct tensor_piece){0};
}

static uint64_t piece_count(const struct tensor_io *io, uint64_t first)
{
    uint64_t rest = strip_elements(&io->strip) - first;
    return rest < PIECE_ELEMENTS ? rest : PIECE_ELEMENTS;
}

/* Checking --------------------------------------------------------------------------------------------------------------- */

/*
 * The bits of the smallest magnitude that is refused: infinity, or what rounds to it in the device's type. Among floats of one type the
 * order of magnitudes is that of their bits.
 */
static uint32_t refused_from(const struct tensor_io *io)
{
    if (io->file_type == ELEMENT_F16)
        return io->device_type == ELEMENT_BF16 && io->to_output ? 0x7bfc /* 65408: 65536 in bf16, infinite in f16 */ : 0x7c00;
    switch (io->device_type) {
    case ELEMENT_F16:
        return 0x477ff000; /* 65520 */
    case ELEMENT_BF16:
        return 0x7f7f8000;
    default:
        return 0x7f800000;
    }
}

/* Minus infinity, where it is a value: elements of these bits are passed over. Zero has no magnitude anyway. */
static uint32_t passed_over(const struct tensor_io *io)
{
    return !io->may_mask ? 0 : io->file_type == ELEMENT_F32 ? 0xff800000 : 0xfc00;
}

static uint32_t magnitude_f32(uint32_t bits, uint32_t passed)
{
    return bits == passed ? 0 : bits & 0x7fffffff;
}

static uint16_t magnitude_f16(uint16_t bits, uint16_t passed)
{
    return bits == passed ? 0 : bits & 0x7fff;
}

static uint32_t largest_f32(const uint32_t *bits, uint64_t count, uint32_t passed)
{
    uint32_t largest = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint32_t magnitude = magnitude_f32(bits[i], passed);
        largest = magnitude > largest ? magnitude : largest;
    }
    return largest;
}

static uint32_t largest_f16(const uint16_t *bits, uint64_t count, uint16_t passed)
{
    uint16_t largest = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint16_t magnitude = magnitude_f16(bits[i], passed);
        largest = magnitude > largest ? magnitude : largest;
    }
    return largest;
}

static uint32_t largest_of(const struct tensor_io *io, const void *elements, uint64_t count)
{
    uint32_t passed = passed_over(io);
    return io->file_type == ELEMENT_F32 ? largest_f32(elements, count, passed) : largest_f16(elements, count, (uint16_t)passed);
}

static const char *trouble_with(const struct tensor_io *io, uint32_t magnitude)
{
    uint32_t infinity = io->file_type == ELEMENT_F32 ? 0x7f800000 : 0x7c00;
    if (magnitude > infinity)
        return "NaN";
    if (magnitude == infinity)
        return "infinite";
    return io->device_type == ELEMENT_F16 ? "too large for f16" : "too large for bf16";
}

static bool refuse_element(const struct tensor_io *io, uint64_t place, uint32_t magnitude, struct failure *failure)
{
    uint64_t at[FILE_DIMS_MAX];
    char text[128] = "";
    size_t length = 0;
    for (uint32_t axis = io->header->dims; axis-- > 0; place /= io->header->shape[axis])
        at[axis] = place % io->header->shape[axis];
    for (uint32_t axis = 0; axis < io->header->dims; axis++)
        length += (size_t)snprintf(text + length, sizeof(text) - length, "%s%" PRIu64, axis ? ", " : "", at[axis]);
    return fail_usage(failure, "%s: element [%s] is %s", io->file.path, text, trouble_with(io, magnitude));
}

static bool check_piece(const struct tensor_io *io, const void *elements, uint64_t first, uint64_t count, struct failure *failure)
{
    const uint64_t bytes = element_bytes(io->file_type);
    uint32_t limit = refused_from(io), magnitude;
    if (largest_of(io, elements, count) < limit)
        return true;
    uint64_t i = 0;
    while ((magnitude = largest_of(io, (const char *)elements + i * bytes, 1)) < limit)
        i++;
    return refuse_element(io, strip_place(&io->strip, first + i), magnitude, failure);
}

bool tensor_check(const struct tensor_io *io, struct tensor_piece *piece, struct progress *progress, struct failure *failure)
{
    uint64_t count;
    if (io->file_type == ELEMENT_I32) {
        progress_advance(progress, strip_elements(&io->strip));
        return true;
    }
    for (uint64_t first = 0; (count = piece_count(io, first)) > 0; first += count) {
        if (!strip_read(&io->strip, &io->file, first, count, piece->in_file, failure) ||
            !check_piece(io, piece->in_file, first, count, failure))
            return false;
        progress_advance(progress, count);
    }
    return true;
}

/* Moving ----------------------------------------------------------------------------------------------------------------- */

/* Returns where the converted elements are: in `to`, or still in `from` where the types are the same. */
static void *convert(enum element_type from_type, void *from, enum element_type to_type, void *to, float *between, uint64_t count)
{
    float *wide = from_type == ELEMENT_F32 ? from : to_type == ELEMENT_F32 ? to : between;
    if (from_type == to_type)
        return from;
    if (from_type != ELEMENT_F32)
        vkring_convert_to_f32(element_library_type(from_type), from, count, wide);
    if (to_type != ELEMENT_F32)
        vkring_convert_from_f32(element_library_type(to_type), wide, count, to);
    return to;
}

bool tensor_load(const struct tensor_io *io, struct tensor_piece *piece, vkring_buffer *buffer, uint32_t rank, struct progress *progress,
                 struct failure *failure)
{
    const uint64_t bytes = element_bytes(io->device_type);
    uint64_t count;
    for (uint64_t first = 0; (count = piece_count(io, first)) > 0; first += count) {
        if (!strip_read(&io->strip, &io->file, first, count, piece->in_file, failure))
            return false;
        const void *converted = convert(io->file_type, piece->in_file, io->device_type, piece->on_device, piece->between, count);
        if (vkring_buffer_upload(buffer, io->buffer_offset_bytes + first * bytes, converted, count * bytes) != VKRING_OK)
            return fail_library(failure, rank);
        progress_advance(progress, count);
    }
    return true;
}

bool tensor_store(const struct tensor_io *io, struct tensor_piece *piece, vkring_buffer *buffer, uint32_t rank, struct progress *progress,
                  struct failure *failure)
{
    const uint64_t bytes = element_bytes(io->device_type);
    uint64_t count;
    for (uint64_t first = 0; (count = piece_count(io, first)) > 0; first += count) {
        if (vkring_buffer_download(buffer, first * bytes, piece->on_device, count * bytes) != VKRING_OK)
            return fail_library(failure, rank);
        const void *converted = convert(io->device_type, piece->on_device, io->file_type, piece->in_file, piece->between, count);
        if (!strip_write(&io->strip, &io->file, first, count, converted, failure))
            return false;
        progress_advance(progress, count);
    }
    return true;
}
