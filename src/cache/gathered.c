/* SPDX-License-Identifier: MIT */
#include "gathered.h"

#include <inttypes.h>
#include <stdlib.h>

#include "../base/checked.h"
#include "../base/half.h"
#include "memory_wish.h"
#include "merge.h"

#define PART_ALIGNMENT 64u

/* Memory ------------------------------------------------------------------------------------------------------------------ */

/* All of pieces, which are small: nothing here comes near 2^64. */
static uint64_t aligned(uint64_t bytes)
{
    return divide_up(bytes, PART_ALIGNMENT) * PART_ALIGNMENT;
}

static uint64_t query_bytes(const struct problem *problem, uint64_t rows)
{
    return rows * problem->heads * problem->head_dim * vkring_type_bytes(problem->type);
}

static uint64_t bias_heads(const struct problem *problem)
{
    return problem->bias.per_head ? problem->heads : 1;
}

static bool has_bias_rows(const struct problem *problem)
{
    return problem->bias.present && problem->bias.per_query;
}

struct row_parts gathered_query_parts(const struct problem *problem, uint64_t columns)
{
    const uint64_t bias_bytes = bias_heads(problem) * columns * vkring_type_bytes(problem->bias.type);
    return (struct row_parts){{
        [QUERY_PART_ROW] = query_bytes(problem, 1),
        [QUERY_PART_ID] = problem->segment_ids ? sizeof(int32_t) : 0,
        [QUERY_PART_BIAS] = has_bias_rows(problem) ? bias_bytes : 0,
    }};
}

static uint64_t output_bytes(const struct problem *problem, uint64_t rows)
{
    return rows * problem->heads * problem->value_dim * vkring_type_bytes(problem->type);
}

static uint64_t lse_bytes(const struct problem *problem, uint64_t rows)
{
    return rows * problem->heads * sizeof(float);
}

static uint64_t own_lse_offset(const struct gathered_size *size)
{
    const struct row_parts parts = gathered_query_parts(size->problem, size->columns);
    return aligned(max_u64(row_parts_end(&parts, size->own_rows), output_bytes(size->problem, size->own_rows)));
}

/* Where the parts of the results of a piece begin. */
struct result_parts {
    uint64_t output, output_residual, lse, lse_residual, end;
};

static struct result_parts parts_of(const struct problem *problem, uint64_t rows)
{
    const uint64_t output = aligned(output_bytes(problem, rows)), lse = aligned(lse_bytes(problem, rows));
    const uint64_t residual = problem->type == VKRING_TYPE_F32 ? 0 : output;
    return (struct result_parts){0, output, output + residual, output + residual + lse, output + residual + 2 * lse};
}

static uint64_t record_bytes(const struct gathered_size *size)
{
    return size->rows * size->problem->heads * merge_record_floats(size->problem->value_dim) * sizeof(float);
}

enum { GATHERED_BUFFERS = 5 };

/* How many: those of the device only where it has memory of its own. */
static int list_memory(const vkring_device *device, const struct gathered_size *size, struct memory_wish wishes[GATHERED_BUFFERS])
{
    const struct problem *problem = size->problem;
    const struct row_parts parts = gathered_query_parts(problem, size->columns);
    const uint64_t queries = row_parts_end(&parts, size->rows), results = parts_of(problem, size->rows).end;
    wishes[0] = (struct memory_wish){VK_MEMORY_HOST, own_lse_offset(size) + lse_bytes(problem, size->own_rows)};
    wishes[1] = (struct memory_wish){VK_MEMORY_HOST, queries};
    wishes[2] = (struct memory_wish){VK_MEMORY_HOST, results};
    wishes[3] = (struct memory_wish){VK_MEMORY_DEVICE, queries};
    wishes[4] = (struct memory_wish){VK_MEMORY_DEVICE, results};
    return device->limits.unified_memory ? 3 : GATHERED_BUFFERS;
}

enum vkring_status gathered_measure(vkring_device *device, const struct gathered_size *size, struct vkring_cache_memory *memory)
{
    enum vkring_status status;
    struct memory_wish wishes[GATHERED_BUFFERS];
    if (size->own_rows == 0)
        return VKRING_OK;
    TRY(memory_wish_measure(device, wishes, list_memory(device, size, wishes), memory), fail);
    memory->host_bytes += record_bytes(size) + 2 * size->ranks * sizeof(uint64_t);
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status take(vkring_device *device, const struct gathered_size *size, struct gathered *gathered)
{
    enum vkring_status status;
    struct memory_wish wishes[GATHERED_BUFFERS];
    vkring_buffer **const buffers[GATHERED_BUFFERS] = {&gathered->own, &gathered->queries.of_host, &gathered->results.of_host,
                                                       &gathered->queries.of_device, &gathered->results.of_device};
    TRY(memory_wish_take(device, wishes, list_memory(device, size, wishes), buffers), fail);
    gathered->records = malloc((size_t)record_bytes(size) + 1);
    gathered->counts = calloc(size->ranks, sizeof(*gathered->counts));
    gathered->starts = calloc(size->ranks, sizeof(*gathered->starts));
    if (!gathered->records || !gathered->counts || !gathered->starts)
        return status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory for partial results of %" PRIu64 " rows", size->rows);
    TRY(pack_kernel_create(device, vkring_type_bytes(size->problem->type), &gathered->pack), fail);
    TRY(pack_kernel_create(device, sizeof(float), &gathered->pack_words), fail);
    if (has_bias_rows(size->problem))
        TRY(pack_kernel_create(device, vkring_type_bytes(size->problem->bias.type), &gathered->pack_bias), fail);
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status gathered_create(vkring_device *device, const struct gathered_size *size, struct gathered *out_gathered)
{
    enum vkring_status status;
    *out_gathered = (struct gathered){0};
    if (size->own_rows == 0)
        return VKRING_OK;
    out_gathered->problem = *size->problem;
    out_gathered->lse_offset_bytes = own_lse_offset(size);
    TRY(take(device, size, out_gathered), fail);
    return VKRING_OK;
fail:
    gathered_destroy(out_gathered, device);
    return status;
}

void gathered_destroy(struct gathered *gathered, vkring_device *device)
{
    rows_kernel_destroy(device, &gathered->pack);
    rows_kernel_destroy(device, &gathered->pack_words);
    rows_kernel_destroy(device, &gathered->pack_bias);
    vkring_buffer_destroy(&gathered->own);
    vkring_buffer_destroy(&gathered->queries.of_host);
    vkring_buffer_destroy(&gathered->queries.of_device);
    vkring_buffer_destroy(&gathered->results.of_host);
    vkring_buffer_destroy(&gathered->results.of_device);
    free(gathered->records);
    free(gathered->counts);
    free(gathered->starts);
    *gathered = (struct gathered){0};
}

/* Own rows ---------------------------------------------------------------------------------------------------------------- */

static struct tensor_view packed_view(vkring_buffer *buffer, uint64_t offset_bytes, uint64_t row_bytes, uint64_t head_bytes)
{
    return (struct tensor_view){
        .buffer = buffer,
        .offset_bytes = offset_bytes,
        .address = buffer->address + offset_bytes,
        .row_stride = row_bytes,
        .head_stride = head_bytes,
        .packed = true,
    };
}

static struct tensor_shape rows_shape(const struct problem *problem, uint64_t rows, uint64_t dim)
{
    return (struct tensor_shape){"rows", vkring_type_bytes(problem->type), 1, rows, problem->heads, dim};
}

/* In a block of so many rows. */
static struct tensor_view bias_view(const struct gathered *gathered, vkring_buffer *buffer, uint64_t rows)
{
    const struct problem *problem = &gathered->problem;
    const struct row_parts parts = gathered_query_parts(problem, gathered->columns);
    const uint64_t head_bytes = problem->bias.per_head ? gathered->columns * vkring_type_bytes(problem->bias.type) : 0;
    return packed_view(buffer, row_parts_offset(&parts, QUERY_PART_BIAS, rows), parts.bytes[QUERY_PART_BIAS], head_bytes);
}

void gathered_record_queries(const struct gathered *gathered, struct device_work *work, const struct query_tensors *queries, uint64_t rows,
                             uint64_t block_rows)
{
    const struct problem *problem = &gathered->problem;
    const struct tensor_shape shape = rows_shape(problem, rows, problem->head_dim);
    const struct tensor_view to = packed_view(gathered->own, 0, query_bytes(problem, 1), query_bytes(problem, 1) / problem->heads);
    const struct row_parts parts = gathered_query_parts(problem, gathered->columns);
    const struct tensor_shape ids = {"segment_ids", sizeof(int32_t), 1, 1, 1, rows};
    const struct tensor_view ids_to = packed_view(gathered->own, row_parts_offset(&parts, QUERY_PART_ID, block_rows), sizeof(int32_t), 0);
    pack_record(work->device, &work->commands, &gathered->pack, &shape, &queries->query, &to);
    if (problem->segment_ids)
        pack_record(work->device, &work->commands, &gathered->pack_words, &ids, &queries->ids, &ids_to);
    if (has_bias_rows(problem)) {
        const struct tensor_shape bias = {"bias", vkring_type_bytes(problem->bias.type), 1, rows, bias_heads(problem), gathered->columns};
        const struct tensor_view bias_to = bias_view(gathered, gathered->own, block_rows);
        pack_record(work->device, &work->commands, &gathered->pack_bias, &bias, &queries->bias, &bias_to);
    }
}

void gathered_record_outputs(const struct gathered *gathered, struct device_work *work, const struct tensor_view *output,
                             const struct tensor_view *lse, uint64_t rows)
{
    const struct problem *problem = &gathered->problem;
    const struct tensor_shape shape = rows_shape(problem, rows, problem->value_dim);
    const struct tensor_shape lse_shape = {"lse", sizeof(float), 1, 1, problem->heads, rows};
    const struct tensor_view from = packed_view(gathered->own, 0, output_bytes(problem, 1), output_bytes(problem, 1) / problem->heads);
    const struct tensor_view lse_from =
        packed_view(gathered->own, gathered->lse_offset_bytes, lse_bytes(problem, rows), rows * sizeof(float));
    pack_record(work->device, &work->commands, &gathered->pack, &shape, &from, output);
    if (lse->address)
        pack_record(work->device, &work->commands, &gathered->pack_words, &lse_shape, &lse_from, lse);
}

/* The device's side ------------------------------------------------------------------------------------------------------- */

static vkring_buffer *for_kernels(const struct gathered_buffer *buffer)
{
    return buffer->of_device ? buffer->of_device : buffer->of_host;
}

struct query_tensors gathered_tensors(struct gathered *gathered, uint64_t rows)
{
    const struct problem *problem = &gathered->problem;
    const struct result_parts parts = parts_of(problem, rows);
    vkring_buffer *results = for_kernels(&gathered->results);
    const uint64_t output_row = output_bytes(problem, 1), output_head = output_row / problem->heads;
    const struct row_parts query_parts = gathered_query_parts(problem, gathered->columns);
    gathered->queries.used_bytes = row_parts_end(&query_parts, rows);
    gathered->results.used_bytes = parts.end;
    struct query_tensors tensors = {
        .query = packed_view(for_kernels(&gathered->queries), 0, query_bytes(problem, 1), query_bytes(problem, 1) / problem->heads),
        .output = packed_view(results, parts.output, output_row, output_head),
        .lse = packed_view(results, parts.lse, sizeof(float), rows * sizeof(float)),
        .lse_residual = packed_view(results, parts.lse_residual, sizeof(float), rows * sizeof(float)),
        .rows = rows,
    };
    if (problem->segment_ids)
        tensors.ids = packed_view(for_kernels(&gathered->queries), row_parts_offset(&query_parts, QUERY_PART_ID, rows), sizeof(int32_t), 0);
    if (has_bias_rows(problem))
        tensors.bias = bias_view(gathered, for_kernels(&gathered->queries), rows);
    if (problem->type != VKRING_TYPE_F32)
        tensors.output_residual = packed_view(results, parts.output_residual, output_row, output_head);
    return tensors;
}

enum vkring_status gathered_record_upload(struct gathered *gathered, struct device_work *work)
{
    enum vkring_status status;
    const struct gathered_buffer *queries = &gathered->queries;
    TRY(vk_buffer_flush(queries->of_host, 0, queries->used_bytes), fail);
    if (!queries->of_device)
        return VKRING_OK;
    vk_commands_copy(work->device, &work->commands, queries->of_host, 0, queries->of_device, 0, queries->used_bytes);
    vk_commands_barrier(work->device, &work->commands);
    return VKRING_OK;
fail:
    return status;
}

void gathered_record_download(struct gathered *gathered, struct device_work *work)
{
    const struct gathered_buffer *results = &gathered->results;
    if (!results->of_device)
        return;
    vk_commands_barrier(work->device, &work->commands);
    vk_commands_copy(work->device, &work->commands, results->of_device, 0, results->of_host, 0, results->used_bytes);
}

/* The host's side --------------------------------------------------------------------------------------------------------- */

static float decode(enum vkring_type type, const void *elements, uint64_t i)
{
    switch (type) {
    case VKRING_TYPE_F16:
        return f32_from_f16(((const uint16_t *)elements)[i]);
    case VKRING_TYPE_BF16:
        return f32_from_bf16(((const uint16_t *)elements)[i]);
    case VKRING_TYPE_F32:
        break;
    }
    return ((const float *)elements)[i];
}

enum vkring_status gathered_see_results(struct gathered *gathered)
{
    return vk_buffer_invalidate(gathered->results.of_host, 0, gathered->results.used_bytes);
}

void gathered_make_records(struct gathered *gathered, uint64_t rows, const struct gathered_move *move)
{
    const struct problem *problem = &gathered->problem;
    const struct result_parts parts = parts_of(problem, rows);
    const unsigned char *results = gathered->results.of_host->mapped;
    const unsigned char *outputs = results + parts.output, *residuals = results + parts.output_residual;
    const float *lse = (const float *)(const void *)(results + parts.lse);
    const float *lse_residual = (const float *)(const void *)(results + parts.lse_residual);
    const uint64_t dim = problem->value_dim, floats = merge_record_floats(dim), end = move->from + move->rows;
    float *record = gathered->records + move->to * problem->heads * floats;
    for (uint64_t i = move->from * problem->heads; i < end * problem->heads; i++, record += floats) {
        const uint64_t sum = i % problem->heads * rows + i / problem->heads;
        for (uint64_t d = 0; d < dim; d++) {
            record[d] = decode(problem->type, outputs, i * dim + d);
            if (problem->type != VKRING_TYPE_F32)
                record[d] += decode(problem->type, residuals, i * dim + d);
        }
        merge_encode_sum(lse[sum], lse_residual[sum], record + dim);
    }
}

enum vkring_status gathered_round(struct gathered *gathered, uint64_t first, uint64_t rows)
{
    enum vkring_status status;
    const struct problem *problem = &gathered->problem;
    const uint64_t dim = problem->value_dim, floats = merge_record_floats(dim), head_bytes = output_bytes(problem, 1) / problem->heads;
    unsigned char *outputs = gathered->own->mapped;
    float *lse = (float *)(void *)(outputs + gathered->lse_offset_bytes);
    const float *record = gathered->records + first * problem->heads * floats;
    for (uint64_t i = 0; i < rows * problem->heads; i++, record += floats) {
        TRY(vkring_convert_from_f32(problem->type, record, dim, outputs + i * head_bytes), fail);
        lse[i % problem->heads * rows + i / problem->heads] = merge_lse(record + dim);
    }
    return vk_buffer_flush(gathered->own, 0, gathered->own->size_bytes);
fail:
    return status;
}
