/* SPDX-License-Identifier: MIT */
/** The named problems that vkring-bench measures. */
#ifndef VKRING_BENCH_CASE_H
#define VKRING_BENCH_CASE_H

#include <vkring/vkring.h>

struct bench_case {
    const char *name;
    bool is_long;                      /* minutes on a CPU: only run when named */
    struct vkring_plan_params problem; /* of a plan with backward, that is timed, and not forward */
    uint32_t segments;                 /* packed sequences, with segment_ids */
};

extern const struct bench_case bench_cases[];
extern const uint32_t bench_case_count;

/**
 * FlashAttention's convention: 4 · batch · heads · pairs · dim, dim the mean of head_dim and value_dim; two and a half times that for
 * backward. Pairs are q_len · kv_len; half of them if causal; those that a window or segments keep, where there are such.
 */
double bench_case_flop(const struct bench_case *bench_case);

/** "f32", "f16" or "bf16". */
const char *bench_type_name(enum vkring_type type);
bool bench_type_find(const char *name, enum vkring_type *out_type);

#endif
