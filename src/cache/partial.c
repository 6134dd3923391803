/* SPDX-License-Identifier: MIT */
#include "partial.h"

#include "../attention/choose.h"
#include "../attention/forward_choice.h"
#include "../base/checked.h"

/* Size -------------------------------------------------------------------------------------------------------------------- */

/* Sinks are added once. A bias is read by positions, as rows of all keys are. */
static struct problem problem_of(const struct partial_size *size)
{
    struct problem problem = *size->problem;
    problem.batch = 1;
    problem.query_offset = 0;
    problem.sinks = problem.sinks && size->rank == 0;
    problem.bias.per_query = problem.bias.present;
    return problem;
}

static enum vkring_status choose(vkring_device *device, const struct partial_size *size, uint64_t rows, struct kernel_choice *out_choice)
{
    enum vkring_status status;
    struct problem problem = problem_of(size);
    struct kernel_choice choice;
    problem.q_len = rows;
    problem.kv_len = size->slots;
    problem.int8_keys = size->int8_keys;
    TRY(choose_kernels(device, &problem, size->kernels, &choice, NULL), fail);
    choice.matrix = choice.matrix && !size->int8_keys;
    *out_choice = forward_choice(device, &problem, &choice);
    return VKRING_OK;
fail:
    return status;
}

static uint64_t most_splits(const struct kernel_choice *choice, uint64_t slots)
{
    return choice->split.keys ? max_u64(slots / choice->split.keys, 1) : 1;
}

/* Of one span with as many rows as there may be; of fewer rows more splits make no more workgroups than these. */
static uint64_t state_bytes_of(const struct problem *problem, const struct kernel_choice *choice, uint64_t rows, uint64_t slots)
{
    const uint64_t packed = kernel_choice_packed_heads(choice);
    const uint64_t workgroups = problem->heads / packed * divide_up(rows, kernel_choice_rows_of(choice, SPIRV_FORWARD));
    uint64_t split = workgroups;
    if (most_splits(choice, slots) > 1)
        split = min_u64(workgroups * most_splits(choice, slots), max_u64(choice->split.workgroups, workgroups));
    return max_u64(workgroups, split) * attention_kernel_state_bytes(SPIRV_FORWARD, choice, problem);
}

/* One more kind: chosen for so many rows, for spans of up to so many. */
static enum vkring_status add_kind(vkring_device *device, const struct partial_size *size, uint64_t rows, uint64_t most_rows,
                                   struct partial_kernels kinds[PARTIAL_KINDS], uint32_t *count)
{
    kinds[*count] = (struct partial_kernels){.most_rows = most_rows};
    return choose(device, size, rows, &kinds[(*count)++].choice);
}

/* With their choices alone. */
static enum vkring_status list_kinds(vkring_device *device, const struct partial_size *size, struct partial_kernels kinds[PARTIAL_KINDS],
                                     uint32_t *out_count)
{
    enum vkring_status status;
    const uint64_t few = min_u64(size->most_rows, PARTIAL_FEW_ROWS);
    *out_count = 0;
    if (size->most_rows == 0)
        return VKRING_OK;
    TRY(add_kind(device, size, 1, few, kinds, out_count), fail);
    if (kinds[0].choice.uniform_loads && few > 1) {
        kinds[0].most_rows = 1;
        TRY(add_kind(device, size, few, few, kinds, out_count), fail);
    }
    if (size->most_rows > few)
        TRY(add_kind(device, size, size->most_rows, size->most_rows, kinds, out_count), fail);
    return VKRING_OK;
fail:
    return status;
}

static uint64_t most_state_bytes(const struct partial_size *size, const struct partial_kernels kinds[PARTIAL_KINDS], uint32_t count)
{
    const struct problem problem = problem_of(size);
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count; i++)
        bytes = max_u64(bytes, state_bytes_of(&problem, &kinds[i].choice, kinds[i].most_rows, size->slots));
    return bytes;
}

enum { PARTIAL_BUFFERS = 4 };

static void list_memory(const struct partial_size *size, uint64_t state_bytes, struct memory_wish wishes[PARTIAL_BUFFERS])
{
    const struct problem *problem = size->problem;
    const bool ids = problem->segment_ids;
    wishes[0] = (struct memory_wish){VK_MEMORY_DEVICE, state_bytes};
    wishes[1] = (struct memory_wish){VK_MEMORY_ARGUMENTS, (uint64_t)PARTIAL_DISPATCHES * ARGUMENT_BYTES};
    wishes[2] = (struct memory_wish){VK_MEMORY_DEVICE, ids ? size->call_rows * PARTIAL_TABLE_BYTES_PER_ROW : 0};
    wishes[3] = (struct memory_wish){VK_MEMORY_DEVICE, ids ? segment_table_bytes(problem->batch, max_u64(size->slots, 1)) : 0};
}

enum vkring_status partial_measure(vkring_device *device, const struct partial_size *size, struct vkring_cache_memory *memory)
{
    enum vkring_status status;
    struct memory_wish wishes[PARTIAL_BUFFERS];
    struct partial_kernels kinds[PARTIAL_KINDS];
    uint32_t count;
    TRY(list_kinds(device, size, kinds, &count), fail);
    list_memory(size, most_state_bytes(size, kinds, count), wishes);
    TRY(memory_wish_measure(device, wishes, PARTIAL_BUFFERS, memory), fail);
    return VKRING_OK;
fail:
    return status;
}

/* Kernels ----------------------------------------------------------------------------------------------------------------- */

static enum vkring_status kernels_create(const struct partial *partial, const struct partial_size *size, struct partial_kernels *kernels)
{
    enum vkring_status status;
    const bool splits = most_splits(&kernels->choice, size->slots) > 1;
    const struct kernel_use use = {.strided = size->ranks > 1, .splits = splits, .int8_keys = size->int8_keys};
    TRY(attention_kernel_create(partial->device, SPIRV_FORWARD, &partial->problem, &kernels->choice, use, &kernels->forward), fail);
    if (splits)
        TRY(attention_kernel_create(partial->device, SPIRV_MERGE, &partial->problem, &kernels->choice, use, &kernels->merge), fail);
    if (!splits)
        kernels->choice.split.keys = 0;
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status take(struct partial *partial, const struct partial_size *size)
{
    enum vkring_status status;
    struct memory_wish wishes[PARTIAL_BUFFERS];
    vkring_buffer **const buffers[PARTIAL_BUFFERS] = {&partial->state, &partial->arguments, &partial->query_tables, &partial->key_tables};
    TRY(list_kinds(partial->device, size, partial->kinds, &partial->kind_count), fail);
    list_memory(size, most_state_bytes(size, partial->kinds, partial->kind_count), wishes);
    TRY(memory_wish_take(partial->device, wishes, PARTIAL_BUFFERS, buffers), fail);
    if (size->problem->segment_ids)
        TRY(segment_kernels_create(partial->device, &partial->segments), fail);
    for (uint32_t i = 0; i < partial->kind_count; i++)
        TRY(kernels_create(partial, size, &partial->kinds[i]), fail);
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status partial_create(vkring_device *device, const struct partial_size *size, struct partial *out_partial)
{
    enum vkring_status status;
    *out_partial = (struct partial){
        .device = device,
        .problem = problem_of(size),
        .rank = size->rank,
        .ranks = size->ranks,
        .int8_keys = size->int8_keys,
        .slots = max_u64(size->slots, 1),
        .dispatch_seconds = size->dispatch_seconds,
        .most_rows = size->most_rows,
    };
    TRY(take(out_partial, size), fail);
    return VKRING_OK;
fail:
    partial_destroy(out_partial);
    return status;
}

void partial_destroy(struct partial *partial)
{
    if (!partial->device)
        return;
    for (uint32_t i = 0; i < partial->kind_count; i++) {
        attention_kernel_destroy(partial->device, &partial->kinds[i].forward);
        attention_kernel_destroy(partial->device, &partial->kinds[i].merge);
    }
    vkring_buffer_destroy(&partial->state);
    vkring_buffer_destroy(&partial->arguments);
    vkring_buffer_destroy(&partial->query_tables);
    vkring_buffer_destroy(&partial->key_tables);
    segment_kernels_destroy(partial->device, &partial->segments);
    *partial = (struct partial){0};
}
