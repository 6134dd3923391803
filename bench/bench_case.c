/* SPDX-License-Identifier: MIT */
#include "bench_case.h"

#include <string.h>

#define SQUARE(rows) .batch = 1, .q_len = (rows), .kv_len = (rows), .heads = 8
#define DECODE(rows, keys) .batch = 1, .q_len = (rows), .kv_len = (keys), .heads = 8
/* a query keeps itself and the keys before it, so many in all */
#define WINDOW(keys) .causal = true, .has_window = true, .window_left = (keys)-1, .window_right = -1

const struct bench_case bench_cases[] = {
    {"f32-d64-n1k", false, {SQUARE(1024), .head_dim = 64}},
    {"f32-d64-n1k-causal", false, {SQUARE(1024), .head_dim = 64, .causal = true}},
    {"f32-d128-n1k", false, {SQUARE(1024), .head_dim = 128}},
    {"f32-d256-n512", false, {SQUARE(512), .head_dim = 256}},
    {"f32-d80-v48-n1k", false, {SQUARE(1024), .head_dim = 80, .value_dim = 48}},
    {"f32-d33-n1000-causal", false, {SQUARE(1000), .head_dim = 33, .causal = true}},
    {"f32-d64-n1k-gqa8", false, {SQUARE(1024), .kv_heads = 1, .head_dim = 64}},
    {"f32-d64-q8-k8k", false, {DECODE(8, 8192), .head_dim = 64}},
    {"f32-d64-q1-k64k", false, {DECODE(1, 65536), .head_dim = 64}},
    {"f32-d64-q1-k64k-gqa4", false, {DECODE(1, 65536), .kv_heads = 2, .head_dim = 64}},
    {"f16-d128-q1-k64k-gqa4", false, {DECODE(1, 65536), .type = VKRING_TYPE_F16, .kv_heads = 2, .head_dim = 128}},
    {"f32-d64-n256-b8", false, {.batch = 8, .q_len = 256, .kv_len = 256, .heads = 8, .head_dim = 64, .causal = true}},
    {"f16-d64-n1k", false, {SQUARE(1024), .type = VKRING_TYPE_F16, .head_dim = 64}},
    {"f16-d128-n1k-causal", false, {SQUARE(1024), .type = VKRING_TYPE_F16, .head_dim = 128, .causal = true}},
    {"bf16-d64-n1k", false, {SQUARE(1024), .type = VKRING_TYPE_BF16, .head_dim = 64}},
    {"f32-d64-n1k-softcap", false, {SQUARE(1024), .head_dim = 64, .softcap = 30}},
    {"f32-d64-n1k-alibi", false, {SQUARE(1024), .head_dim = 64, .alibi = true}},
    {"f32-d64-n1k-bias", false, {SQUARE(1024), .head_dim = 64, .bias = {.present = true}}},
    {"f32-d64-n1k-sinks", false, {SQUARE(1024), .head_dim = 64, .sinks = true}},
    {"f32-d64-n1k-dropout", false, {SQUARE(1024), .head_dim = 64, .dropout = 0.1}},
    {"f32-d64-n2k-window256", false, {SQUARE(2048), .head_dim = 64, WINDOW(256)}},
    {"f32-d64-n2k-packed8", false, {SQUARE(2048), .head_dim = 64, .segment_ids = true}, 8},
    {"f32-d64-n1k-backward", false, {SQUARE(1024), .head_dim = 64, .backward = true}},
    {"f32-d128-n1k-backward", false, {SQUARE(1024), .head_dim = 128, .backward = true}},
    {"f16-d64-n1k-causal-backward", false, {SQUARE(1024), .type = VKRING_TYPE_F16, .head_dim = 64, .causal = true, .backward = true}},
    {"f32-d64-n4k", true, {SQUARE(4096), .head_dim = 64}},
    {"f32-d64-n4k-causal", true, {SQUARE(4096), .head_dim = 64, .causal = true}},
    {"f32-d128-n4k", true, {SQUARE(4096), .head_dim = 128}},
    {"f32-d128-n4k-causal", true, {SQUARE(4096), .head_dim = 128, .causal = true}},
    {"f16-d128-n4k", true, {SQUARE(4096), .type = VKRING_TYPE_F16, .head_dim = 128}},
    {"f32-d64-n4k-backward", true, {SQUARE(4096), .head_dim = 64, .backward = true}},
    {"f32-d128-n4k-backward", true, {SQUARE(4096), .head_dim = 128, .backward = true}},
    {"f32-d64-n16k", true, {SQUARE(16384), .head_dim = 64}},
    {"f32-d64-n16k-window512", true, {SQUARE(16384), .head_dim = 64, WINDOW(512)}},
    {"f32-d64-n16k-packed32", true, {SQUARE(16384), .head_dim = 64, .segment_ids = true}, 32},
    {"f32-d64-n16k-causal", true, {SQUARE(16384), .head_dim = 64, .causal = true}},
    {"f16-d128-n64k-causal", true, {SQUARE(65536), .type = VKRING_TYPE_F16, .head_dim = 128, .causal = true}},
};

const uint32_t bench_case_count = sizeof(bench_cases) / sizeof(bench_cases[0]);

/* Windows of these cases are causal, so long that the rows at the start, which keep less, hardly count. */
static double kept_pairs(const struct bench_case *bench_case)
{
    const struct vkring_plan_params *problem = &bench_case->problem;
    const double pairs = (double)problem->q_len * (double)problem->kv_len;
    if (problem->has_window)
        return (double)problem->q_len * (double)(problem->window_left + 1);
    return pairs / (problem->causal ? 2 : 1) / (bench_case->segments ? bench_case->segments : 1);
}

double bench_case_flop(const struct bench_case *bench_case)
{
    const struct vkring_plan_params *problem = &bench_case->problem;
    const double value_dim = (double)(problem->value_dim ? problem->value_dim : problem->head_dim);
    const double dim = ((double)problem->head_dim + value_dim) / 2;
    return (problem->backward ? 2.5 : 1) * 4.0 * (double)problem->batch * (double)problem->heads * kept_pairs(bench_case) * dim;
}

static const char *const type_names[] = {[VKRING_TYPE_F32] = "f32", [VKRING_TYPE_F16] = "f16", [VKRING_TYPE_BF16] = "bf16"};

const char *bench_type_name(enum vkring_type type)
{
    return type_names[type];
}

bool bench_type_find(const char *name, enum vkring_type *out_type)
{
    for (int type = 0; type < 3; type++)
        if (strcmp(name, type_names[type]) == 0) {
            *out_type = (enum vkring_type)type;
            return true;
        }
    return false;
}
