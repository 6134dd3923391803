/* SPDX-License-Identifier: MIT */
/** What a plan holds for gradients: the kernels of each task, how their own sides are cut, and what they keep between them. */
#ifndef VKRING_RING_BACKWARD_H
#define VKRING_RING_BACKWARD_H

#include "gradients.h"
#include "program.h"
#include "query_walk.h"

/** Of a row's statistics: see row_stats.glsl. */
#define ROW_STATS_BYTES 16u

struct backward {
    struct query_walk row_stats, query; /* query: not if joint */
    struct attention_kernel key, bias, sinks;
    struct attention_kernel query_sum; /* if joint */
    struct kernel_choice choice;
    double dispatch_seconds;
    struct program program;
    struct gradients gradients;
    vkring_buffer *state;          /* of keys, one box at a time */
    vkring_buffer *row_stats_rows; /* [batch][heads][rows] of 16 bytes */
    vkring_buffer *score_grads;    /* if joint: of the pairs of one dispatch, f32 */
    vkring_buffer *query_sums;     /* if joint, and the type is not f32: [batch][rows][heads][head_dim], f32 */
    vkring_buffer *sinks_here;     /* [heads] f32, of this rank's rows; null on one rank */
    float *sinks_of_ranks;         /* [ranks][heads]; null on one rank */
};

/** What backward takes of keys in one go, by the kind of its task: keys, or heads of sinks. */
struct tiling backward_tiling(const struct backward *backward, const vkring_device *device, const struct problem *problem,
                              const struct layout *layout, enum task_kind kind, uint64_t keys);

void backward_tile(struct backward *backward, const vkring_device *device, const struct problem *problem, const struct layout *layout,
                   const struct kernel_choice *choice, double dispatch_seconds);
/** Once it is tiled. The state of query gradients, which takes all steps, is not part of it. */
enum vkring_status backward_measure(const struct backward *backward, vkring_device *device, const struct problem *problem,
                                    const struct layout *layout, uint32_t steps, struct vkring_plan_memory *memory);
/** Compiles and allocates, once it is tiled. problem is borrowed. */
enum vkring_status backward_create(struct backward *backward, vkring_device *device, const struct problem *problem,
                                   const struct layout *layout, uint32_t steps);
/** Compiles what tensors of an alignment need. */
enum vkring_status backward_prepare(struct backward *backward, vkring_device *device, const struct problem *problem,
                                    enum alignment alignment);
/** Accepts one that was not created. */
void backward_destroy(struct backward *backward, vkring_device *device);

/** Statistics of a number of query rows. */
struct tensor_view backward_row_stats_view(const struct backward *backward, const struct problem *problem, uint64_t rows);
struct tensor_view backward_sinks_view(const struct backward *backward);
/** What query gradients of a number of rows are summed in, where it is not they. */
struct tensor_view backward_query_sums_view(const struct backward *backward, const struct problem *problem, uint64_t rows);

/** Gradients of queries are summed with those of keys, dispatch by dispatch, which leave the gradients of their scores for it. */
static inline bool backward_is_joint(const struct backward *backward)
{
    return backward->choice.keeps_score_grads;
}
/** Lets a dispatch of key gradients leave them. */
void backward_keep_score_grads(const struct backward *backward, struct attention_dispatch *dispatch);
/** The dispatch of query_sum for one of key gradients. */
struct attention_dispatch backward_query_sum(const struct backward *backward, const struct attention_dispatch *of_keys);

#endif
