/* SPDX-License-Identifier: MIT */
#include "input_shapes.h"

#include <inttypes.h>
#include <stdio.h>

#define DIM_MAX 256
/* The library's: positions and lengths stay far from the ends of int64, heads fit in 32 bits. */
#define LENGTH_MAX ((uint64_t)1 << 60)

unsigned input_types(enum file_kind kind)
{
    switch (file_spec(kind)->type) {
    case FILE_TYPE_I32:
        return NPY_TYPE(ELEMENT_I32);
    case FILE_TYPE_F32:
        return NPY_TYPE(ELEMENT_F32);
    case FILE_TYPE_QUERY:
    case FILE_TYPE_F32_OR_QUERY:
        break;
    }
    return NPY_TYPE(ELEMENT_F32) | NPY_TYPE(ELEMENT_F16);
}

bool input_check_dims(const struct input *input, enum file_kind kind, struct failure *failure)
{
    const struct file_spec *spec = file_spec(kind);
    char names[64] = "";
    size_t length = 0;
    if (input->header.dims == spec->dims)
        return true;
    for (uint32_t axis = 0; axis < spec->dims; axis++)
        length += (size_t)snprintf(names + length, sizeof(names) - length, "%s%s", axis ? ", " : "", dimension_name(spec->shape[axis]));
    return fail_usage(failure, "%s: has %" PRIu32 " dimensions, not %" PRIu32 ": [%s]", input->path, input->header.dims, spec->dims, names);
}

/* One tensor's own numbers; the other tensors' are compared with these. */
static bool check_limits(const struct input *input, struct failure *failure)
{
    const uint64_t *shape = input->header.shape;
    if (shape[0] > LENGTH_MAX || shape[1] > LENGTH_MAX)
        return fail_usage(failure, "%s: a length of its shape is above 2^60", input->path);
    if (shape[2] < 1 || shape[2] > UINT32_MAX)
        return fail_usage(failure, "%s: has %" PRIu64 " heads, not 1 to 2^32 - 1", input->path, shape[2]);
    if (shape[3] < 1 || shape[3] > DIM_MAX)
        return fail_usage(failure, "%s: its last dimension is %" PRIu64 ", not 1 to %d", input->path, shape[3], DIM_MAX);
    return true;
}

static bool check_type(const struct inputs *inputs, enum file_kind kind, struct failure *failure)
{
    const struct input *input = &inputs->files[kind], *query = &inputs->files[FILE_QUERY];
    const enum file_type_rule rule = file_spec(kind)->type;
    const enum element_type type = input->header.type, wanted = query->header.type;
    if (type == wanted || rule == FILE_TYPE_F32 || rule == FILE_TYPE_I32 || (rule == FILE_TYPE_F32_OR_QUERY && type == ELEMENT_F32))
        return true;
    return fail_usage(failure, "%s is of type %s, but %s of %s", input->path, element_npy_text(type), query->path,
                      element_npy_text(wanted));
}

static bool check_length(const struct inputs *inputs, enum file_kind kind, uint32_t axis, struct failure *failure)
{
    const struct file_spec *spec = file_spec(kind);
    const char *name = dimension_name(spec->shape[axis]);
    uint32_t source_axis;
    const struct input *input = &inputs->files[kind], *source = &inputs->files[dimension_source(spec->shape[axis], &source_axis)];
    const uint64_t length = input->header.shape[axis], wanted = source->header.shape[source_axis];
    const bool repeats = spec->repeats && axis + 1 < spec->dims;
    if (length == wanted || (repeats && length == 1))
        return true;
    return fail_usage(failure, "%s of %s is %" PRIu64 ", but of %s %" PRIu64 "%s", name, input->path, length, source->path, wanted,
                      repeats ? ", and not 1" : "");
}

static bool check_lengths(const struct inputs *inputs, enum file_kind kind, struct failure *failure)
{
    bool good = true;
    for (uint32_t axis = 0; good && axis < file_spec(kind)->dims; axis++)
        good = check_length(inputs, kind, axis, failure);
    return good;
}

static bool check_groups(const struct inputs *inputs, struct failure *failure)
{
    const struct input *query = &inputs->files[FILE_QUERY], *key = &inputs->files[FILE_KEY];
    if (query->header.shape[2] % key->header.shape[2] != 0)
        return fail_usage(failure, "the %" PRIu64 " heads of %s do not divide the %" PRIu64 " of %s", key->header.shape[2], key->path,
                          query->header.shape[2], query->path);
    return true;
}

/* Ids of queries that serve for keys too. */
static bool check_shared_segments(const struct inputs *inputs, struct failure *failure)
{
    const struct input *queries = &inputs->files[FILE_QUERY_SEGMENTS], *keys = &inputs->files[FILE_KEY_SEGMENTS];
    const uint64_t q_len = inputs->files[FILE_QUERY].header.shape[1], kv_len = inputs->files[FILE_KEY].header.shape[1];
    if (keys->path == NULL || keys->path != queries->path || q_len == kv_len)
        return true;
    return fail_usage(failure, "--segment-ids needs --key-segment-ids: there are %" PRIu64 " queries, but %" PRIu64 " keys", q_len, kv_len);
}

bool inputs_check_shapes(const struct inputs *inputs, struct failure *failure)
{
    bool good = check_limits(&inputs->files[FILE_QUERY], failure) && check_limits(&inputs->files[FILE_KEY], failure) &&
                check_limits(&inputs->files[FILE_VALUE], failure);
    for (enum file_kind kind = 0; good && kind < FILE_READ_KINDS; kind++)
        good = !inputs->files[kind].path || check_type(inputs, kind, failure);
    good = good && check_lengths(inputs, FILE_KEY, failure) && check_lengths(inputs, FILE_VALUE, failure) &&
           check_groups(inputs, failure) && check_shared_segments(inputs, failure);
    for (enum file_kind kind = FILE_VALUE + 1; good && kind < FILE_READ_KINDS; kind++)
        good = !inputs->files[kind].path || check_lengths(inputs, kind, failure);
    return good;
}
