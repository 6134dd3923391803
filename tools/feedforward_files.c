/* SPDX-License-Identifier: MIT */
#include "feedforward_files.h"

#include <inttypes.h>
#include <unistd.h>

#include "cleanup.h"

/* Dimensions, and which input tells how long they are. */
enum length { ROWS, MODEL_DIM, HIDDEN_DIM, OUTPUT_DIM };

static const struct {
    const char *name;
    enum feedforward_file source;
    uint32_t axis;
} lengths[] = {
    [ROWS] = {"rows", FEEDFORWARD_X, 0},
    [MODEL_DIM] = {"model_dim", FEEDFORWARD_X, 1},
    [HIDDEN_DIM] = {"hidden_dim", FEEDFORWARD_W1, 1},
    [OUTPUT_DIM] = {"output_dim", FEEDFORWARD_W2, 1},
};

struct shape {
    uint32_t dims;
    enum length lengths[2];
};

static struct shape shape_of(enum feedforward_file file)
{
    switch (file) {
    case FEEDFORWARD_X:
    case FEEDFORWARD_X_GRAD:
        return (struct shape){2, {ROWS, MODEL_DIM}};
    case FEEDFORWARD_W1:
    case FEEDFORWARD_WG:
    case FEEDFORWARD_W1_GRAD:
    case FEEDFORWARD_WG_GRAD:
        return (struct shape){2, {MODEL_DIM, HIDDEN_DIM}};
    case FEEDFORWARD_W2:
    case FEEDFORWARD_W2_GRAD:
        return (struct shape){2, {HIDDEN_DIM, OUTPUT_DIM}};
    case FEEDFORWARD_B1:
    case FEEDFORWARD_BG:
    case FEEDFORWARD_B1_GRAD:
    case FEEDFORWARD_BG_GRAD:
        return (struct shape){1, {HIDDEN_DIM}};
    case FEEDFORWARD_B2:
    case FEEDFORWARD_B2_GRAD:
        return (struct shape){1, {OUTPUT_DIM}};
    case FEEDFORWARD_OUTPUT:
    case FEEDFORWARD_OUTPUT_GRAD:
        return (struct shape){2, {ROWS, OUTPUT_DIM}};
    case FEEDFORWARD_REPORT:
    case FEEDFORWARD_FILES:
        break;
    }
    return (struct shape){0};
}

static uint64_t length_of(const struct feedforward_files *files, enum length length)
{
    return files->inputs[lengths[length].source].header.shape[lengths[length].axis];
}

void feedforward_files_init(struct feedforward_files *files)
{
    *files = (struct feedforward_files){0};
    for (int file = 0; file < FEEDFORWARD_READ; file++)
        files->inputs[file].fd = -1;
    for (int file = 0; file < FEEDFORWARD_FILES; file++)
        files->outputs[file].fd = -1;
}

/* Opening ------------------------------------------------------------------------------------------------------------------ */

static bool check_dims(const struct input *input, enum feedforward_file file, struct failure *failure)
{
    const struct shape shape = shape_of(file);
    if (input->header.dims == shape.dims)
        return true;
    return fail_usage(failure, "%s: has %" PRIu32 " dimensions, not %" PRIu32 ": [%s%s%s]", input->path, input->header.dims, shape.dims,
                      lengths[shape.lengths[0]].name, shape.dims > 1 ? ", " : "", shape.dims > 1 ? lengths[shape.lengths[1]].name : "");
}

static bool open_input(struct input *input, const char *path, enum feedforward_file file, struct failure *failure)
{
    input->path = path;
    return !path || (input_open_file(input, failure) &&
                     npy_read(input->fd, path, NPY_TYPE(ELEMENT_F32) | NPY_TYPE(ELEMENT_F16), &input->header, failure) &&
                     check_dims(input, file, failure));
}

static bool check_input(const struct feedforward_files *files, enum feedforward_file file, struct failure *failure)
{
    const struct input *input = &files->inputs[file], *first = &files->inputs[FEEDFORWARD_X];
    const struct shape shape = shape_of(file);
    if (input->header.type != first->header.type)
        return fail_usage(failure, "%s is of type %s, but %s of %s", input->path, element_npy_text(input->header.type), first->path,
                          element_npy_text(first->header.type));
    for (uint32_t axis = 0; axis < shape.dims; axis++) {
        const enum length length = shape.lengths[axis];
        if (input->header.shape[axis] != length_of(files, length))
            return fail_usage(failure, "%s of %s is %" PRIu64 ", but of %s %" PRIu64, lengths[length].name, input->path,
                              input->header.shape[axis], files->inputs[lengths[length].source].path, length_of(files, length));
    }
    return true;
}

/* The library's limits, told by file; of rows the file is the limit. */
static bool check_lengths(const struct feedforward_files *files, struct failure *failure)
{
    for (enum length length = MODEL_DIM; length <= OUTPUT_DIM; length++)
        if (length_of(files, length) < 1 || length_of(files, length) > (uint64_t)1 << 23)
            return fail_usage(failure, "%s: its %s is %" PRIu64 ", not from 1 to 2^23", files->inputs[lengths[length].source].path,
                              lengths[length].name, length_of(files, length));
    return true;
}

static struct tensor_io io_of(const struct feedforward_files *files, enum feedforward_file file, struct strip_file strip_file,
                              const struct npy_header *header)
{
    const struct shape shape = shape_of(file);
    const uint64_t rows = shape.dims > 1 ? header->shape[0] : 1;
    const struct vkring_span all[VKRING_SPANS] = {{0, rows, 1}};
    const bool weight_grad = file > FEEDFORWARD_X_GRAD && file <= FEEDFORWARD_B2_GRAD;
    strip_file.data_offset = header->data_offset;
    strip_file.element_bytes = element_bytes(header->type);
    return (struct tensor_io){
        .strip = strip_of_rows(1, rows, all, header->shape[shape.dims - 1]),
        .file = strip_file,
        .file_type = header->type,
        .device_type = weight_grad ? ELEMENT_F32 : files->type,
        .header = header,
    };
}

static bool open_inputs(struct feedforward_files *files, const struct feedforward_options *options, struct failure *failure)
{
    bool good = true;
    for (enum feedforward_file file = 0; good && file < FEEDFORWARD_READ; file++)
        good = open_input(&files->inputs[file], options->files[file], file, failure);
    good = good && check_lengths(files, failure);
    for (enum feedforward_file file = 0; good && file < FEEDFORWARD_READ; file++)
        good = !options->files[file] || check_input(files, file, failure);
    return good;
}

/* Of the inputs' type, but for gradients that are summed over rows. */
static struct npy_header header_of(const struct feedforward_files *files, enum feedforward_file file)
{
    const struct shape shape = shape_of(file);
    struct npy_header header = {.type = ELEMENT_F32, .dims = shape.dims};
    if (file == FEEDFORWARD_OUTPUT || file == FEEDFORWARD_X_GRAD)
        header.type = files->inputs[FEEDFORWARD_X].header.type;
    for (uint32_t axis = 0; axis < shape.dims; axis++)
        header.shape[axis] = length_of(files, shape.lengths[axis]);
    return header;
}

bool feedforward_files_open(struct feedforward_files *files, const struct feedforward_options *options, struct failure *failure)
{
    bool good = open_inputs(files, options, failure) && output_files_apart(options->files, FEEDFORWARD_READ, FEEDFORWARD_FILES, failure);
    for (enum feedforward_file file = FEEDFORWARD_READ; good && file < FEEDFORWARD_FILES; file++) {
        files->outputs[file].header = header_of(files, file);
        good = output_file_place(&files->outputs[file], options->files[file], failure);
    }
    if (!good)
        return false;
    files->type = options->attend.has_type ? options->attend.type : files->inputs[FEEDFORWARD_X].header.type;
    files->rows = length_of(files, ROWS);
    files->model_dim = length_of(files, MODEL_DIM);
    files->hidden_dim = length_of(files, HIDDEN_DIM);
    files->output_dim = length_of(files, OUTPUT_DIM);
    for (enum feedforward_file file = 0; file < FEEDFORWARD_READ; file++) {
        const struct input *input = &files->inputs[file];
        if (input->path)
            files->tensors[file] = io_of(files, file, (struct strip_file){.fd = input->fd, .path = input->path}, &input->header);
    }
    return tensor_piece_create(&files->piece, failure);
}

bool feedforward_files_create(struct feedforward_files *files, struct failure *failure)
{
    const uint64_t token = output_file_token();
    bool good = true;
    for (enum feedforward_file file = FEEDFORWARD_READ; good && file < FEEDFORWARD_FILES; file++) {
        struct output_file *output = &files->outputs[file];
        if (!output->path)
            continue;
        good = output_file_name(output, token, (int)file, failure) && output_file_create(output, file != FEEDFORWARD_REPORT, failure);
        if (good && file != FEEDFORWARD_REPORT)
            files->tensors[file] = io_of(files, file, (struct strip_file){.fd = output->fd, .path = output->name}, &output->header);
    }
    return good;
}

/* Moving ------------------------------------------------------------------------------------------------------------------- */

static uint64_t count_elements(const struct feedforward_files *files, enum feedforward_file first, enum feedforward_file end)
{
    uint64_t total = 0;
    for (enum feedforward_file file = first; file < end; file++)
        total += strip_elements(&files->tensors[file].strip);
    return total;
}

uint64_t feedforward_files_bytes(const struct feedforward_files *files, enum feedforward_file file)
{
    return strip_elements(&files->tensors[file].strip) * element_bytes(files->tensors[file].device_type);
}

bool feedforward_files_check(struct feedforward_files *files, struct progress *progress, struct failure *failure)
{
    bool good = true;
    progress_phase(progress, "checking", count_elements(files, 0, FEEDFORWARD_READ));
    for (enum feedforward_file file = 0; good && file < FEEDFORWARD_READ; file++)
        good = tensor_check(&files->tensors[file], &files->piece, progress, failure);
    return good;
}

bool feedforward_files_load(struct feedforward_files *files, vkring_buffer *const *buffers, struct progress *progress,
                            struct failure *failure)
{
    bool good = true;
    progress_phase(progress, "reading", count_elements(files, 0, FEEDFORWARD_READ));
    for (enum feedforward_file file = 0; good && file < FEEDFORWARD_READ; file++)
        good = tensor_load(&files->tensors[file], &files->piece, buffers[file], 0, progress, failure);
    return good;
}

bool feedforward_files_store(struct feedforward_files *files, vkring_buffer *const *buffers, struct progress *progress,
                             struct failure *failure)
{
    bool good = true;
    progress_phase(progress, "writing", count_elements(files, FEEDFORWARD_READ, FEEDFORWARD_FILES));
    for (enum feedforward_file file = FEEDFORWARD_READ; good && file < FEEDFORWARD_FILES; file++)
        good = tensor_store(&files->tensors[file], &files->piece, buffers[file], 0, progress, failure);
    return good;
}

bool feedforward_files_commit(struct feedforward_files *files, struct failure *failure)
{
    bool good = true;
    for (enum feedforward_file file = FEEDFORWARD_READ; good && file < FEEDFORWARD_FILES; file++)
        good = output_file_flush(&files->outputs[file], failure);
    cleanup_hold_signals();
    for (enum feedforward_file file = FEEDFORWARD_READ; good && file < FEEDFORWARD_FILES; file++)
        good = !files->outputs[file].path || output_file_rename(&files->outputs[file], failure);
    cleanup_release_signals();
    if (good)
        output_file_flush_folder(&files->outputs[FEEDFORWARD_OUTPUT]);
    return good;
}

void feedforward_files_free(struct feedforward_files *files)
{
    for (int file = 0; file < FEEDFORWARD_READ; file++)
        if (files->inputs[file].fd >= 0)
            close(files->inputs[file].fd);
    for (int file = 0; file < FEEDFORWARD_FILES; file++)
        output_file_release(&files->outputs[file]);
    tensor_piece_free(&files->piece);
}
