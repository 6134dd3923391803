/* SPDX-License-Identifier: MIT */
/** The compiled shaders, by what varies. */
#ifndef VKRING_ATTENTION_SPIRV_H
#define VKRING_ATTENTION_SPIRV_H

#include "../base/status.h"

struct spirv_module {
    const uint32_t *code;
    uint64_t bytes;
};

/** Kernels that take arguments.glsl. */
enum spirv_kernel {
    SPIRV_FORWARD,
    SPIRV_MERGE, /* of what forward left of splits of keys */
    SPIRV_ROW_STATS,
    SPIRV_QUERY_GRADIENT,
    SPIRV_KEY_GRADIENT,
    SPIRV_QUERY_SUM,
    SPIRV_BIAS_GRADIENT,
    SPIRV_SINK_GRADIENT,
    SPIRV_KERNELS
};

const char *spirv_kernel_name(enum spirv_kernel which);
struct spirv_module spirv_kernel(enum spirv_kernel which, enum vkring_type type, bool shuffle);
/** Forward over keys and values of 8 bits. */
struct spirv_module spirv_forward_int8(enum vkring_type type, bool shuffle);
/** Forward by loads that are the same in all lanes, of which lanes take their slices; for devices with 64-bit integers and shuffles. */
struct spirv_module spirv_forward_uniform(enum vkring_type type, bool int8_keys);
/** Kernels on matrix units; code is null where this build has none, and for f32. */
struct spirv_module spirv_matrix_kernel(enum spirv_kernel which, enum vkring_type type);
/** Of them, with weights that are made of scores by operations on matrices. */
struct spirv_module spirv_matrix_kernel_by_operations(enum spirv_kernel which, enum vkring_type type);
struct spirv_module spirv_pack(uint64_t element_bytes);
struct spirv_module spirv_add(enum vkring_type type);
struct spirv_module spirv_segment_ranges(void);
struct spirv_module spirv_segment_bounds(void);

/** Of all kernels that take arguments.glsl. */
uint32_t spirv_checksum(void);

#endif
