/* SPDX-License-Identifier: MIT */
#include "spirv.h"

#include "../base/crc32c.h"
#include "add_bf16.spv.h"
#include "add_f16.spv.h"
#include "add_f32.spv.h"
#include "bias_gradient_bf16.spv.h"
#include "bias_gradient_bf16_no_shuffle.spv.h"
#include "bias_gradient_f16.spv.h"
#include "bias_gradient_f16_no_shuffle.spv.h"
#include "bias_gradient_f32.spv.h"
#include "bias_gradient_f32_no_shuffle.spv.h"
#include "forward_bf16.spv.h"
#include "forward_bf16_no_shuffle.spv.h"
#include "forward_bf16_uniform.spv.h"
#include "forward_f16.spv.h"
#include "forward_f16_no_shuffle.spv.h"
#include "forward_f16_uniform.spv.h"
#include "forward_f32.spv.h"
#include "forward_f32_no_shuffle.spv.h"
#include "forward_f32_uniform.spv.h"
#include "forward_int8_bf16.spv.h"
#include "forward_int8_bf16_no_shuffle.spv.h"
#include "forward_int8_bf16_uniform.spv.h"
#include "forward_int8_f16.spv.h"
#include "forward_int8_f16_no_shuffle.spv.h"
#include "forward_int8_f16_uniform.spv.h"
#include "forward_int8_f32.spv.h"
#include "forward_int8_f32_no_shuffle.spv.h"
#include "forward_int8_f32_uniform.spv.h"
#include "key_gradient_bf16.spv.h"
#include "key_gradient_bf16_no_shuffle.spv.h"
#include "key_gradient_f16.spv.h"
#include "key_gradient_f16_no_shuffle.spv.h"
#include "key_gradient_f32.spv.h"
#include "key_gradient_f32_no_shuffle.spv.h"
#ifdef VKRING_HAS_MATRICES
#include "matrix_bias_gradient_bf16.spv.h"
#include "matrix_bias_gradient_f16.spv.h"
#include "matrix_forward_bf16.spv.h"
#include "matrix_forward_f16.spv.h"
#ifdef VKRING_HAS_MATRIX_OPERATIONS
#include "matrix_forward_bfloat16_operations.spv.h"
#include "matrix_forward_f16_operations.spv.h"
#include "matrix_key_gradient_bfloat16_operations.spv.h"
#include "matrix_key_gradient_f16_operations.spv.h"
#include "matrix_query_gradient_bfloat16_operations.spv.h"
#include "matrix_query_gradient_f16_operations.spv.h"
#endif
#include "matrix_key_gradient_bf16.spv.h"
#include "matrix_key_gradient_f16.spv.h"
#include "matrix_query_gradient_bf16.spv.h"
#include "matrix_query_gradient_f16.spv.h"
#endif
#include "merge_bf16.spv.h"
#include "merge_bf16_no_shuffle.spv.h"
#include "merge_f16.spv.h"
#include "merge_f16_no_shuffle.spv.h"
#include "merge_f32.spv.h"
#include "merge_f32_no_shuffle.spv.h"
#include "pack_16.spv.h"
#include "pack_32.spv.h"
#include "query_gradient_bf16.spv.h"
#include "query_gradient_bf16_no_shuffle.spv.h"
#include "query_gradient_f16.spv.h"
#include "query_gradient_f16_no_shuffle.spv.h"
#include "query_gradient_f32.spv.h"
#include "query_gradient_f32_no_shuffle.spv.h"
#include "query_sum_bf16.spv.h"
#include "query_sum_bf16_no_shuffle.spv.h"
#include "query_sum_f16.spv.h"
#include "query_sum_f16_no_shuffle.spv.h"
#include "query_sum_f32.spv.h"
#include "query_sum_f32_no_shuffle.spv.h"
#include "row_stats_bf16.spv.h"
#include "row_stats_bf16_no_shuffle.spv.h"
#include "row_stats_f16.spv.h"
#include "row_stats_f16_no_shuffle.spv.h"
#include "row_stats_f32.spv.h"
#include "row_stats_f32_no_shuffle.spv.h"
#include "segment_bounds.spv.h"
#include "segment_ranges.spv.h"
#include "sink_gradient_bf16.spv.h"
#include "sink_gradient_bf16_no_shuffle.spv.h"
#include "sink_gradient_f16.spv.h"
#include "sink_gradient_f16_no_shuffle.spv.h"
#include "sink_gradient_f32.spv.h"
#include "sink_gradient_f32_no_shuffle.spv.h"

#define MODULE(name)                                                                                                                       \
    {                                                                                                                                      \
        name##_code, sizeof(name##_code)                                                                                                   \
    }

/* by whether lanes may shuffle */
#define MODULES_OF_TYPE(name)                                                                                                              \
    {                                                                                                                                      \
        MODULE(name##_no_shuffle), MODULE(name)                                                                                            \
    }

#define MODULES(kernel)                                                                                                                    \
    {                                                                                                                                      \
        [VKRING_TYPE_F32] = MODULES_OF_TYPE(kernel##_f32), [VKRING_TYPE_F16] = MODULES_OF_TYPE(kernel##_f16),                              \
        [VKRING_TYPE_BF16] = MODULES_OF_TYPE(kernel##_bf16)                                                                                \
    }

static const struct {
    const char *name;
    struct spirv_module modules[3][2];
} kernels[SPIRV_KERNELS] = {
    [SPIRV_FORWARD] = {"forward", MODULES(forward)},
    [SPIRV_MERGE] = {"merge", MODULES(merge)},
    [SPIRV_ROW_STATS] = {"row_stats", MODULES(row_stats)},
    [SPIRV_QUERY_GRADIENT] = {"query_gradient", MODULES(query_gradient)},
    [SPIRV_KEY_GRADIENT] = {"key_gradient", MODULES(key_gradient)},
    [SPIRV_QUERY_SUM] = {"query_sum", MODULES(query_sum)},
    [SPIRV_BIAS_GRADIENT] = {"bias_gradient", MODULES(bias_gradient)},
    [SPIRV_SINK_GRADIENT] = {"sink_gradient", MODULES(sink_gradient)},
};

const char *spirv_kernel_name(enum spirv_kernel which)
{
    return kernels[which].name;
}

struct spirv_module spirv_kernel(enum spirv_kernel which, enum vkring_type type, bool shuffle)
{
    return kernels[which].modules[type][shuffle];
}

struct spirv_module spirv_forward_int8(enum vkring_type type, bool shuffle)
{
    static const struct spirv_module modules[3][2] = MODULES(forward_int8);
    return modules[type][shuffle];
}

struct spirv_module spirv_forward_uniform(enum vkring_type type, bool int8_keys)
{
    static const struct spirv_module modules[3][2] = {
        [VKRING_TYPE_F32] = {MODULE(forward_f32_uniform), MODULE(forward_int8_f32_uniform)},
        [VKRING_TYPE_F16] = {MODULE(forward_f16_uniform), MODULE(forward_int8_f16_uniform)},
        [VKRING_TYPE_BF16] = {MODULE(forward_bf16_uniform), MODULE(forward_int8_bf16_uniform)},
    };
    return modules[type][int8_keys];
}

struct spirv_module spirv_matrix_kernel(enum spirv_kernel which, enum vkring_type type)
{
    static const struct spirv_module modules[SPIRV_KERNELS][3] = {
#ifdef VKRING_HAS_MATRICES
        [SPIRV_FORWARD] = {[VKRING_TYPE_F16] = MODULE(matrix_forward_f16), [VKRING_TYPE_BF16] = MODULE(matrix_forward_bf16)},
        [SPIRV_QUERY_GRADIENT] =
            {[VKRING_TYPE_F16] = MODULE(matrix_query_gradient_f16), [VKRING_TYPE_BF16] = MODULE(matrix_query_gradient_bf16)},
        [SPIRV_KEY_GRADIENT] = {[VKRING_TYPE_F16] = MODULE(matrix_key_gradient_f16), [VKRING_TYPE_BF16] = MODULE(matrix_key_gradient_bf16)},
        [SPIRV_BIAS_GRADIENT] =
            {[VKRING_TYPE_F16] = MODULE(matrix_bias_gradient_f16), [VKRING_TYPE_BF16] = MODULE(matrix_bias_gradient_bf16)},
#else
        {{NULL, 0}},
#endif
    };
    return modules[which][type];
}

struct spirv_module spirv_matrix_kernel_by_operations(enum spirv_kernel which, enum vkring_type type)
{
    static const struct spirv_module modules[SPIRV_KERNELS][3] = {
#ifdef VKRING_HAS_MATRIX_OPERATIONS
        [SPIRV_FORWARD] =
            {[VKRING_TYPE_F16] = MODULE(matrix_forward_f16_operations), [VKRING_TYPE_BF16] = MODULE(matrix_forward_bfloat16_operations)},
        [SPIRV_QUERY_GRADIENT] = {[VKRING_TYPE_F16] = MODULE(matrix_query_gradient_f16_operations),
                                  [VKRING_TYPE_BF16] = MODULE(matrix_query_gradient_bfloat16_operations)},
        [SPIRV_KEY_GRADIENT] = {[VKRING_TYPE_F16] = MODULE(matrix_key_gradient_f16_operations),
                                [VKRING_TYPE_BF16] = MODULE(matrix_key_gradient_bfloat16_operations)},
#else
        {{NULL, 0}},
#endif
    };
    return modules[which][type];
}

struct spirv_module spirv_pack(uint64_t element_bytes)
{
    static const struct spirv_module modules[] = {MODULE(pack_16), MODULE(pack_32)};
    return modules[element_bytes == 4];
}

struct spirv_module spirv_add(enum vkring_type type)
{
    static const struct spirv_module modules[] = {
        [VKRING_TYPE_F32] = MODULE(add_f32), [VKRING_TYPE_F16] = MODULE(add_f16), [VKRING_TYPE_BF16] = MODULE(add_bf16)};
    return modules[type];
}

struct spirv_module spirv_segment_ranges(void)
{
    static const struct spirv_module module = MODULE(segment_ranges);
    return module;
}

struct spirv_module spirv_segment_bounds(void)
{
    static const struct spirv_module module = MODULE(segment_bounds);
    return module;
}

static uint32_t add_module(uint32_t crc, struct spirv_module module)
{
    return crc32c(crc, module.code, module.bytes);
}

uint32_t spirv_checksum(void)
{
    uint32_t crc = 0;
    for (enum vkring_type type = VKRING_TYPE_F32; type <= VKRING_TYPE_BF16; type++)
        for (int flag = 0; flag < 2; flag++) {
            crc = add_module(crc, spirv_forward_int8(type, flag));
            crc = add_module(crc, spirv_forward_uniform(type, flag));
        }
    for (enum spirv_kernel which = 0; which < SPIRV_KERNELS; which++)
        for (enum vkring_type type = VKRING_TYPE_F32; type <= VKRING_TYPE_BF16; type++) {
            crc = add_module(crc, spirv_matrix_kernel(which, type));
            crc = add_module(crc, spirv_matrix_kernel_by_operations(which, type));
            for (int shuffle = 0; shuffle < 2; shuffle++)
                crc = add_module(crc, spirv_kernel(which, type, shuffle));
        }
    return crc;
}
