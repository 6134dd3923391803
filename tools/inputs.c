/* SPDX-License-Identifier: MIT */
#include "inputs.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "input_shapes.h"

void inputs_init(struct inputs *inputs)
{
    *inputs = (struct inputs){0};
    for (int kind = 0; kind < FILE_READ_KINDS; kind++)
        inputs->files[kind].fd = -1;
}

/* Without O_NONBLOCK a pipe would be waited for. */
bool input_open_file(struct input *input, struct failure *failure)
{
    struct stat status;
    input->fd = open(input->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (input->fd < 0 || fstat(input->fd, &status) != 0)
        return fail_file(failure, "open", input->path);
    if (S_ISDIR(status.st_mode)) {
        errno = EISDIR;
        return fail_file(failure, "open", input->path);
    }
    if (!S_ISREG(status.st_mode))
        return fail_run(failure, "cannot read %s: not a regular file", input->path);
    return true;
}

static const char *path_of(const struct attend_options *options, enum file_kind kind)
{
    if (kind == FILE_KEY_SEGMENTS && !options->files[kind])
        return options->files[FILE_QUERY_SEGMENTS];
    return options->files[kind];
}

static bool open_tensor(struct input *input, const char *path, enum file_kind kind, struct failure *failure)
{
    input->path = path;
    return !path || (input_open_file(input, failure) && npy_read(input->fd, path, input_types(kind), &input->header, failure) &&
                     input_check_dims(input, kind, failure));
}

static struct vkring_bias_params bias_of(const struct input *bias, enum element_type device_type)
{
    const uint64_t *shape = bias->header.shape;
    if (!bias->path)
        return (struct vkring_bias_params){0};
    return (struct vkring_bias_params){
        .present = true,
        .type = bias->header.type == device_type ? element_library_type(device_type) : VKRING_TYPE_F32,
        .per_batch = shape[0] != 1,
        .per_head = shape[1] != 1,
        .per_query = shape[2] != 1,
    };
}

static struct attend_problem problem_of(const struct inputs *inputs, const struct attend_options *options)
{
    struct attend_problem problem = {.scale = options->scale, .query_offset = options->query_offset};
    uint64_t *lengths = problem.lengths;
    for (enum dimension dimension = 0; dimension < DIMENSIONS; dimension++) {
        uint32_t axis;
        const struct input *source = &inputs->files[dimension_source(dimension, &axis)];
        lengths[dimension] = source->header.shape[axis];
    }
    problem.file_type = inputs->files[FILE_QUERY].header.type;
    problem.type = options->has_type ? options->type : problem.file_type;
    problem.bias = bias_of(&inputs->files[FILE_BIAS], problem.type);
    if (!options->has_scale)
        problem.scale = 1 / sqrt((double)lengths[DIM_HEAD_DIM]);
    if (!options->has_query_offset)
        problem.query_offset = (int64_t)lengths[DIM_KV_LEN] - (int64_t)lengths[DIM_Q_LEN];
    return problem;
}

bool inputs_open(struct inputs *inputs, const struct attend_options *options, struct attend_problem *out_problem, struct failure *failure)
{
    bool good = true;
    for (enum file_kind kind = 0; good && kind < FILE_READ_KINDS; kind++)
        good = open_tensor(&inputs->files[kind], path_of(options, kind), kind, failure);
    good = good && inputs_check_shapes(inputs, failure);
    if (good)
        *out_problem = problem_of(inputs, options);
    return good;
}

void inputs_close(struct inputs *inputs)
{
    for (int kind = 0; kind < FILE_READ_KINDS; kind++) {
        if (inputs->files[kind].fd >= 0)
            close(inputs->files[kind].fd);
        inputs->files[kind].fd = -1;
    }
}
