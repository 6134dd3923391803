/* SPDX-License-Identifier: MIT */
#include "bench_inputs.h"

#include <math.h>
#include <stdlib.h>

#include <ref/compare.h>
#include <ref/reference.h>

#include "bench_draw.h"

enum stream { STREAM_QUERY = 1, STREAM_KEY, STREAM_VALUE, STREAM_OUTPUT_GRAD };

/* Rows of all heads that are compared on each rank: the first, the last and some between. */
#define SAMPLE_ROWS 4u

struct tensor {
    vkring_buffer **buffer;
    enum stream stream;
    uint64_t length;                 /* of the whole sequence */
    const struct vkring_span *spans; /* of this rank: so many rows */
    uint64_t rows;
    uint64_t row_elements;
};

/* From row `first` of a batch entry on. */
static struct bench_draw rows_of(const struct bench_inputs *inputs, const struct tensor *tensor, uint64_t batch, uint64_t first,
                                 uint64_t rows)
{
    return (struct bench_draw){
        .seed = tensor->stream,
        .first = (batch * tensor->length + first) * tensor->row_elements,
        .count = rows * tensor->row_elements,
        .factor = 1,
        .type = inputs->problem.type,
    };
}

/* Rows of one batch entry, rounded to the type. */
static bool fill_rows(const struct bench_inputs *inputs, const struct tensor *tensor, uint64_t batch, uint64_t first, uint64_t rows,
                      float *out, struct failure *failure)
{
    const struct bench_draw draw = rows_of(inputs, tensor, batch, first, rows);
    void *rounded = malloc(draw.count * vkring_type_bytes(draw.type) + 1);
    if (!rounded)
        return fail_memory(failure);
    bench_draw(&draw, out, rounded);
    free(rounded);
    return true;
}

/* All of the rank, of one batch entry. */
static void draw_spans(const struct bench_inputs *inputs, const struct tensor *tensor, uint64_t batch, float *values, char *typed)
{
    for (int i = 0; i < VKRING_SPANS; i++) {
        const struct vkring_span *span = &tensor->spans[i];
        const uint64_t at_once = span->stride == 1 ? span->rows : 1;
        for (uint64_t row = 0; row < span->rows; row += at_once) {
            const struct bench_draw draw = rows_of(inputs, tensor, batch, span->first + row * span->stride, at_once);
            bench_draw(&draw, values, typed);
            values += draw.count;
            typed += draw.count * vkring_type_bytes(draw.type);
        }
    }
}

static bool upload(const struct bench_inputs *inputs, const struct tensor *tensor, uint32_t rank, struct failure *failure)
{
    const uint64_t element_bytes = vkring_type_bytes(inputs->problem.type);
    const uint64_t count = tensor->rows * tensor->row_elements;
    float *values = malloc(count * sizeof(*values) + 1);
    void *typed = malloc(count * element_bytes + 1);
    enum vkring_status status = VKRING_OK;
    for (uint64_t batch = 0; values && typed && status == VKRING_OK && batch < inputs->problem.batch; batch++) {
        draw_spans(inputs, tensor, batch, values, typed);
        status = vkring_buffer_upload(*tensor->buffer, batch * count * element_bytes, typed, count * element_bytes);
    }
    const bool had_memory = values && typed;
    free(values);
    free(typed);
    if (!had_memory)
        return fail_memory(failure);
    return status == VKRING_OK || fail_library(failure, rank);
}

static struct tensor query_of(struct bench_inputs *inputs)
{
    return (struct tensor){&inputs->query,
                           STREAM_QUERY,
                           inputs->problem.q_len,
                           inputs->info.rows.query_spans,
                           inputs->info.rows.query_rows,
                           inputs->problem.heads * inputs->problem.head_dim};
}

static struct tensor key_of(struct bench_inputs *inputs)
{
    return (struct tensor){&inputs->key,
                           STREAM_KEY,
                           inputs->problem.kv_len,
                           inputs->info.rows.key_spans,
                           inputs->info.rows.key_rows,
                           inputs->problem.kv_heads * inputs->problem.head_dim};
}

static struct tensor value_of(struct bench_inputs *inputs)
{
    return (struct tensor){&inputs->value,
                           STREAM_VALUE,
                           inputs->problem.kv_len,
                           inputs->info.rows.key_spans,
                           inputs->info.rows.key_rows,
                           inputs->problem.kv_heads * inputs->problem.value_dim};
}

static struct tensor output_grad_of(struct bench_inputs *inputs)
{
    return (struct tensor){&inputs->output_grad,          STREAM_OUTPUT_GRAD,           inputs->problem.q_len,
                           inputs->info.rows.query_spans, inputs->info.rows.query_rows, inputs->problem.heads * inputs->problem.value_dim};
}

/* What backward reads beside the inputs, and writes. */
static bool make_gradients(vkring_device *device, struct bench_inputs *inputs, struct failure *failure)
{
    const struct vkring_plan_params *p = &inputs->problem;
    const struct tensor output_grad = output_grad_of(inputs);
    const uint64_t query_rows = p->batch * inputs->info.rows.query_rows * p->heads,
                   key_rows = p->batch * inputs->info.rows.key_rows * p->kv_heads;
    const uint64_t element = vkring_type_bytes(p->type);
    struct vkring_backward_io *io = &inputs->io;
    const struct {
        vkring_buffer **buffer;
        struct vkring_tensor *tensor;
        uint64_t bytes;
    } tensors[] = {
        {&inputs->lse, &io->forward.lse, query_rows * sizeof(float)},
        {&inputs->lse_residual, &io->forward.lse_residual, query_rows * sizeof(float)},
        {&inputs->output_grad, &io->output_grad, query_rows * p->value_dim * element},
        {&inputs->query_grad, &io->query_grad, query_rows * p->head_dim * element},
        {&inputs->key_grad, &io->key_grad, key_rows * p->head_dim * element},
        {&inputs->value_grad, &io->value_grad, key_rows * p->value_dim * element},
    };
    for (size_t i = 0; i < sizeof(tensors) / sizeof(tensors[0]); i++) {
        if (vkring_buffer_create(device, tensors[i].bytes, tensors[i].buffer) != VKRING_OK)
            return fail_library(failure, inputs->info.rank);
        tensors[i].tensor->buffer = *tensors[i].buffer;
    }
    return upload(inputs, &output_grad, inputs->info.rank, failure);
}

bool bench_inputs_make(vkring_device *device, const struct bench_case *which, const struct vkring_plan_info *info,
                       struct bench_inputs *out_inputs, struct failure *failure)
{
    const struct vkring_plan_params *problem = &which->problem;
    struct bench_inputs *inputs = out_inputs;
    struct vkring_memory_use before, after;
    vkring_device_get_memory_use(device, &before);
    *inputs = (struct bench_inputs){.problem = *problem, .info = *info};
    inputs->problem.kv_heads = problem->kv_heads ? problem->kv_heads : problem->heads;
    inputs->problem.value_dim = problem->value_dim ? problem->value_dim : problem->head_dim;
    const struct tensor tensors[] = {query_of(inputs), key_of(inputs), value_of(inputs)};
    const uint64_t element_bytes = vkring_type_bytes(problem->type);
    for (int i = 0; i < 3; i++) {
        const uint64_t bytes = problem->batch * tensors[i].rows * tensors[i].row_elements * element_bytes;
        if (vkring_buffer_create(device, bytes, tensors[i].buffer) != VKRING_OK)
            return fail_library(failure, info->rank);
        if (!upload(inputs, &tensors[i], info->rank, failure))
            return false;
    }
    const uint64_t output_bytes = problem->batch * info->rows.query_rows * problem->heads * inputs->problem.value_dim * element_bytes;
    if (vkring_buffer_create(device, output_bytes, &inputs->output) != VKRING_OK)
        return fail_library(failure, info->rank);
    inputs->io.forward = (struct vkring_forward_io){
        .query = {.buffer = inputs->query},
        .key = {.buffer = inputs->key},
        .value = {.buffer = inputs->value},
        .output = {.buffer = inputs->output},
    };
    if (!bench_masks_make(device, &inputs->problem, which->segments, info, &inputs->masks, &inputs->io.forward, failure))
        return false;
    if (problem->backward && !make_gradients(device, inputs, failure))
        return false;
    vkring_device_get_memory_use(device, &after);
    inputs->device_bytes = (double)(after.device_bytes - before.device_bytes);
    return true;
}

void bench_inputs_free(struct bench_inputs *inputs)
{
    vkring_buffer_destroy(&inputs->query);
    vkring_buffer_destroy(&inputs->key);
    vkring_buffer_destroy(&inputs->value);
    vkring_buffer_destroy(&inputs->output);
    vkring_buffer_destroy(&inputs->lse);
    vkring_buffer_destroy(&inputs->lse_residual);
    vkring_buffer_destroy(&inputs->output_grad);
    vkring_buffer_destroy(&inputs->query_grad);
    vkring_buffer_destroy(&inputs->key_grad);
    vkring_buffer_destroy(&inputs->value_grad);
    bench_masks_free(&inputs->masks);
}

/* All rows of one batch entry's keys and values, and one row of its queries. Results are rows of the output, or of the queries' gradients.
 */
struct sample {
    float *query, *key, *value, *output_grad, *result;
    double *reference;
    uint16_t *raw;
};

static uint64_t result_elements(const struct vkring_plan_params *problem)
{
    return problem->heads * (problem->backward ? problem->head_dim : problem->value_dim);
}

static bool sample_allocate(const struct bench_inputs *inputs, struct sample *sample)
{
    const struct vkring_plan_params *p = &inputs->problem;
    const uint64_t row = result_elements(p);
    sample->output_grad = malloc(p->heads * p->value_dim * sizeof(float));
    sample->query = malloc(p->heads * p->head_dim * sizeof(float));
    sample->key = malloc(p->kv_len * p->kv_heads * p->head_dim * sizeof(float) + 1);
    sample->value = malloc(p->kv_len * p->kv_heads * p->value_dim * sizeof(float) + 1);
    sample->result = malloc(SAMPLE_ROWS * row * sizeof(float));
    sample->reference = malloc(SAMPLE_ROWS * row * sizeof(double));
    sample->raw = malloc(row * sizeof(float));
    return sample->query && sample->key && sample->output_grad && sample->value && sample->result && sample->reference && sample->raw;
}

static void sample_free(struct sample *sample)
{
    free(sample->query);
    free(sample->key);
    free(sample->value);
    free(sample->output_grad);
    free(sample->result);
    free(sample->reference);
    free(sample->raw);
}

/* In the sequence, of the rank's row `row`. */
static uint64_t position_of(const struct vkring_span *spans, uint64_t row)
{
    for (; row >= spans->rows; spans++)
        row -= spans->rows;
    return spans->first + row * spans->stride;
}

static bool sample_row(struct bench_inputs *inputs, struct sample *sample, uint64_t batch, uint64_t row, uint32_t at,
                       struct failure *failure)
{
    const struct vkring_plan_params *p = &inputs->problem;
    const struct tensor query = query_of(inputs), output_grad = output_grad_of(inputs);
    const uint64_t elements = result_elements(p), bytes = elements * vkring_type_bytes(p->type);
    double *reference = sample->reference + at * elements;
    const struct reference_gradients gradients = {.query = reference};
    const uint64_t position = position_of(inputs->info.rows.query_spans, row);
    struct reference_problem one_row = {
        .batch = 1,
        .q_len = 1,
        .kv_len = p->kv_len,
        .heads = p->heads,
        .kv_heads = p->kv_heads,
        .head_dim = p->head_dim,
        .value_dim = p->value_dim,
        .causal = p->causal,
        .query_offset = (int64_t)position + (int64_t)p->kv_len - (int64_t)p->q_len,
        .scale = 1 / sqrt((double)p->head_dim),
    };
    bench_masks_refer(&inputs->masks, p, position, &one_row);
    if (!fill_rows(inputs, &query, batch, position, 1, sample->query, failure) ||
        !fill_rows(inputs, &output_grad, batch, position, 1, sample->output_grad, failure))
        return false;
    if (p->backward ? !reference_backward(&one_row, sample->query, sample->key, sample->value, sample->output_grad, &gradients)
                    : !reference_forward(&one_row, sample->query, sample->key, sample->value, 0, 1, reference, NULL))
        return fail_memory(failure);
    if (vkring_buffer_download(p->backward ? inputs->query_grad : inputs->output, (batch * inputs->info.rows.query_rows + row) * bytes,
                               sample->raw, bytes) != VKRING_OK)
        return fail_library(failure, inputs->info.rank);
    vkring_convert_to_f32(p->type, sample->raw, elements, sample->result + at * elements);
    return true;
}

static bool sample_rows(struct bench_inputs *inputs, struct sample *sample, struct progress *progress, struct failure *failure)
{
    const struct tensor key = key_of(inputs), value = value_of(inputs);
    const uint64_t batch = inputs->problem.batch - 1;
    if (!fill_rows(inputs, &key, batch, 0, inputs->problem.kv_len, sample->key, failure) ||
        !fill_rows(inputs, &value, batch, 0, inputs->problem.kv_len, sample->value, failure))
        return false;
    progress_phase(progress, "comparing with float64", SAMPLE_ROWS);
    for (uint32_t at = 0; at < SAMPLE_ROWS; at++) {
        if (!sample_row(inputs, sample, batch, (inputs->info.rows.query_rows - 1) * at / (SAMPLE_ROWS - 1), at, failure))
            return false;
        progress_advance(progress, 1);
    }
    return true;
}

bool bench_inputs_compare(struct bench_inputs *inputs, struct progress *progress, struct bench_error *out_error, struct failure *failure)
{
    const enum vkring_type type = inputs->problem.type;
    const struct error_gate gate = inputs->problem.backward ? backward_gate(type) : forward_gate_of_kernel(type, inputs->info.kernel);
    struct sample sample = {0};
    *out_error = (struct bench_error){.within_gates = true};
    if (inputs->info.rows.query_rows == 0)
        return true;
    const bool done = (sample_allocate(inputs, &sample) || fail_memory(failure)) && sample_rows(inputs, &sample, progress, failure);
    if (done) {
        const struct error_measure error = error_measure(sample.result, sample.reference, SAMPLE_ROWS * result_elements(&inputs->problem));
        *out_error = (struct bench_error){error.rms, error.maximum, gate_passes(&gate, &error)};
    }
    sample_free(&sample);
    return done;
}
