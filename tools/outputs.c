/* SPDX-License-Identifier: MIT */
#include "outputs.h"

#include "cleanup.h"

void outputs_init(struct outputs *outputs)
{
    *outputs = (struct outputs){0};
    for (int kind = 0; kind < FILE_WRITTEN_KINDS; kind++)
        outputs->files[kind].fd = -1;
}

/* Places ---------------------------------------------------------------------------------------------------------------- */

/* Of the inputs' type, but for what is f32 whatever they are; a gradient is as its input. */
static struct npy_header header_of(enum file_kind kind, const struct inputs *inputs)
{
    const struct file_spec *spec = file_spec(kind);
    const enum file_kind source = file_gradient_of(kind);
    struct npy_header header = {.type = inputs->files[FILE_QUERY].header.type, .dims = spec->dims};
    if (source != FILE_KINDS)
        return inputs->files[source].header;
    if (spec->type == FILE_TYPE_F32)
        header.type = ELEMENT_F32;
    for (uint32_t axis = 0; axis < spec->dims; axis++) {
        uint32_t source_axis;
        const struct input *input = &inputs->files[dimension_source(spec->shape[axis], &source_axis)];
        header.shape[axis] = input->header.shape[source_axis];
    }
    return header;
}

bool outputs_plan(struct outputs *outputs, const struct attend_options *options, const struct inputs *inputs, struct failure *failure)
{
    bool good = output_files_apart(options->files, FILE_READ_KINDS, FILE_KINDS, failure);
    for (enum file_kind kind = FILE_READ_KINDS; good && kind < FILE_KINDS; kind++) {
        struct output_file *file = &outputs->files[kind - FILE_READ_KINDS];
        file->header = header_of(kind, inputs);
        good = output_file_place(file, options->files[kind], failure);
    }
    return good;
}

/* Temporary files ------------------------------------------------------------------------------------------------------- */

static bool is_tensor(int written_kind)
{
    return file_spec(FILE_READ_KINDS + (enum file_kind)written_kind)->dims > 0;
}

bool outputs_name(struct outputs *outputs, uint64_t token, struct failure *failure)
{
    for (int kind = 0; kind < FILE_WRITTEN_KINDS; kind++) {
        struct output_file *file = &outputs->files[kind];
        if (file->path && !output_file_name(file, token, kind, failure))
            return false;
    }
    return true;
}

bool outputs_create(struct outputs *outputs, struct failure *failure)
{
    for (int kind = 0; kind < FILE_WRITTEN_KINDS; kind++) {
        struct output_file *file = &outputs->files[kind];
        if (file->path && !output_file_create(file, is_tensor(kind), failure))
            return false;
    }
    return true;
}

bool outputs_join(struct outputs *outputs, struct failure *failure)
{
    for (int kind = 0; kind < FILE_WRITTEN_KINDS; kind++) {
        struct output_file *file = &outputs->files[kind];
        if (file->path && kind != FILE_REPORT - FILE_READ_KINDS && !output_file_join(file, is_tensor(kind), failure))
            return false;
    }
    return true;
}

/* The end ---------------------------------------------------------------------------------------------------------------- */

bool outputs_flush(const struct outputs *outputs, struct failure *failure)
{
    for (int kind = 0; kind < FILE_WRITTEN_KINDS; kind++) {
        if (!output_file_flush(&outputs->files[kind], failure))
            return false;
    }
    return true;
}

bool outputs_commit(const struct outputs *outputs, struct failure *failure)
{
    bool good = true;
    cleanup_hold_signals();
    for (int kind = 0; good && kind < FILE_WRITTEN_KINDS; kind++) {
        const struct output_file *file = &outputs->files[kind];
        good = !file->path || output_file_rename(file, failure);
    }
    cleanup_release_signals();
    if (good)
        output_file_flush_folder(outputs_file(outputs, FILE_OUTPUT));
    return good;
}

void outputs_free(struct outputs *outputs)
{
    for (int kind = 0; kind < FILE_WRITTEN_KINDS; kind++)
        output_file_release(&outputs->files[kind]);
}
