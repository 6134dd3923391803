/* SPDX-License-Identifier: MIT */
/** Products one after another on the compute queue, in short pieces, a few of which are under way at a time. */
#ifndef VKRING_FEEDFORWARD_WORK_STREAM_H
#define VKRING_FEEDFORWARD_WORK_STREAM_H

#include "../vk/timeline.h"
#include "gemm.h"

#define WORK_SLOTS 4u
#define WORK_MOST_WAITS 16u

struct work_piece {
    struct vk_commands commands;
    uint64_t value; /* of the timeline, when it is done */
    double flop;
    bool timed; /* it waited for nobody else */
};

struct work_stream {
    vkring_device *device;
    struct vk_command_pool pool;
    struct vk_timeline timeline;
    struct work_piece pieces[WORK_SLOTS]; /* a queue from oldest on, then the one that is recorded */
    uint32_t oldest, pending;
    bool recording;
    double dispatch_seconds, timeout_seconds;
    double seen_flop, seen_seconds, done_seconds;     /* of all pieces ever; when the last was seen done */
    struct vk_semaphore_value waits[WORK_MOST_WAITS]; /* of the next piece */
    uint32_t wait_count;
};

enum vkring_status work_stream_create(vkring_device *device, double dispatch_seconds, double timeout_seconds,
                                      struct work_stream *out_stream);
/** False: the device is not done with what was submitted, and nothing that it uses may be freed. Accepts one that was not created. */
bool work_stream_settle(struct work_stream *stream);
/** Settled. Accepts one that was not created. */
void work_stream_destroy(struct work_stream *stream);

/** Begins a run: its first piece waits for these; at most WORK_MOST_WAITS. */
void work_stream_begin(struct work_stream *stream, const struct vk_semaphore_value *waits, uint32_t wait_count);
/** Sees all that was written before it. VKRING_ERROR_TIMEOUT: a piece did not end in time. */
enum vkring_status work_stream_multiply(struct work_stream *stream, struct gemm *gemm, const struct gemm_operands *operands);
/** Submits what is left, waits for all of it, and then signals. */
enum vkring_status work_stream_finish(struct work_stream *stream, const struct vk_semaphore_value *signals, uint32_t signal_count);

#endif
