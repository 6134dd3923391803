/* SPDX-License-Identifier: MIT */
#include "layer.h"

#include <math.h>
#include <stdlib.h>

#include "../attention/choose.h"
#include "../base/checked.h"
#include "gemm_self_test.h"

#define MOST_DIM ((uint64_t)1 << 23)
#define MOST_ROWS ((uint64_t)1 << 48)
#define MOST_CHUNK_ROWS ((uint64_t)1 << 20)
#define DEFAULT_CHUNK_ROWS 1024u
#define DEFAULT_TIMEOUT_SECONDS 300.0
#define DEFAULT_DISPATCH_SECONDS 0.1

/* Sizes ------------------------------------------------------------------------------------------------------------------- */

static enum vkring_status check_dim(const char *name, uint64_t dim)
{
    if (dim >= 1 && dim <= MOST_DIM)
        return VKRING_OK;
    return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "%s is %llu, not from 1 to 2^23", name, (unsigned long long)dim);
}

bool layer_is_linear(const struct vkring_feedforward_params *params)
{
    return params->hidden_dim == 0;
}

static enum vkring_status check_hidden(const struct vkring_feedforward_params *params)
{
    if (!layer_is_linear(params))
        return check_dim("hidden_dim", params->hidden_dim);
    if (params->activation != VKRING_ACTIVATION_NONE || params->gated || params->hidden_bias)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT,
                           "without a hidden layer, hidden_dim 0, there is no activation, gate or hidden_bias");
    return VKRING_OK;
}

static enum vkring_status check_flags(const vkring_device *device, const struct vkring_feedforward_params *params)
{
    if (vkring_type_bytes(params->type) == 0)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "unknown type %d", (int)params->type);
    if (!vkring_activation_string(params->activation))
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "unknown activation %d", (int)params->activation);
    if (params->gate_bias && !params->gated)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "gate_bias needs gated");
    if (params->type != VKRING_TYPE_F32 && !device->limits.storage_16bit)
        return status_fail(VKRING_ERROR_UNSUPPORTED, "%s has no 16-bit storage for f16 and bf16 matrices", device->info.name);
    return VKRING_OK;
}

static enum vkring_status take_seconds(const char *name, double otherwise, double *seconds)
{
    if (!isfinite(*seconds) || *seconds < 0)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "%s is negative or not finite", name);
    *seconds = *seconds > 0 ? *seconds : otherwise;
    return VKRING_OK;
}

/* Fills in defaults. */
static enum vkring_status resolve(const vkring_device *device, const struct vkring_feedforward_params *wanted,
                                  struct vkring_feedforward_params *out_params)
{
    enum vkring_status status;
    struct vkring_feedforward_params params = *wanted;
    params.output_dim = params.output_dim ? params.output_dim : params.model_dim;
    params.chunk_rows = params.chunk_rows ? params.chunk_rows : DEFAULT_CHUNK_ROWS;
    TRY(take_seconds("timeout_seconds", DEFAULT_TIMEOUT_SECONDS, &params.timeout_seconds), fail);
    TRY(take_seconds("dispatch_seconds", DEFAULT_DISPATCH_SECONDS, &params.dispatch_seconds), fail);
    TRY(check_dim("model_dim", params.model_dim), fail);
    TRY(check_dim("output_dim", params.output_dim), fail);
    TRY(check_flags(device, &params), fail);
    TRY(check_hidden(&params), fail);
    if (params.rows > MOST_ROWS)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "rows is %llu, above 2^48", (unsigned long long)params.rows);
    if (params.chunk_rows > MOST_CHUNK_ROWS)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "chunk_rows is %llu, above 2^20", (unsigned long long)params.chunk_rows);
    params.chunk_rows = min_u64(params.chunk_rows, max_u64(params.rows, 1));
    *out_params = params;
    return VKRING_OK;
fail:
    return status;
}

/* Scratch ----------------------------------------------------------------------------------------------------------------- */

static int scratch_count(const struct vkring_feedforward_params *params)
{
    return params->backward && !layer_is_linear(params) ? params->gated ? 3 : 2 : 1;
}

/* Rows of whole quads. */
static uint64_t scratch_row_bytes(const struct vkring_feedforward_params *params)
{
    return divide_up(params->hidden_dim, 4) * 4 * sizeof(float);
}

/* At least a row of anything, with a quad more: what products of no terms read. */
static uint64_t scratch_bytes(const struct vkring_feedforward_params *params)
{
    const uint64_t widest = max_u64(max_u64(params->model_dim, params->hidden_dim), params->output_dim);
    return max_u64(params->chunk_rows * scratch_row_bytes(params), (widest + 8) * sizeof(float));
}

/* Of a row: of the products of one with a weight each, and of all that backward needs. */
static void count_flop(const struct vkring_feedforward_params *params, double *out_forward, double *out_backward)
{
    const double model = (double)params->model_dim, hidden = (double)params->hidden_dim, output = (double)params->output_dim;
    const double before = hidden * (params->gated ? 2 * model : model), last = layer_is_linear(params) ? model * output : hidden * output;
    *out_forward = 2 * (before + last);
    *out_backward = 2 * (3 * before + 2 * last);
}

/* Products ---------------------------------------------------------------------------------------------------------------- */

bool layer_has_product(const struct vkring_feedforward_params *params, enum layer_product product)
{
    const bool of_gate = product == LAYER_GATE || product == LAYER_GATE_AGAIN || product == LAYER_GATE_WEIGHT_GRAD;
    const bool of_output = product == LAYER_OUTPUT || product == LAYER_OUTPUT_WEIGHT_GRAD || product == LAYER_INPUT_GRAD;
    return (params->gated || !of_gate) && (of_output || !layer_is_linear(params)) && (params->backward || product <= LAYER_OUTPUT);
}

static struct gemm_kind hidden_kind(const struct vkring_feedforward_params *params, bool bias)
{
    return (struct gemm_kind){.result_f32 = true, .bias = bias, .columns = params->hidden_dim};
}

static struct gemm_kind weight_grad_kind(bool ones, uint64_t columns)
{
    return (struct gemm_kind){.left_transposed = true, .result_f32 = true, .epilogue = GEMM_ACCUMULATE, .ones = ones, .columns = columns};
}

static struct gemm_kind kind_of(const struct vkring_feedforward_params *params, enum layer_product product)
{
    const bool of_hidden = !layer_is_linear(params);
    struct gemm_kind kind = {0};
    switch (product) {
    case LAYER_GATE:
        kind = hidden_kind(params, params->gate_bias);
        kind.activation = params->activation;
        return kind;
    case LAYER_HIDDEN:
        kind = hidden_kind(params, params->hidden_bias);
        kind.epilogue = params->gated ? GEMM_MULTIPLY : GEMM_STORE;
        kind.activation = params->gated ? VKRING_ACTIVATION_NONE : params->activation;
        return kind;
    case LAYER_OUTPUT:
        return (struct gemm_kind){.left_f32 = of_hidden, .bias = params->output_bias, .columns = params->output_dim};
    case LAYER_GATE_AGAIN:
        return hidden_kind(params, params->gate_bias);
    case LAYER_HIDDEN_AGAIN:
        return hidden_kind(params, params->hidden_bias);
    case LAYER_HIDDEN_GRAD:
        return (struct gemm_kind){.right_transposed = true,
                                  .result_f32 = true,
                                  .epilogue = params->gated ? GEMM_GATED_GRADIENT : GEMM_GRADIENT,
                                  .activation = params->activation,
                                  .columns = params->hidden_dim};
    case LAYER_OUTPUT_WEIGHT_GRAD:
        kind = weight_grad_kind(params->output_bias, params->output_dim);
        kind.left_f32 = of_hidden;
        return kind;
    case LAYER_HIDDEN_WEIGHT_GRAD:
    case LAYER_GATE_WEIGHT_GRAD:
        kind = weight_grad_kind(product == LAYER_GATE_WEIGHT_GRAD ? params->gate_bias : params->hidden_bias, params->hidden_dim);
        kind.right_f32 = true;
        return kind;
    case LAYER_INPUT_GRAD:
        return (struct gemm_kind){
            .right_transposed = true, .left_f32 = of_hidden, .two_products = params->gated, .columns = params->model_dim};
    case LAYER_PRODUCTS:
        break;
    }
    return kind;
}

struct gemm_kind layer_product_kind(const struct vkring_feedforward_params *params, enum layer_product product)
{
    struct gemm_kind kind = kind_of(params, product);
    kind.type = params->type;
    return kind;
}

/* Where no size keeps rows from being whole quads. */
static bool has_whole_quads(const struct vkring_feedforward_params *params)
{
    return (params->model_dim | params->hidden_dim | params->output_dim) % 4 == 0;
}

/* By the words of vkring/tune.h, of which most are of attention. Operations on matrices are faster on lavapipe; of GPUs it is not known. */
static enum vkring_status wish_for(const vkring_device *device, const char *wanted, struct gemm_wish *out_wish)
{
    enum vkring_status status;
    const char *words = choose_words(wanted);
    const bool is_cpu = device->info.kind == VKRING_DEVICE_CPU;
    struct kernel_choice choice = {.matrix = !is_cpu};
    choice.matrix_wish.operations = is_cpu;
    if (words)
        TRY(choice_parse_words(words, &choice), fail);
    *out_wish = (struct gemm_wish){choice.matrix, choice.matrix_wish.subgroups, choice.matrix_wish.operations};
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status measure(vkring_device *device, const struct vkring_feedforward_params *params,
                                  struct vkring_feedforward_info *out_info)
{
    enum vkring_status status;
    double forward_flop, backward_flop;
    uint64_t bytes;
    struct gemm_wish wish;
    const struct gemm_kind kind = layer_product_kind(params, LAYER_OUTPUT);
    bool counts_as_host;
    TRY(vk_buffer_measure(device, VK_MEMORY_DEVICE, scratch_bytes(params), &bytes, &counts_as_host), fail);
    TRY(wish_for(device, params->kernels, &wish), fail);
    const struct gemm_matrices matrices = gemm_tile_choose(device, &kind, &wish).matrices;
    count_flop(params, &forward_flop, &backward_flop);
    *out_info = (struct vkring_feedforward_info){
        .chunk_rows = params->chunk_rows,
        .device_bytes = bytes * (uint64_t)scratch_count(params),
        .forward_flop = (double)params->rows * forward_flop,
        .backward_flop = params->backward ? (double)params->rows * backward_flop : 0,
        .matrix_units = matrices.shape.m > 0,
        .matrix_operations = matrices.operations,
    };
    return VKRING_OK;
fail:
    return status;
}

/* Leaves out what the device computes wrong products with. */
static enum vkring_status try_products(struct vkring_feedforward *layer, bool operations, bool *in_use)
{
    enum vkring_status status;
    TRY(gemm_self_test(layer->device, layer->params.type, operations, in_use), fail);
    if (!*in_use)
        log_line(&layer->device->log, VKRING_LOG_WARNING, "%s: products on matrix units are wrong%s; others take over",
                 layer->device->info.name, operations ? " by operations on matrices" : "");
fail:
    return status;
}

static enum vkring_status settle_wish(struct vkring_feedforward *layer)
{
    enum vkring_status status;
    struct vkring_feedforward_info *info = &layer->info;
    TRY(wish_for(layer->device, layer->params.kernels, &layer->wish), fail);
    layer->params.kernels = NULL; /* the caller's */
    if (info->matrix_operations)
        TRY(try_products(layer, true, &info->matrix_operations), fail);
    if (info->matrix_units && !info->matrix_operations)
        TRY(try_products(layer, false, &info->matrix_units), fail);
    layer->wish.operations = info->matrix_operations;
    layer->wish.matrix = info->matrix_units;
fail:
    return status;
}

/* The layer --------------------------------------------------------------------------------------------------------------- */

static enum vkring_status take(struct vkring_feedforward *layer)
{
    enum vkring_status status;
    const struct vkring_feedforward_params *params = &layer->params;
    for (enum layer_product product = 0; product < LAYER_PRODUCTS; product++) {
        const struct gemm_kind kind = layer_product_kind(params, product);
        if (layer_has_product(params, product))
            TRY(gemm_create(layer->device, &kind, &layer->wish, has_whole_quads(params), &layer->products[product]), fail);
    }
    for (int i = 0; i < scratch_count(params); i++)
        TRY(vk_buffer_create(layer->device, VK_MEMORY_DEVICE, scratch_bytes(params), &layer->scratch[i]), fail);
    TRY(work_stream_create(layer->device, params->dispatch_seconds, params->timeout_seconds, &layer->stream), fail);
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status vkring_feedforward_measure(vkring_device *device, const struct vkring_feedforward_params *params,
                                              struct vkring_feedforward_info *out_info)
{
    enum vkring_status status;
    struct vkring_feedforward_params resolved;
    TRY(resolve(device, params, &resolved), fail);
    TRY(measure(device, &resolved, out_info), fail);
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status vkring_feedforward_create(vkring_device *device, const struct vkring_feedforward_params *params,
                                             vkring_feedforward **out_feedforward)
{
    enum vkring_status status;
    struct vkring_feedforward *layer = calloc(1, sizeof(*layer));
    if (!layer)
        return status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory for a feed-forward layer");
    layer->device = device;
    TRY(resolve(device, params, &layer->params), fail);
    TRY(measure(device, &layer->params, &layer->info), fail);
    TRY(settle_wish(layer), fail);
    layer->scratch_stride = (uint32_t)scratch_row_bytes(&layer->params);
    TRY(take(layer), fail);
    *out_feedforward = layer;
    return VKRING_OK;
fail:
    vkring_feedforward_destroy(&layer);
    return status;
}

void vkring_feedforward_destroy(vkring_feedforward **feedforward)
{
    struct vkring_feedforward *layer = feedforward ? *feedforward : NULL;
    if (!layer)
        return;
    *feedforward = NULL;
    if (!work_stream_settle(&layer->stream))
        return; /* lost, because freeing what the device writes to is worse */
    work_stream_destroy(&layer->stream);
    for (int i = 0; i < SCRATCHES; i++)
        vkring_buffer_destroy(&layer->scratch[i]);
    for (int i = 0; i < LAYER_PRODUCTS; i++)
        gemm_destroy(layer->device, &layer->products[i]);
    free(layer);
}

void vkring_feedforward_get_info(const vkring_feedforward *feedforward, struct vkring_feedforward_info *out_info)
{
    *out_info = feedforward->info;
}
