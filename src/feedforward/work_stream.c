/* SPDX-License-Identifier: MIT */
#include "work_stream.h"

#include "../base/checked.h"
#include "../base/clock.h"
#include "../vk/device_speed.h"

#define SETTLE_SECONDS 5.0

enum vkring_status work_stream_create(vkring_device *device, double dispatch_seconds, double timeout_seconds,
                                      struct work_stream *out_stream)
{
    enum vkring_status status;
    struct work_stream stream = {.device = device, .dispatch_seconds = dispatch_seconds, .timeout_seconds = timeout_seconds};
    TRY(vk_command_pool_create(device, VK_QUEUE_COMPUTE, &stream.pool), fail);
    TRY(vk_timeline_create(device, &stream.timeline), fail);
    *out_stream = stream;
    return VKRING_OK;
fail:
    work_stream_destroy(&stream);
    return status;
}

bool work_stream_settle(struct work_stream *stream)
{
    return !stream->device || vk_timeline_settle(stream->device, &stream->timeline, SETTLE_SECONDS);
}

void work_stream_destroy(struct work_stream *stream)
{
    if (!stream->device)
        return;
    vk_timeline_destroy(stream->device, &stream->timeline);
    vk_command_pool_destroy(stream->device, &stream->pool);
    *stream = (struct work_stream){0};
}

void work_stream_begin(struct work_stream *stream, const struct vk_semaphore_value *waits, uint32_t wait_count)
{
    for (uint32_t i = 0; i < wait_count; i++)
        stream->waits[i] = waits[i];
    stream->wait_count = wait_count;
    stream->done_seconds = clock_seconds();
}

static enum vkring_status wait_for_oldest(struct work_stream *stream)
{
    enum vkring_status status;
    const struct work_piece *piece = &stream->pieces[stream->oldest];
    bool reached = false;
    TRY(vk_timeline_wait(stream->device, &stream->timeline, piece->value, stream->timeout_seconds, &reached), fail);
    if (!reached)
        return status_fail(VKRING_ERROR_TIMEOUT, "the device did not multiply matrices in %g s", stream->timeout_seconds);
    const double now = clock_seconds();
    if (piece->timed) {
        stream->seen_flop += piece->flop;
        stream->seen_seconds += now - stream->done_seconds;
    }
    stream->done_seconds = now;
    stream->oldest = (stream->oldest + 1) % WORK_SLOTS;
    stream->pending--;
    return VKRING_OK;
fail:
    return status;
}

static struct work_piece *piece_at_hand(struct work_stream *stream)
{
    return &stream->pieces[(stream->oldest + stream->pending) % WORK_SLOTS];
}

static enum vkring_status begin_piece(struct work_stream *stream)
{
    enum vkring_status status;
    if (stream->recording)
        return VKRING_OK;
    if (stream->pending == WORK_SLOTS)
        TRY(wait_for_oldest(stream), fail);
    struct work_piece *piece = piece_at_hand(stream);
    TRY(vk_commands_begin(stream->device, &stream->pool, &piece->commands), fail);
    piece->flop = 0;
    stream->recording = true;
    vk_commands_barrier(stream->device, &piece->commands);
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status submit_piece(struct work_stream *stream)
{
    enum vkring_status status;
    struct work_piece *piece = piece_at_hand(stream);
    const struct vk_semaphore_value done = {stream->timeline.handle, stream->timeline.submitted + 1};
    vk_commands_barrier_to_host(stream->device, &piece->commands);
    TRY(vk_commands_end(stream->device, &piece->commands), fail);
    TRY(vk_submit(stream->device, VK_QUEUE_COMPUTE, &piece->commands, stream->waits, stream->wait_count, &done, 1), fail);
    piece->timed = stream->wait_count == 0;
    stream->wait_count = 0;
    stream->timeline.submitted = done.value;
    piece->value = done.value;
    stream->pending++;
    stream->recording = false;
    return VKRING_OK;
fail:
    return status;
}

/* What the device does in the time that a piece may take. */
static double piece_flop(const struct work_stream *stream)
{
    return stream->dispatch_seconds *
           (stream->seen_seconds > 0 && stream->seen_flop > 0 ? stream->seen_flop / stream->seen_seconds : vk_device_flops(stream->device));
}

/* Whole rows of tiles where there is time for one, else a part of one. */
static struct gemm_box cut_box(const struct work_stream *stream, const struct gemm_box *all, uint32_t row_tile, uint32_t column_tile,
                               double tiles)
{
    const uint32_t *most = stream->device->limits.max_workgroup_count;
    const uint32_t columns_left = all->column_tiles - column_tile, rows_left = all->row_tiles - row_tile;
    const uint64_t tiles_of_time = tiles >= 1e15 ? (uint64_t)1e15 : tiles > 1 ? (uint64_t)tiles : 1;
    struct gemm_box box = {.row_tile = row_tile, .column_tile = column_tile, .row_tiles = 1};
    box.column_tiles = (uint32_t)min_u64(min_u64(columns_left, most[1]), tiles_of_time);
    if (box.column_tiles == all->column_tiles)
        box.row_tiles = (uint32_t)min_u64(min_u64(rows_left, most[0]), tiles_of_time / box.column_tiles);
    return box;
}

static enum vkring_status record_box(struct work_stream *stream, const struct gemm *gemm, const struct gemm_operands *operands,
                                     const struct gemm_box *box)
{
    enum vkring_status status;
    TRY(begin_piece(stream), fail);
    struct work_piece *piece = piece_at_hand(stream);
    gemm_record(stream->device, &piece->commands, gemm, operands, box);
    piece->flop += gemm_tile_flop(gemm, operands) * box->row_tiles * box->column_tiles;
    if (piece->flop >= piece_flop(stream))
        TRY(submit_piece(stream), fail);
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status work_stream_multiply(struct work_stream *stream, struct gemm *gemm, const struct gemm_operands *operands)
{
    enum vkring_status status;
    const struct gemm_box all = gemm_tiles(gemm, operands);
    const double tile_flop = gemm_tile_flop(gemm, operands);
    struct gemm_box box;
    TRY(gemm_prepare(stream->device, gemm, operands), fail);
    if (stream->recording)
        vk_commands_barrier(stream->device, &piece_at_hand(stream)->commands);
    for (uint32_t row_tile = 0; row_tile < all.row_tiles; row_tile += box.row_tiles)
        for (uint32_t column_tile = 0; column_tile < all.column_tiles; column_tile += box.column_tiles) {
            box = cut_box(stream, &all, row_tile, column_tile, tile_flop > 0 ? piece_flop(stream) / tile_flop : 1e15);
            TRY(record_box(stream, gemm, operands, &box), fail);
        }
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status work_stream_finish(struct work_stream *stream, const struct vk_semaphore_value *signals, uint32_t signal_count)
{
    enum vkring_status status;
    if (stream->wait_count > 0)
        TRY(begin_piece(stream), fail);
    if (stream->recording)
        TRY(submit_piece(stream), fail);
    while (stream->pending > 0)
        TRY(wait_for_oldest(stream), fail);
    if (signal_count > 0)
        TRY(vk_submit(stream->device, VK_QUEUE_COMPUTE, NULL, NULL, 0, signals, signal_count), fail);
    return VKRING_OK;
fail:
    return status;
}
