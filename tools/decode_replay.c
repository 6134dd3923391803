/* SPDX-License-Identifier: MIT */
/* Feeding the cache: each piece of rows is read, appended, attended and written, equal parts of it by each rank. */
#include <stdlib.h>
#include <string.h>

#include "decode.h"
#include "now.h"

static uint64_t kv_len_of(const struct decode *decode)
{
    return decode->attend.problem.lengths[DIM_KV_LEN];
}

static uint64_t prefill_rows_of(const struct decode *decode)
{
    return kv_len_of(decode) - decode_step_rows(decode);
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Memory -------------------------------------------------------------------------------------------------------------------- */

static bool is_of_keys(enum file_kind kind)
{
    return kind == FILE_KEY || kind == FILE_VALUE || kind == FILE_KEY_SEGMENTS;
}

static bool is_of_rows(enum file_kind kind)
{
    return is_of_keys(kind) || kind == FILE_QUERY || kind == FILE_QUERY_SEGMENTS || kind == FILE_OUTPUT || kind == FILE_LSE;
}

static uint64_t own_most_rows(const struct decode *decode)
{
    return (decode->most_rows + decode->attend.ranks->size - 1) / decode->attend.ranks->size;
}

/* What a tensor takes on the device: for a piece of it, or whole where it has no rows. */
static uint64_t bytes_of(const struct decode *decode, enum file_kind kind)
{
    const struct tensor_io *io = &decode->attend.tensors[kind];
    if (kind == FILE_BIAS)
        return decode_bias_elements(decode, own_most_rows(decode)) * element_bytes(io->device_type);
    const struct strip *strip = &io->strip;
    const uint64_t elements = is_of_rows(kind) ? strip->blocks * own_most_rows(decode) * strip->row_elements : strip_elements(strip);
    return elements * element_bytes(io->device_type);
}

bool decode_make_buffers(struct attend *attend, struct failure *failure)
{
    struct decode *decode = decode_of(attend);
    const struct decode_options *options = &decode->options;
    const uint64_t prefill = smaller(options->prefill_rows, prefill_rows_of(decode));
    decode->most_rows = options->steps > 0 && options->step_rows > prefill ? options->step_rows : prefill;
    for (enum file_kind kind = 0; kind < FILE_KINDS; kind++) {
        const uint64_t bytes = bytes_of(decode, kind);
        attend->report.tensor_bytes += bytes;
        if (bytes > 0 && vkring_buffer_create(attend->device, bytes, &attend->buffers[kind]) != VKRING_OK)
            return fail_library(failure, attend->ranks->rank);
    }
    decode->step_seconds = calloc(options->steps ? options->steps : 1, sizeof(double));
    return decode->step_seconds ? true : fail_memory(failure);
}

bool decode_make_cache(struct attend *attend, struct failure *failure)
{
    struct decode *decode = decode_of(attend);
    struct vkring_cache_params params = {
        .attention = attend_plan_params(attend), .storage = decode->options.storage, .pass = decode->options.pass};
    const double start = now_seconds();
    params.attention.q_len = decode->most_rows;
    params.attention.has_query_offset = false;
    params.attention.query_offset = 0;
    params.attention.layout = 0;
    if (ranks_make_comm(attend->ranks, &attend->comm) != VKRING_OK ||
        vkring_cache_create(attend->device, attend->comm, &params, &decode->cache) != VKRING_OK)
        return fail_library(failure, attend->ranks->rank);
    attend->report.prepare_seconds += now_seconds() - start;
    if (!decode_load_bias(decode, NULL, failure))
        return false;
    for (enum file_kind kind = FILE_SLOPES; kind <= FILE_SINKS; kind++)
        if (attend->buffers[kind] &&
            !tensor_load(&attend->tensors[kind], &attend->piece, attend->buffers[kind], attend->ranks->rank, &attend->progress, failure))
            return false;
    return true;
}

/* Pieces -------------------------------------------------------------------------------------------------------------------- */

static bool cut_piece(const struct decode *decode, struct decode_piece *piece, struct failure *failure)
{
    const struct ranks *ranks = decode->attend.ranks;
    uint64_t *rows = calloc(ranks->size, sizeof(*rows));
    if (!rows)
        return fail_memory(failure);
    const bool good = vkring_cut_rows(piece->rows, ranks->size, NULL, rows) == VKRING_OK || fail_library(failure, ranks->rank);
    piece->own_first = piece->first;
    for (uint32_t rank = 0; rank < ranks->rank; rank++)
        piece->own_first += rows[rank];
    piece->own_rows = rows[ranks->rank];
    free(rows);
    return good;
}

/* This rank's part of a piece of a tensor. Rows of queries begin at first_query. */
static struct tensor_io io_of(const struct decode *decode, enum file_kind kind, const struct decode_piece *piece)
{
    struct tensor_io io = decode->attend.tensors[kind];
    struct vkring_span *spans = io.strip.spans;
    for (int span = 0; span < VKRING_SPANS; span++)
        spans[span] = (struct vkring_span){.stride = 1};
    spans[0].first = piece->own_first - (is_of_keys(kind) ? 0 : decode_first_query(decode));
    spans[0].rows = piece->own_rows;
    io.strip.rows = piece->own_rows;
    return io;
}

static bool load(struct decode *decode, enum file_kind kind, const struct decode_piece *piece, struct failure *failure)
{
    struct attend *attend = &decode->attend;
    const struct tensor_io io = io_of(decode, kind, piece);
    return strip_elements(&io.strip) == 0 ||
           tensor_load(&io, &attend->piece, attend->buffers[kind], attend->ranks->rank, &attend->progress, failure);
}

static bool store_output(struct decode *decode, const struct decode_piece *piece, struct failure *failure)
{
    struct attend *attend = &decode->attend;
    const struct tensor_io io = io_of(decode, FILE_OUTPUT, piece);
    return strip_elements(&io.strip) == 0 ||
           tensor_store(&io, &attend->piece, attend->buffers[FILE_OUTPUT], attend->ranks->rank, &attend->progress, failure);
}

/* On the device [heads][batch][rows], in the file [batch][heads][rows]. */
static void put_sequences_first(const float *from, float *to, const uint64_t *lengths, uint64_t rows)
{
    const uint64_t batch = lengths[DIM_BATCH], heads = lengths[DIM_HEADS];
    for (uint64_t sequence = 0; sequence < batch; sequence++)
        for (uint64_t head = 0; head < heads; head++)
            memcpy(to + (sequence * heads + head) * rows, from + (head * batch + sequence) * rows, rows * sizeof(float));
}

static bool store_lse(struct decode *decode, const struct decode_piece *piece, struct failure *failure)
{
    struct attend *attend = &decode->attend;
    const struct tensor_io io = io_of(decode, FILE_LSE, piece);
    const uint64_t count = strip_elements(&io.strip);
    if (!outputs_file(&attend->outputs, FILE_LSE)->path || count == 0)
        return true;
    float *on_device = malloc(2 * count * sizeof(float));
    if (!on_device)
        return fail_memory(failure);
    bool good = vkring_buffer_download(attend->buffers[FILE_LSE], 0, on_device, count * sizeof(float)) == VKRING_OK ||
                fail_library(failure, attend->ranks->rank);
    put_sequences_first(on_device, on_device + count, attend->problem.lengths, piece->own_rows);
    good = good && strip_write(&io.strip, &io.file, 0, count, on_device + count, failure);
    progress_advance(&attend->progress, count);
    free(on_device);
    return good;
}

static bool append(struct decode *decode, const uint64_t *rows, struct decode_part *part, struct failure *failure)
{
    vkring_buffer *const *buffers = decode->attend.buffers;
    const struct vkring_cache_append_io io = {.rows = rows,
                                              .key.buffer = buffers[FILE_KEY],
                                              .value.buffer = buffers[FILE_VALUE],
                                              .segment_ids.buffer = buffers[FILE_KEY_SEGMENTS]};
    const double start = now_seconds();
    if (vkring_cache_append(decode->cache, &io) != VKRING_OK)
        return fail_library(failure, decode->attend.ranks->rank);
    part->append_seconds += now_seconds() - start;
    return true;
}

static bool attend_to_cache(struct decode *decode, const uint64_t *rows, struct decode_part *part, struct failure *failure)
{
    vkring_buffer *const *buffers = decode->attend.buffers;
    const struct vkring_cache_attend_io io = {
        .rows = rows,
        .query.buffer = buffers[FILE_QUERY],
        .output.buffer = buffers[FILE_OUTPUT],
        .lse.buffer = buffers[FILE_LSE],
        .segment_ids.buffer = buffers[FILE_QUERY_SEGMENTS],
        .bias = {.buffer = buffers[FILE_BIAS]},
        .alibi_slopes.buffer = buffers[FILE_SLOPES],
        .sinks.buffer = buffers[FILE_SINKS],
        .seed = decode->options.attend.seed,
    };
    const double start = now_seconds();
    if (vkring_cache_attend(decode->cache, &io) != VKRING_OK)
        return fail_library(failure, decode->attend.ranks->rank);
    part->attend_seconds += now_seconds() - start;
    return true;
}

/* All positions of a piece have a query, or none has. */
static bool feed_piece(struct decode *decode, struct decode_piece *piece, struct decode_part *part, struct failure *failure)
{
    const uint64_t batch = decode->attend.problem.lengths[DIM_BATCH];
    const bool has_queries = piece->first >= decode_first_query(decode);
    if (!cut_piece(decode, piece, failure))
        return false;
    uint64_t *rows = calloc(batch ? batch : 1, sizeof(*rows));
    if (!rows)
        return fail_memory(failure);
    for (uint64_t sequence = 0; sequence < batch; sequence++)
        rows[sequence] = piece->own_rows;
    bool good = load(decode, FILE_KEY, piece, failure) && load(decode, FILE_VALUE, piece, failure) &&
                load(decode, FILE_KEY_SEGMENTS, piece, failure) && append(decode, rows, part, failure);
    if (good && has_queries)
        good = load(decode, FILE_QUERY, piece, failure) && load(decode, FILE_QUERY_SEGMENTS, piece, failure) &&
               decode_load_bias(decode, piece, failure) && attend_to_cache(decode, rows, part, failure) &&
               store_output(decode, piece, failure) && store_lse(decode, piece, failure);
    free(rows);
    part->pieces++;
    part->rows += piece->rows;
    return good;
}

/* A piece ends where queries begin. */
static struct decode_piece piece_at(const struct decode *decode, uint64_t first, uint64_t end, uint64_t most_rows)
{
    const uint64_t first_query = decode_first_query(decode);
    const uint64_t limit = first < first_query ? smaller(first_query, end) : end;
    return (struct decode_piece){.first = first, .rows = smaller(most_rows, limit - first)};
}

/* Elements that pass between files and device, for the progress. */
static uint64_t count_elements(const struct decode *decode, uint64_t first, uint64_t end)
{
    uint64_t elements = 0;
    for (enum file_kind kind = 0; kind < FILE_KINDS; kind++) {
        const struct strip *strip = &decode->attend.tensors[kind].strip;
        const uint64_t least = is_of_keys(kind) ? 0 : decode_first_query(decode);
        if (is_of_rows(kind) && end > least)
            elements += strip->blocks * strip->row_elements * (end - (first > least ? first : least)) / decode->attend.ranks->size;
    }
    return elements;
}

bool decode_prefill(struct attend *attend, struct failure *failure)
{
    struct decode *decode = decode_of(attend);
    const uint64_t end = prefill_rows_of(decode);
    progress_phase(&attend->progress, "prefilling", count_elements(decode, 0, end));
    for (uint64_t first = 0; first < end;) {
        struct decode_piece piece = piece_at(decode, first, end, decode->options.prefill_rows);
        if (!feed_piece(decode, &piece, &decode->prefill, failure))
            return false;
        first += piece.rows;
    }
    return true;
}

bool decode_steps(struct attend *attend, struct failure *failure)
{
    struct decode *decode = decode_of(attend);
    const uint64_t end = kv_len_of(decode), step_rows = decode->options.step_rows;
    struct decode_part *part = &decode->steps;
    uint64_t first = prefill_rows_of(decode);
    progress_phase(&attend->progress, "decoding", count_elements(decode, first, end));
    for (uint64_t step = 0; step < decode->options.steps; step++) {
        const double before = part->append_seconds + part->attend_seconds;
        for (const uint64_t step_end = first + step_rows; first < step_end;) {
            struct decode_piece piece = piece_at(decode, first, step_end, step_rows);
            if (!feed_piece(decode, &piece, part, failure))
                return false;
            first += piece.rows;
        }
        decode->step_seconds[step] = part->append_seconds + part->attend_seconds - before;
    }
    vkring_device_get_memory_use(attend->device, &attend->report.memory);
    return outputs_flush(&attend->outputs, failure);
}
