/* SPDX-License-Identifier: MIT */
#include "inputs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIM_MAX 256
/* The library's: positions and lengths stay far from the ends of int64, heads fit in 32 bits. */
#define LENGTH_MAX ((uint64_t)1 << 60)

void inputs_init(struct inputs *inputs)
{
    *inputs = (struct inputs){.query.fd = -1, .key.fd = -1, .value.fd = -1};
}

/* Without O_NONBLOCK a pipe would be waited for. */
static bool open_file(struct input *input, struct failure *failure)
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

static bool open_tensor(struct input *input, const char *path, struct failure *failure)
{
    input->path = path;
    if (!open_file(input, failure) || !npy_read(input->fd, path, &input->header, failure))
        return false;
    if (input->header.dims != 4)
        return fail_usage(failure, "%s: has %" PRIu32 " dimensions, not 4: [batch, length, heads, dim]", path, input->header.dims);
    return true;
}

/* One tensor's own numbers. */
static bool check_shape(const struct input *input, struct failure *failure)
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

static bool check_equal(const struct input *a, const struct input *b, uint32_t dim, const char *what, struct failure *failure)
{
    if (a->header.shape[dim] != b->header.shape[dim])
        return fail_usage(failure, "%s of %s is %" PRIu64 ", but of %s %" PRIu64, what, a->path, a->header.shape[dim], b->path,
                          b->header.shape[dim]);
    return true;
}

static const char *type_text(enum vkring_type type)
{
    return type == VKRING_TYPE_F32 ? "<f4" : "<f2";
}

static bool check_type(const struct input *a, const struct input *b, struct failure *failure)
{
    if (a->header.type != b->header.type)
        return fail_usage(failure, "%s is of type %s, but %s of %s", a->path, type_text(a->header.type), b->path,
                          type_text(b->header.type));
    return true;
}

static bool check_together(const struct inputs *inputs, struct failure *failure)
{
    const struct input *query = &inputs->query, *key = &inputs->key, *value = &inputs->value;
    bool fit = check_type(key, query, failure) && check_type(value, query, failure) && check_equal(key, query, 0, "batch", failure) &&
               check_equal(value, query, 0, "batch", failure) && check_equal(value, key, 1, "length", failure) &&
               check_equal(value, key, 2, "the number of heads", failure) && check_equal(key, query, 3, "head_dim", failure);
    if (fit && query->header.shape[2] % key->header.shape[2] != 0)
        return fail_usage(failure, "the %" PRIu64 " heads of %s do not divide the %" PRIu64 " of %s", key->header.shape[2], key->path,
                          query->header.shape[2], query->path);
    return fit;
}

static struct attend_problem problem_of(const struct inputs *inputs, const struct attend_options *options)
{
    const uint64_t *query = inputs->query.header.shape;
    const uint64_t *key = inputs->key.header.shape;
    struct attend_problem problem = {
        .file_type = inputs->query.header.type,
        .type = options->has_type ? options->type : inputs->query.header.type,
        .batch = query[0],
        .q_len = query[1],
        .kv_len = key[1],
        .heads = query[2],
        .kv_heads = key[2],
        .head_dim = query[3],
        .value_dim = inputs->value.header.shape[3],
        .causal = options->causal,
        .scale = options->scale,
        .query_offset = options->query_offset,
    };
    if (!options->has_scale)
        problem.scale = 1 / sqrt((double)problem.head_dim);
    if (!options->has_query_offset)
        problem.query_offset = (int64_t)problem.kv_len - (int64_t)problem.q_len;
    return problem;
}

bool inputs_open(struct inputs *inputs, const struct attend_options *options, struct attend_problem *out_problem, struct failure *failure)
{
    bool good = open_tensor(&inputs->query, options->query, failure) && open_tensor(&inputs->key, options->key, failure) &&
                open_tensor(&inputs->value, options->value, failure) && check_shape(&inputs->query, failure) &&
                check_shape(&inputs->key, failure) && check_shape(&inputs->value, failure) && check_together(inputs, failure);
    if (good)
        *out_problem = problem_of(inputs, options);
    return good;
}

static void close_file(struct input *input)
{
    if (input->fd >= 0)
        close(input->fd);
    input->fd = -1;
}

void inputs_close(struct inputs *inputs)
{
    close_file(&inputs->query);
    close_file(&inputs->key);
    close_file(&inputs->value);
}
