/* SPDX-License-Identifier: MIT */
/* The tensors of vkring attend on this rank: which part of each it holds, and how that comes from files and gets into them. */
#include <stdlib.h>

#include "attend.h"
#include "now.h"

/* Cutting ------------------------------------------------------------------------------------------------------------------ */

static uint64_t product(const uint64_t *lengths, uint32_t first, uint32_t end)
{
    uint64_t product = 1;
    for (uint32_t i = first; i < end; i++)
        product *= lengths[i];
    return product;
}

/* Where a tensor has queries they are cut, else its keys; a dimension of length 1 that repeats is no dimension of queries. */
static uint32_t cut_axis(const struct file_spec *spec, const struct npy_header *header)
{
    uint32_t of_keys = spec->dims;
    for (uint32_t axis = 0; axis < spec->dims; axis++) {
        if (spec->shape[axis] == DIM_Q_LEN && !(spec->repeats && header->shape[axis] == 1))
            return axis;
        if (spec->shape[axis] == DIM_KV_LEN)
            of_keys = axis;
    }
    return of_keys;
}

/* In tensors without elements products may be too large for a number; then they are not used. */
static struct strip cut(const struct attend *attend, enum file_kind kind, const struct npy_header *header)
{
    const struct file_spec *spec = file_spec(kind);
    const struct vkring_span all[VKRING_SPANS] = {{0, 1, 1}};
    const uint32_t axis = cut_axis(spec, header);
    const uint64_t *shape = header->shape;
    if (axis == spec->dims)
        return strip_of_rows(1, 1, all, product(shape, 0, spec->dims));
    const struct vkring_span *spans = spec->shape[axis] == DIM_Q_LEN ? attend->rows.query_spans : attend->rows.key_spans;
    return strip_of_rows(product(shape, 0, axis), shape[axis], spans, product(shape, axis + 1, spec->dims));
}

static enum element_type device_type_of(const struct attend *attend, enum file_kind kind)
{
    switch (file_spec(kind)->type) {
    case FILE_TYPE_F32_OR_QUERY:
        return (enum element_type)attend->problem.bias.type;
    case FILE_TYPE_F32:
        return ELEMENT_F32;
    case FILE_TYPE_I32:
        return ELEMENT_I32;
    case FILE_TYPE_QUERY:
        break;
    }
    return attend->problem.type;
}

static struct tensor_io io_of(const struct attend *attend, enum file_kind kind, struct strip_file file, const struct npy_header *header)
{
    file.data_offset = header->data_offset;
    file.element_bytes = element_bytes(header->type);
    return (struct tensor_io){
        .strip = cut(attend, kind, header),
        .file = file,
        .file_type = header->type,
        .device_type = device_type_of(attend, kind),
        .to_output = kind == FILE_VALUE,
        .may_mask = kind == FILE_BIAS,
        .header = header,
    };
}

/* Gradients are made from the lse too. */
static bool is_wanted(const struct attend *attend, enum file_kind kind)
{
    return outputs_file(&attend->outputs, kind)->path || (kind == FILE_LSE && attend_options_backward(&attend->options));
}

static void set_tensors(struct attend *attend)
{
    for (enum file_kind kind = 0; kind < FILE_READ_KINDS; kind++) {
        const struct input *input = &attend->inputs.files[kind];
        if (input->path)
            attend->tensors[kind] = io_of(attend, kind, (struct strip_file){.fd = input->fd, .path = input->path}, &input->header);
    }
    for (enum file_kind kind = FILE_READ_KINDS; kind < FILE_KINDS; kind++) {
        const struct output_file *file = outputs_file(&attend->outputs, kind);
        if (kind != FILE_REPORT && is_wanted(attend, kind))
            attend->tensors[kind] = io_of(attend, kind, (struct strip_file){.fd = file->fd, .path = file->name}, &file->header);
    }
}

bool attend_cut_again(struct attend *attend, struct failure *failure)
{
    const struct vkring_plan_params params = attend_plan_params(attend);
    if (vkring_rows_of_rank(&params, attend->ranks->size, attend->ranks->rank, &attend->rows) != VKRING_OK)
        return fail_library(failure, attend->ranks->rank);
    set_tensors(attend);
    return true;
}

/* The layout makes an equal cut by itself, and so it does of keys. */
static bool cut_queries(struct attend *attend, struct failure *failure)
{
    const uint32_t ranks = attend->ranks->size;
    attend->query_rows = calloc(ranks, sizeof(uint64_t));
    if (!attend->query_rows)
        return fail_memory(failure);
    if (vkring_cut_rows(attend->problem.lengths[DIM_Q_LEN], ranks, attend->options.shares, attend->query_rows) != VKRING_OK)
        return fail_library(failure, attend->ranks->rank);
    return true;
}

bool attend_cut(struct attend *attend, struct failure *failure)
{
    if (attend->options.shares && !cut_queries(attend, failure))
        return false;
    return attend_cut_again(attend, failure);
}

/* Reading and writing ------------------------------------------------------------------------------------------------------ */

static uint64_t count_elements(const struct attend *attend, enum file_kind first, enum file_kind end)
{
    uint64_t total = 0;
    for (enum file_kind kind = first; kind < end; kind++)
        total += strip_elements(&attend->tensors[kind].strip);
    return total;
}

bool attend_check(struct attend *attend, struct failure *failure)
{
    double start = now_seconds();
    bool good = tensor_piece_create(&attend->piece, failure);
    progress_phase(&attend->progress, "checking", count_elements(attend, 0, FILE_READ_KINDS));
    for (enum file_kind kind = 0; good && kind < FILE_READ_KINDS; kind++)
        good = tensor_check(&attend->tensors[kind], &attend->piece, &attend->progress, failure);
    attend->report.check_seconds = now_seconds() - start;
    return good;
}

bool attend_load(struct attend *attend, struct failure *failure)
{
    double start = now_seconds();
    bool good = true;
    progress_phase(&attend->progress, "reading", count_elements(attend, 0, FILE_READ_KINDS));
    for (enum file_kind kind = 0; good && kind < FILE_READ_KINDS; kind++)
        good = tensor_load(&attend->tensors[kind], &attend->piece, attend->buffers[kind], attend->ranks->rank, &attend->progress, failure);
    attend->report.load_seconds = now_seconds() - start;
    return good;
}

bool attend_store(struct attend *attend, struct failure *failure)
{
    double start = now_seconds();
    bool good = true;
    progress_phase(&attend->progress, "writing", count_elements(attend, FILE_READ_KINDS, FILE_KINDS));
    for (enum file_kind kind = FILE_READ_KINDS; good && kind < FILE_KINDS; kind++) {
        if (outputs_file(&attend->outputs, kind)->path)
            good = tensor_store(&attend->tensors[kind], &attend->piece, attend->buffers[kind], attend->ranks->rank, &attend->progress,
                                failure);
    }
    good = good && outputs_flush(&attend->outputs, failure);
    attend->report.store_seconds = now_seconds() - start;
    return good;
}
