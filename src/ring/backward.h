/* SPDX-License-Identifier: MIT */
/** What a plan holds for gradients: kernels that run one after another, each over boxes of its own side. */
#ifndef VKRING_RING_BACKWARD_H
#define VKRING_RING_BACKWARD_H

#include "../attention/kernel.h"

/** Of a row's statistics: see row_stats.glsl. */
#define ROW_STATS_BYTES 16u

/** In the order in which they run. */
enum backward_stage_kind { STAGE_ROW_STATS, STAGE_QUERY, STAGE_KEY, STAGE_BIAS, STAGE_SINK, BACKWARD_STAGES };

struct backward_stage {
    struct attention_kernel kernel;
    struct tiling tiling; /* of the own side; its keys are the most of the other side in one dispatch */
    uint64_t others;      /* how many there are */
};

struct backward {
    struct backward_stage stages[BACKWARD_STAGES];
    vkring_buffer *state;     /* of one box at a time */
    vkring_buffer *row_stats; /* [batch][heads][rows] of 16 bytes */
};

/** Whether a problem has gradients of that kind. */
bool backward_has_stage(const struct problem *problem, enum backward_stage_kind kind);
enum dispatch_side backward_side(enum backward_stage_kind kind);

void backward_tile(struct backward *backward, const vkring_device *device, const struct problem *problem,
                   const struct kernel_choice *choice, double dispatch_seconds);
/** Once it is tiled. */
uint64_t backward_state_bytes(const struct backward *backward, const struct problem *problem, const struct kernel_choice *choice);
uint64_t backward_row_stats_bytes(const struct problem *problem);

/** Compiles and allocates, once it is tiled. */
enum vkring_status backward_create(struct backward *backward, vkring_device *device, const struct problem *problem,
                                   const struct kernel_choice *choice);
/** Accepts one that was not created. */
void backward_destroy(struct backward *backward, vkring_device *device);

#endif
