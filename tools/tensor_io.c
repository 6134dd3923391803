/* SPDX-License-Identifier: MIT */
#include "tensor_io.h"

#include <inttypes.h>
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
    if (io->file_type == VKRING_TYPE_F16)
        return io->device_type == VKRING_TYPE_BF16 && io->to_output ? 0x7bfc /* 65408: 65536 in bf16, infinite in f16 */ : 0x7c00;
    switch (io->device_type) {
    case VKRING_TYPE_F16:
        return 0x477ff000; /* 65520 */
    case VKRING_TYPE_BF16:
        return 0x7f7f8000;
    case VKRING_TYPE_F32:
        break;
    }
    return 0x7f800000;
}

static uint32_t largest_f32(const uint32_t *bits, uint64_t count)
{
    uint32_t largest = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint32_t magnitude = bits[i] & 0x7fffffff;
        largest = magnitude > largest ? magnitude : largest;
    }
    return largest;
}

static uint32_t largest_f16(const uint16_t *bits, uint64_t count)
{
    uint16_t largest = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint16_t magnitude = bits[i] & 0x7fff;
        largest = magnitude > largest ? magnitude : largest;
    }
    return largest;
}

static uint32_t magnitude_at(const struct tensor_io *io, const void *elements, uint64_t i)
{
    return io->file_type == VKRING_TYPE_F32 ? ((const uint32_t *)elements)[i] & 0x7fffffff : ((const uint16_t *)elements)[i] & 0x7fff;
}

static const char *trouble_with(const struct tensor_io *io, uint32_t magnitude)
{
    uint32_t infinity = io->file_type == VKRING_TYPE_F32 ? 0x7f800000 : 0x7c00;
    if (magnitude > infinity)
        return "NaN";
    if (magnitude == infinity)
        return "infinite";
    return io->device_type == VKRING_TYPE_F16 ? "too large for f16" : "too large for bf16";
}

static bool refuse_element(const struct tensor_io *io, uint64_t place, uint32_t magnitude, struct failure *failure)
{
    uint64_t at[4];
    for (int dim = 3; dim >= 0; dim--) {
        at[dim] = place % io->shape[dim];
        place /= io->shape[dim];
    }
    return fail_usage(failure, "%s: element [%" PRIu64 ", %" PRIu64 ", %" PRIu64 ", %" PRIu64 "] is %s", io->file.path, at[0], at[1], at[2],
                      at[3], trouble_with(io, magnitude));
}

static bool check_piece(const struct tensor_io *io, const void *elements, uint64_t first, uint64_t count, struct failure *failure)
{
    uint32_t limit = refused_from(io);
    uint32_t largest = io->file_type == VKRING_TYPE_F32 ? largest_f32(elements, count) : largest_f16(elements, count);
    if (largest < limit)
        return true;
    uint64_t i = 0;
    while (magnitude_at(io, elements, i) < limit)
        i++;
    return refuse_element(io, strip_place(&io->strip, first + i), magnitude_at(io, elements, i), failure);
}

bool tensor_check(const struct tensor_io *io, struct tensor_piece *piece, struct progress *progress, struct failure *failure)
{
    uint64_t count;
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
static void *convert(enum vkring_type from_type, void *from, enum vkring_type to_type, void *to, float *between, uint64_t count)
{
    float *wide = from_type == VKRING_TYPE_F32 ? from : to_type == VKRING_TYPE_F32 ? to : between;
    if (from_type == to_type)
        return from;
    if (from_type != VKRING_TYPE_F32)
        vkring_convert_to_f32(from_type, from, count, wide);
    if (to_type != VKRING_TYPE_F32)
        vkring_convert_from_f32(to_type, wide, count, to);
    return to;
}

bool tensor_load(const struct tensor_io *io, struct tensor_piece *piece, vkring_buffer *buffer, uint32_t rank, struct progress *progress,
                 struct failure *failure)
{
    const uint64_t bytes = vkring_type_bytes(io->device_type);
    uint64_t count;
    for (uint64_t first = 0; (count = piece_count(io, first)) > 0; first += count) {
        if (!strip_read(&io->strip, &io->file, first, count, piece->in_file, failure))
            return false;
        const void *converted = convert(io->file_type, piece->in_file, io->device_type, piece->on_device, piece->between, count);
        if (vkring_buffer_upload(buffer, first * bytes, converted, count * bytes) != VKRING_OK)
            return fail_library(failure, rank);
        progress_advance(progress, count);
    }
    return true;
}

bool tensor_store(const struct tensor_io *io, struct tensor_piece *piece, vkring_buffer *buffer, uint32_t rank, struct progress *progress,
                  struct failure *failure)
{
    const uint64_t bytes = vkring_type_bytes(io->device_type);
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
