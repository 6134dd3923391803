/* SPDX-License-Identifier: MIT */
/**
 * The feed-forward layer of a transformer, by chunks of rows (Blockwise Parallel Transformer, Liu & Abbeel 2023, arXiv 2305.19370): what
 * lies between its two products is never held for more than a chunk, however many rows there are.
 *
 *     vkring_device -> vkring_buffer ...
 *                   -> vkring_feedforward (device, sizes) -> vkring_feedforward_forward, vkring_feedforward_backward
 *
 * Rows are independent of each other, so that ranks which share a sequence need not speak to each other; weight gradients are those of the
 * rows at hand, which vkring_buffers_sum (sum.h) adds up over ranks.
 */
#ifndef VKRING_FEEDFORWARD_H
#define VKRING_FEEDFORWARD_H

#include "vkring.h"

#ifdef __cplusplus
extern "C" {
#endif

enum vkring_activation {
    VKRING_ACTIVATION_NONE = 0,      /**< t */
    VKRING_ACTIVATION_RELU = 1,      /**< max(t, 0); its derivative at 0 is 0 */
    VKRING_ACTIVATION_GELU = 2,      /**< t · (1 + erf(t / sqrt(2))) / 2 (Hendrycks & Gimpel 2016) */
    VKRING_ACTIVATION_GELU_TANH = 3, /**< t · (1 + tanh(sqrt(2 / pi) · (t + 0.044715 · t^3))) / 2, from the same */
    VKRING_ACTIVATION_SILU = 4,      /**< t / (1 + exp(-t)) */
};

/** A short name such as "gelu-tanh"; null for an unknown activation. */
VKRING_API const char *vkring_activation_string(enum vkring_activation activation);

/**
 * With x a row of the input:
 *
 *     u = x · hidden_weight + hidden_bias
 *     h = act(u), or with `gated` act(x · gate_weight + gate_bias) · u, element by element (Shazeer 2020: silu is SwiGLU, gelu GeGLU)
 *     y = h · output_weight + output_bias
 *
 * Without a hidden layer, hidden_dim 0, y = x · output_weight + output_bias: a linear layer, as of projections to queries, keys and values.
 * Products, sums and h are f32 whatever the type; y is rounded to it once. On matrix units f16 and bf16 are multiplied as f16 with sums in
 * f32: what products take of h and of gradients before the activation has 11 bits then, above 2^-29 of the greatest of its row or column.
 */
struct vkring_feedforward_params {
    enum vkring_type type; /**< of input, weights, biases and output */
    uint64_t rows;         /**< any number up to 2^48, 0 too */
    uint64_t model_dim;    /**< at least 1; as the next two at most 2^23 */
    uint64_t hidden_dim;   /**< 0: no hidden layer, and then no activation, gate and hidden_bias */
    uint64_t output_dim;   /**< 0 for model_dim */
    enum vkring_activation activation;
    bool gated;
    bool hidden_bias; /**< runs bring hidden_bias; so of the next two */
    bool gate_bias;   /**< needs gated */
    bool output_bias;
    bool backward;       /**< vkring_feedforward_backward is wanted too */
    uint64_t chunk_rows; /**< how many rows are taken at a time; 0 for 1024; at most 2^20. The last bits of weight gradients depend on it */
    double timeout_seconds;  /**< how long to wait for the device when it makes no progress; 0 for 300 */
    double dispatch_seconds; /**< how long one piece of device work should take at most; 0 for 0.1 */
    const char *kernels; /**< in the words of vkring/tune.h: matrix, matrix_subgroups and matrix_operations are looked at; null: by kind of
                            device. VKRING_KERNELS in the environment counts more. Borrowed until vkring_feedforward_create returns */
};

/** A feed-forward layer made ready on a device: kernels compiled, memory taken. One call at a time. */
typedef struct vkring_feedforward vkring_feedforward;

/** What it takes beside the matrices: a chunk of hidden rows in f32, two or with `gated` three of them for backward. Not more with more
 * rows. */
struct vkring_feedforward_info {
    uint64_t chunk_rows; /**< as used: no more than there are rows */
    uint64_t device_bytes;
    double forward_flop;    /**< 2 · rows · hidden_dim · (model_dim + output_dim), model_dim counted twice with `gated`;
                                 of a linear layer 2 · rows · model_dim · output_dim */
    double backward_flop;   /**< of all gradients, with what is computed again */
    bool matrix_units;      /**< products are computed there, unless vkring_feedforward_create finds that the device gets them wrong */
    bool matrix_operations; /**< and finished by operations of VK_NV_cooperative_matrix2, unless it finds the same of these */
};

/** What vkring_feedforward_create would take. Takes nothing itself. Errors as of vkring_feedforward_create. */
VKRING_API enum vkring_status vkring_feedforward_measure(vkring_device *device, const struct vkring_feedforward_params *params,
                                                         struct vkring_feedforward_info *out_info);

/**
 * VKRING_ERROR_INVALID_ARGUMENT: a size, type, activation, flag or number of seconds is out of range. _UNSUPPORTED: the device lacks the type.
 * _OUT_OF_DEVICE_MEMORY: it has no room for a chunk; try a smaller one.
 */
VKRING_API enum vkring_status vkring_feedforward_create(vkring_device *device, const struct vkring_feedforward_params *params,
                                                        vkring_feedforward **out_feedforward);
/** Accepts a pointer to null; writes null. The device must outlive it. */
VKRING_API void vkring_feedforward_destroy(vkring_feedforward **feedforward);
VKRING_API void vkring_feedforward_get_info(const vkring_feedforward *feedforward, struct vkring_feedforward_info *out_info);

/**
 * A matrix [rows][columns] in a buffer, columns contiguous; a vector is one of a single row.
 * VKRING_ERROR_UNSUPPORTED: rows lie more than 32 MiB apart.
 */
struct vkring_matrix {
    vkring_buffer *buffer; /**< on the device of the layer */
    uint64_t offset_bytes; /**< a multiple of the element's size */
    uint64_t row_stride;   /**< elements; 0 for packed, else at least the columns */
};

/** Those that the params leave out are not read. A matrix without elements may have a null buffer. */
struct vkring_feedforward_io {
    struct vkring_matrix input;         /**< [rows][model_dim] */
    struct vkring_matrix hidden_weight; /**< [model_dim][hidden_dim] */
    struct vkring_matrix gate_weight;   /**< as hidden_weight */
    struct vkring_matrix output_weight; /**< [hidden_dim][output_dim]; [model_dim][output_dim] without a hidden layer */
    struct vkring_matrix hidden_bias;   /**< [hidden_dim] */
    struct vkring_matrix gate_bias;     /**< [hidden_dim] */
    struct vkring_matrix output_bias;   /**< [output_dim] */
    struct vkring_matrix output;        /**< [rows][output_dim]; not used by backward */
};

/**
 * Computes the output. Buffers are borrowed until it returns; the output aliases no input. Semaphores set by vkring_buffer_set_vulkan_sync
 * are waited for and signalled as by other runs. Allocates and compiles nothing, but that the first run with matrices of another alignment
 * than that of whole quads of elements may compile kernels. Same bits every run on the same device.
 *
 * VKRING_ERROR_INVALID_ARGUMENT, _UNSUPPORTED: a matrix leaves its buffer, is on another device, or has a stride that does not fit; nothing was
 * started.
 * VKRING_ERROR_TIMEOUT, _DEVICE, _DEVICE_LOST: the output is undefined, and the layer can only be destroyed.
 */
VKRING_API enum vkring_status vkring_feedforward_forward(vkring_feedforward *feedforward, const struct vkring_feedforward_io *io);

struct vkring_feedforward_gradients {
    struct vkring_matrix output_grad; /**< [rows][output_dim], of the type: of some loss by the output */
    /* what is wanted, in the shapes of what they belong to; buffer null if not wanted */
    struct vkring_matrix input_grad; /**< of the type */
    /* f32 whatever the type */
    struct vkring_matrix hidden_weight_grad;
    struct vkring_matrix gate_weight_grad; /**< needs gated */
    struct vkring_matrix output_weight_grad;
    struct vkring_matrix hidden_bias_grad; /**< of a bias that the params have; so the next two */
    struct vkring_matrix gate_bias_grad;
    struct vkring_matrix output_bias_grad;
};

/**
 * The gradients of a loss whose gradient by the output is output_grad. The hidden layer is computed again, chunk by chunk; nothing of
 * forward is kept or needed. Gradients of weights and biases are summed over all rows in f32, chunk after chunk, without atomics: the same
 * bits every run. The params need backward. Errors, lifetimes and the rest as of vkring_feedforward_forward; gradients alias nothing.
 */
VKRING_API enum vkring_status vkring_feedforward_backward(vkring_feedforward *feedforward, const struct vkring_feedforward_io *io,
                                                          const struct vkring_feedforward_gradients *gradients);

#ifdef __cplusplus
}
#endif

#endif
