/* SPDX-License-Identifier: MIT */
/* What a call records of each span, and when it submits. */
#include "partial.h"

#include "../base/checked.h"
#include "../vk/device_speed.h"

#define STATE_ALIGNMENT 64u

/* Kernels ----------------------------------------------------------------------------------------------------------------- */

static enum vkring_status prepare(struct partial *partial, enum alignment alignment, struct partial_kernels *kernels)
{
    enum vkring_status status;
    TRY(attention_kernel_prepare(partial->device, &partial->problem, alignment, &kernels->forward), fail);
    if (kernels->choice.split.keys)
        TRY(attention_kernel_prepare(partial->device, &partial->problem, alignment, &kernels->merge), fail);
    return VKRING_OK;
fail:
    return status;
}

/* Integers are read by words, however the rest lies. */
static enum alignment alignment_of(const struct partial *partial, const struct query_tensors *queries, const struct key_tensors *keys)
{
    static const struct key_tensors no_matter = {0};
    return tensors_alignment(&partial->problem, queries, partial->int8_keys ? &no_matter : keys);
}

enum vkring_status partial_prepare(struct partial *partial, const struct query_tensors *queries, const struct key_tensors *keys)
{
    enum vkring_status status;
    const enum alignment alignment = alignment_of(partial, queries, keys);
    for (uint32_t i = 0; i < partial->kind_count; i++)
        TRY(prepare(partial, alignment, &partial->kinds[i]), fail);
    return VKRING_OK;
fail:
    return status;
}

/* Recording --------------------------------------------------------------------------------------------------------------- */

void partial_start(struct partial *partial, struct device_work *work, const struct query_tensors *queries, const struct key_tensors *keys,
                   uint64_t spans)
{
    partial->work = work;
    partial->queries = queries;
    partial->keys = keys;
    partial->alignment = alignment_of(partial, queries, keys);
    partial->spans = max_u64(spans, 1);
    partial->arguments_used = partial->state_used = partial->merges_waiting = 0;
    partial->flop = 0;
}

static void record(struct partial *partial, const struct attention_kernel *kernel, const struct attention_dispatch *dispatch)
{
    attention_kernel_record(partial->device, &partial->work->commands, kernel, partial->alignment, dispatch, partial->arguments,
                            partial->arguments_used++);
}

/* After the forward passes that they wait for. */
static void record_merges(struct partial *partial)
{
    if (partial->merges_waiting == 0)
        return;
    vk_commands_barrier(partial->device, &partial->work->commands);
    for (uint64_t i = 0; i < partial->merges_waiting; i++)
        record(partial, partial->merges[i].kernel, &partial->merges[i].dispatch);
    partial->merges_waiting = 0;
}

/* Submits what there is, and begins anew. */
static enum vkring_status turn(struct partial *partial)
{
    enum vkring_status status;
    record_merges(partial);
    TRY(device_work_run(partial->work), fail);
    TRY(device_work_begin(partial->work), fail);
    partial->arguments_used = 0;
    partial->flop = 0;
    return VKRING_OK;
fail:
    return status;
}

static void await_merge(struct partial *partial, const struct attention_kernel *kernel, const struct attention_dispatch *dispatch)
{
    struct partial_merge *merge = &partial->merges[partial->merges_waiting++];
    merge->kernel = kernel;
    merge->queries = *dispatch->queries;
    merge->keys = *dispatch->keys;
    merge->dispatch = *dispatch;
    merge->dispatch.queries = &merge->queries;
    merge->dispatch.keys = &merge->keys;
}

/* Room for a dispatch and all merges that wait, with its own. */
static enum vkring_status make_room(struct partial *partial, double flop)
{
    enum vkring_status status;
    const bool is_full = partial->arguments_used + partial->merges_waiting + 2 > PARTIAL_DISPATCHES;
    const double budget = partial->dispatch_seconds * vk_device_flops(partial->device);
    if (is_full || (partial->flop > 0 && partial->flop + flop > budget))
        TRY(turn(partial), fail);
    else if (partial->merges_waiting == PARTIAL_MERGES)
        record_merges(partial);
    partial->flop += flop;
    return VKRING_OK;
fail:
    return status;
}

/* A span on its way: what of it is recorded when. */
struct walk {
    const struct partial_kernels *kernels;
    struct tiling tiling;
    struct query_tensors queries;
    struct key_tensors keys;
    uint64_t sequence;
    uint64_t state_offset;
};

static struct tensor_view view_from(const struct tensor_view *view, uint64_t row)
{
    struct tensor_view moved = *view;
    moved.batch_stride = 0; /* spans are of one batch entry, whichever */
    if (view->address)
        moved.address += row * view->row_stride;
    return moved;
}

static struct tensor_view table_of_span(const struct partial *partial, const struct partial_span *span)
{
    struct tensor_view table = segment_table_view(partial->query_tables, span->rows);
    table.address += span->row * PARTIAL_TABLE_BYTES_PER_ROW;
    table.batch_stride = 0;
    return table;
}

static struct query_tensors queries_of(const struct partial *partial, const struct partial_span *span)
{
    struct query_tensors queries = *partial->queries;
    struct tensor_view *const views[] = {&queries.query,        &queries.output,          &queries.lse,
                                         &queries.lse_residual, &queries.output_residual, &queries.ids};
    for (size_t i = 0; i < sizeof(views) / sizeof(views[0]); i++)
        *views[i] = view_from(views[i], span->row);
    queries.bias.address += span->row * queries.bias.row_stride;
    if (partial->problem.segment_ids)
        queries.segments = table_of_span(partial, span);
    queries.query_row = span->position;
    queries.query_stride = 1;
    queries.rows = span->rows;
    return queries;
}

/* Segments ---------------------------------------------------------------------------------------------------------------- */

static struct segment_side keys_side(const struct partial *partial, uint64_t sequence, uint64_t keys)
{
    struct segment_side side = {partial->keys->ids, segment_table_view(partial->key_tables, partial->slots), keys};
    side.ids.address += sequence * side.ids.batch_stride;
    side.table.address += sequence * side.table.batch_stride;
    return side;
}

static struct segment_side queries_side(const struct partial *partial, const struct partial_span *span)
{
    const struct query_tensors queries = queries_of(partial, span);
    return (struct segment_side){queries.ids, queries.segments, span->rows};
}

void partial_range_keys(struct partial *partial, uint64_t sequence, uint64_t keys)
{
    const struct segment_side side = keys_side(partial, sequence, keys);
    segment_ranges_record(partial->device, &partial->work->commands, &partial->segments, 1, &side);
}

enum vkring_status partial_range_queries(struct partial *partial, const struct partial_span *span)
{
    const struct segment_side side = queries_side(partial, span);
    segment_ranges_record(partial->device, &partial->work->commands, &partial->segments, 1, &side);
    return VKRING_OK;
}

enum vkring_status partial_bound_queries(struct partial *partial, const struct partial_span *span)
{
    const struct segment_side queries = queries_side(partial, span), keys = keys_side(partial, span->sequence, span->keys);
    segment_bounds_record(partial->device, &partial->work->commands, &partial->segments, 1, &queries, &keys);
    return VKRING_OK;
}

/* Spans ------------------------------------------------------------------------------------------------------------------- */

/* Spans that come together share the workgroups that keep a device busy. */
static struct kernel_choice shared_choice(const struct partial *partial, const struct partial_kernels *kernels)
{
    struct kernel_choice choice = kernels->choice;
    choice.split.below = divide_up(choice.split.below, partial->spans);
    choice.split.workgroups = max_u64(choice.split.workgroups / partial->spans, 1);
    return choice;
}

/* The first that takes so many rows. */
static const struct partial_kernels *kernels_for(const struct partial *partial, uint64_t rows)
{
    uint32_t kind = 0;
    while (partial->kinds[kind].most_rows < rows)
        kind++;
    return &partial->kinds[kind];
}

static struct walk walk_of(const struct partial *partial, const struct partial_span *span)
{
    const struct partial_kernels *kernels = kernels_for(partial, span->rows);
    const struct kernel_choice choice = shared_choice(partial, kernels);
    struct walk walk = {.kernels = kernels, .queries = queries_of(partial, span), .keys = *partial->keys, .sequence = span->sequence};
    const struct own_side own = {1, partial->problem.heads / kernel_choice_packed_heads(&choice), span->rows, partial->ranks};
    walk.keys.key_row = partial->rank;
    walk.keys.key_stride = partial->ranks;
    walk.keys.keys = span->keys;
    if (partial->problem.segment_ids)
        walk.keys.segments = segment_table_view(partial->key_tables, partial->slots);
    attention_kernel_tile(partial->device, SPIRV_FORWARD, &partial->problem, &choice, &own, span->keys, partial->dispatch_seconds,
                          &walk.tiling);
    return walk;
}

static struct tiling_box box_at(const struct walk *walk, uint64_t index)
{
    const uint64_t packed = kernel_choice_packed_heads(&walk->kernels->choice);
    struct tiling_box box = tiling_box_at(&walk->tiling, index);
    box.first_head *= packed;
    box.heads *= packed;
    box.first_batch = walk->sequence;
    return box;
}

/* The keys that the box keeps some of, in dispatches of at most tiling.keys: at least one. */
static uint64_t passes_of_box(const struct partial *partial, const struct walk *walk, const struct tiling_box *box,
                              struct mask_range *out_kept)
{
    const struct mask_block block = {
        .query_row = walk->queries.query_row + box->first_row,
        .rows = box->rows,
        .key_row = walk->keys.key_row,
        .keys = walk->keys.keys,
        .query_stride = 1,
        .key_stride = walk->keys.key_stride,
    };
    *out_kept = walk->keys.keys > 0 ? mask_kept_keys(&partial->problem, &block) : (struct mask_range){0};
    return max_u64(divide_up(out_kept->end - out_kept->first, walk->tiling.keys), 1);
}

static enum vkring_status record_box(struct partial *partial, const struct walk *walk, uint64_t index, uint64_t pass, uint64_t *passes)
{
    enum vkring_status status;
    struct mask_range kept;
    const struct tiling_box box = box_at(walk, index);
    const uint64_t of_box = passes_of_box(partial, walk, &box, &kept), first = kept.first + pass * walk->tiling.keys;
    const struct attention_kernel *forward = &walk->kernels->forward;
    struct attention_dispatch dispatch = {
        .problem = &partial->problem,
        .queries = &walk->queries,
        .keys = &walk->keys,
        .side = OWN_QUERIES,
        .box = box,
        .other_first = first,
        .others = pass < of_box ? min_u64(walk->tiling.keys, kept.end - first) : 0,
        .first = pass == 0,
        .last = pass + 1 == of_box,
        .split_keys = walk->kernels->choice.split.keys,
        .state_address = partial->state->address + walk->state_offset,
        .state_bytes_per_workgroup = forward->state_bytes_per_workgroup,
    };
    *passes = max_u64(*passes, of_box);
    if (pass >= of_box)
        return VKRING_OK;
    TRY(make_room(partial, attention_kernel_flop(forward, &dispatch)), fail);
    const bool merges = dispatch.last && box.splits > 1;
    if (merges)
        await_merge(partial, &walk->kernels->merge, &dispatch);
    dispatch.last = dispatch.last && !merges;
    record(partial, forward, &dispatch);
    return VKRING_OK;
fail:
    return status;
}

/* State that the span has to itself until it is done. */
static void take_state(struct partial *partial, struct walk *walk)
{
    const uint64_t bytes = tiling_workgroups(&walk->tiling) * walk->kernels->forward.state_bytes_per_workgroup;
    uint64_t offset = divide_up(partial->state_used, STATE_ALIGNMENT) * STATE_ALIGNMENT;
    if (offset + bytes > partial->state->size_bytes) {
        record_merges(partial);
        vk_commands_barrier(partial->device, &partial->work->commands);
        offset = 0;
    }
    walk->state_offset = offset;
    partial->state_used = offset + bytes;
}

enum vkring_status partial_add(struct partial *partial, const struct partial_span *span)
{
    enum vkring_status status;
    struct walk walk = walk_of(partial, span);
    uint64_t passes = 1;
    take_state(partial, &walk);
    for (uint64_t pass = 0; pass < passes; pass++) {
        if (pass > 0)
            vk_commands_barrier(partial->device, &partial->work->commands); /* boxes go on with their state */
        for (uint64_t index = 0; index < walk.tiling.boxes; index++)
            TRY(record_box(partial, &walk, index, pass, &passes), fail);
    }
    return VKRING_OK;
fail:
    return status;
}

void partial_finish(struct partial *partial)
{
    record_merges(partial);
}
