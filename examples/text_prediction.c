/* SPDX-License-Identifier: MIT */
#include "text_prediction.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "context_embedding.h"
#include "progress_line.h"
#include "sample_check.h"

#define BYTES 256u
#define BLOCK_ROWS 1024u
#define SAMPLES 16u

/* Bytes of uniform chance mixed into what attention says, as if so many had been seen: what never came before may come now. */
static const double uniform_bytes = 60;

/* The rows of each chunk that this rank holds. In memory those of one chunk follow those of the one before. */
struct strip {
    const struct passage *passage;
    struct vkring_span spans[VKRING_SPANS];
    uint64_t rows; /* of all spans */
};

/* Everything of one passage. */
struct work {
    const struct predictor *predictor;
    const struct passage *passage;
    struct strip queries, keys;
    vkring_plan *plan;
    struct vkring_forward_io io;
    float *block;         /* rows in f32 */
    unsigned char *typed; /* and in the type of the tensors */
};

typedef void (*row_writer)(const unsigned char *chunk, uint64_t position, float *row);

static uint64_t strip_total(const struct strip *strip)
{
    return strip->passage->chunks * strip->rows;
}

static const unsigned char *strip_chunk(const struct strip *strip, uint64_t row)
{
    return strip->passage->text + row / strip->rows * strip->passage->context;
}

static uint64_t strip_position(const struct strip *strip, uint64_t row)
{
    const struct vkring_span *span = strip->spans;
    uint64_t in_span = row % strip->rows;
    for (; in_span >= span->rows; span++)
        in_span -= span->rows;
    return span->first + in_span * span->stride;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static bool checked(const struct work *work, enum vkring_status status)
{
    return status == VKRING_OK ? true : group_fail_vkring(work->predictor->group);
}

/* Plan ------------------------------------------------------------------------------------------------------------------- */

static bool make_plan(struct work *work)
{
    const struct predictor *predictor = work->predictor;
    const struct vkring_plan_params params = {
        .type = predictor->type,
        .batch = work->passage->chunks,
        .q_len = work->passage->context,
        .kv_len = work->passage->context,
        .heads = 1,
        .head_dim = EMBEDDING_DIM,
        .value_dim = BYTES,
        .causal = true,
        .has_query_offset = true,
        .query_offset = -1,
        .has_scale = true,
        .scale = 1.0 / EMBEDDING_DIM,
        .layout = VKRING_LAYOUT_AUTO,
    };
    checked(work, vkring_plan_create(predictor->device, predictor->comm, &params, &work->plan));
    return group_agree(predictor->group);
}

static void find_strips(struct work *work)
{
    struct vkring_plan_info info;
    vkring_plan_get_info(work->plan, &info);
    const struct vkring_rank_rows *rows = &info.rows;
    work->queries = (struct strip){.passage = work->passage, .rows = rows->query_rows};
    work->keys = (struct strip){.passage = work->passage, .rows = rows->key_rows};
    memcpy(work->queries.spans, rows->query_spans, sizeof(rows->query_spans));
    memcpy(work->keys.spans, rows->key_spans, sizeof(rows->key_spans));
}

/* Tensors ---------------------------------------------------------------------------------------------------------------- */

static void write_byte(const unsigned char *chunk, uint64_t position, float *row)
{
    for (unsigned byte = 0; byte < BYTES; byte++)
        row[byte] = byte == chunk[position] ? 1.0f : 0.0f;
}

static uint64_t row_bytes(const struct work *work, uint64_t dim)
{
    return dim * vkring_type_bytes(work->predictor->type);
}

static bool make_buffer(struct work *work, const struct strip *strip, uint64_t dim, struct vkring_tensor *tensor)
{
    return checked(work, vkring_buffer_create(work->predictor->device, strip_total(strip) * row_bytes(work, dim), &tensor->buffer));
}

static bool load(struct work *work, const struct strip *strip, uint64_t dim, row_writer write_row, const struct vkring_tensor *tensor)
{
    const uint64_t total = strip_total(strip);
    for (uint64_t first = 0; first < total; first += BLOCK_ROWS) {
        const uint64_t rows = least(BLOCK_ROWS, total - first);
        for (uint64_t i = 0; i < rows; i++)
            write_row(strip_chunk(strip, first + i), strip_position(strip, first + i), work->block + i * dim);
        vkring_convert_from_f32(work->predictor->type, work->block, rows * dim, work->typed);
        if (!checked(work, vkring_buffer_upload(tensor->buffer, first * row_bytes(work, dim), work->typed, rows * row_bytes(work, dim))))
            return false;
    }
    return true;
}

static bool load_all(struct work *work)
{
    struct vkring_forward_io *io = &work->io;
    work->block = malloc(BLOCK_ROWS * BYTES * sizeof(float));
    work->typed = malloc(BLOCK_ROWS * BYTES * sizeof(float));
    if (!work->block || !work->typed)
        return group_fail(work->predictor->group, "out of memory");
    return make_buffer(work, &work->queries, EMBEDDING_DIM, &io->query) && make_buffer(work, &work->keys, EMBEDDING_DIM, &io->key) &&
           make_buffer(work, &work->keys, BYTES, &io->value) && make_buffer(work, &work->queries, BYTES, &io->output) &&
           load(work, &work->queries, EMBEDDING_DIM, embed_context, &io->query) &&
           load(work, &work->keys, EMBEDDING_DIM, embed_context, &io->key) && load(work, &work->keys, BYTES, write_byte, &io->value);
}

/* Run and score ---------------------------------------------------------------------------------------------------------- */

static bool run(struct work *work)
{
    const struct predictor *predictor = work->predictor;
    struct progress_line line;
    progress_line_begin(&line, predictor->terminal, work->passage->title, work->plan);
    const enum vkring_status status = vkring_forward(work->plan, &work->io);
    progress_line_end(&line);
    if (checked(work, status))
        return true;
    predictor->group->broken = predictor->group->size > 1;
    return false;
}

/* Of -log2 of the probability that the row gave to the byte at position. */
static double bits_of(const struct work *work, const unsigned char *chunk, uint64_t position, const unsigned char *row)
{
    float attention;
    vkring_convert_to_f32(work->predictor->type, row + row_bytes(work, chunk[position]), 1, &attention);
    const double seen = (double)position;
    return -log2((seen * (double)attention + uniform_bytes / BYTES) / (seen + uniform_bytes));
}

static void score_row(const struct work *work, uint64_t index, const unsigned char *row, struct prediction *own)
{
    const unsigned char *chunk = strip_chunk(&work->queries, index);
    const uint64_t position = strip_position(&work->queries, index);
    const uint64_t every = strip_total(&work->queries) / SAMPLES + 1;
    own->bits += bits_of(work, chunk, position, row);
    if (work->predictor->check && index % every == every - 1)
        own->largest_error = fmax(own->largest_error, sample_error(chunk, position, work->predictor->type, row));
}

static bool score(struct work *work, struct prediction *own)
{
    const uint64_t total = strip_total(&work->queries);
    const uint64_t bytes = row_bytes(work, BYTES);
    for (uint64_t first = 0; first < total; first += BLOCK_ROWS) {
        const uint64_t rows = least(BLOCK_ROWS, total - first);
        if (!checked(work, vkring_buffer_download(work->io.output.buffer, first * bytes, work->typed, rows * bytes)))
            return false;
        for (uint64_t i = 0; i < rows; i++)
            score_row(work, first + i, work->typed + i * bytes, own);
    }
    return true;
}

static void add_up(const struct work *work, const struct prediction *own, struct prediction *prediction)
{
    const struct group *group = work->predictor->group;
    struct vkring_run_stats stats;
    vkring_plan_get_stats(work->plan, &stats);
    prediction->bits += group_sum(group, own->bits);
    prediction->flop += group_sum(group, stats.flop);
    prediction->seconds += group_most(group, stats.total_seconds);
    prediction->waited_seconds += group_most(group, stats.exposed_wait_seconds);
    prediction->largest_error = fmax(prediction->largest_error, group_most(group, own->largest_error));
}

static bool predict_with(struct work *work, struct prediction *prediction)
{
    struct group *group = work->predictor->group;
    struct prediction own = {0};
    if (!make_plan(work))
        return false;
    find_strips(work);
    load_all(work);
    if (!group_agree(group))
        return false;
    run(work);
    if (!group_agree(group))
        return false;
    score(work, &own);
    if (!group_agree(group))
        return false;
    add_up(work, &own, prediction);
    return true;
}

bool predict(const struct predictor *predictor, const struct passage *passage, struct prediction *prediction)
{
    struct work work = {.predictor = predictor, .passage = passage};
    const bool good = predict_with(&work, prediction);
    vkring_plan_destroy(&work.plan);
    vkring_buffer_destroy(&work.io.query.buffer);
    vkring_buffer_destroy(&work.io.key.buffer);
    vkring_buffer_destroy(&work.io.value.buffer);
    vkring_buffer_destroy(&work.io.output.buffer);
    free(work.block);
    free(work.typed);
    return good;
}
