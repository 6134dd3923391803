/* SPDX-License-Identifier: MIT */
/** All tensors of a run, found in their buffers, by the side they belong to. */
#ifndef VKRING_ATTENTION_TENSORS_H
#define VKRING_ATTENTION_TENSORS_H

#include "problem.h"
#include "tensor.h"

/** Of this rank's query rows. Those without a buffer are absent, not wanted, or empty. */
struct query_tensors {
    struct tensor_view query, output, output_grad, query_grad;
    struct tensor_view lse, lse_residual, output_residual;
    struct tensor_view row_stats;                /* of the plan */
    struct tensor_view bias, bias_grad;          /* per_query: rows of all keys of the sequence */
    struct tensor_view ids, segments;            /* segments: the table of them */
    struct tensor_view slopes, sinks, sink_grad; /* of all heads */
    uint64_t query_row;    /* of the sequence, that row 0 would be, modulo 2^64: row i is query_row + i · query_stride */
    uint64_t query_stride; /* 0: 1 */
    uint64_t rows;
    uint64_t seed;
};

/** Keys of one rank: its own, where the application has them, or a packet's. */
struct key_tensors {
    struct tensor_view key, value, key_grad, value_grad;
    struct tensor_view key_scales, value_scales; /* f32, of rows of each head: keys and values are integers of 8 bits, for forward alone */
    struct tensor_view bias, bias_grad;          /* not per_query: one row of these keys */
    struct tensor_view ids, segments;            /* segments: the table of them */
    uint64_t key_row, key_stride;                /* as of queries */
    uint64_t keys;
};

/** The tensors of vkring_forward; those of backward, and scales, stay absent. With int8_keys elements of key and value are words. */
enum vkring_status tensors_resolve_forward(const struct problem *problem, const struct vkring_forward_io *io, uint64_t query_rows,
                                           uint64_t key_rows, struct query_tensors *out_queries, struct key_tensors *out_keys);
/** Scales of keys and values that are integers, each [batch][kv_heads][key_rows] in f32 with contiguous rows. */
enum vkring_status tensors_resolve_scales(const struct problem *problem, const struct vkring_tensor *key_scales,
                                          const struct vkring_tensor *value_scales, uint64_t key_rows, struct key_tensors *keys);
/** The tensors of vkring_backward. */
enum vkring_status tensors_resolve_backward(const struct problem *problem, const struct vkring_backward_io *io, uint64_t query_rows,
                                            uint64_t key_rows, struct query_tensors *out_queries, struct key_tensors *out_keys);

/** VKRING_ERROR_INVALID_ARGUMENT, with its name: the buffer of one is of another device. */
enum vkring_status tensors_check_device(const vkring_device *device, const struct query_tensors *queries, const struct key_tensors *keys);

/** How kernels may read and write them; integers are read by words, however the rest lies. */
enum alignment tensors_alignment(const struct problem *problem, const struct query_tensors *queries, const struct key_tensors *keys);

/** What forward reads and writes of rows, for a kernel that packs heads: VKRING_ERROR_UNSUPPORTED where those lie too far apart. */
enum vkring_status tensors_check_near_heads(const struct query_tensors *queries);

/** A bias that is read, of such a shape: it steps by 0 over what it repeats over. */
enum vkring_status tensors_resolve_bias(const struct problem *problem, const struct vkring_tensor *tensor, const struct tensor_shape *shape,
                                        struct tensor_view *out_view);
/** A bias, or its gradient, for a number of query rows and keys: seen as rows of keys. */
struct tensor_shape tensors_bias_shape(const struct problem *problem, const char *name, uint64_t rows, uint64_t keys);

/** Query rows, or their gradient. */
struct tensor_shape tensors_query_shape(const struct problem *problem, uint64_t rows);
/** Outputs of query rows, or their gradient. */
struct tensor_shape tensors_output_shape(const struct problem *problem, uint64_t rows);

/** The parts of a packet, in order. */
enum key_part { KEY_PART_KEY, KEY_PART_VALUE, KEY_PART_BIAS, KEY_PART_IDS, KEY_PART_KEY_SCALES, KEY_PART_VALUE_SCALES, KEY_PARTS };

/** Shape of a part for a number of keys; no elements where the problem has no such part. */
struct tensor_shape key_part_shape(const struct problem *problem, enum key_part part, uint64_t keys);
struct tensor_view *key_part_view(struct key_tensors *keys, enum key_part part);
/** A part, packed, in a buffer. */
struct tensor_view tensors_packed_part(const struct problem *problem, enum key_part part, const struct tensor_shape *shape,
                                       vkring_buffer *buffer, uint64_t offset_bytes);

#endif
