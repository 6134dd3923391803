/* SPDX-License-Identifier: MIT */
/*
 * The bias of vkring decode: whole where it is of all queries, [batch or 1][heads or 1][kv_len]; else a piece's rows, [heads or 1][batch]
 * [own rows][kv_len], as a cache has the rows of all sequences behind each other. In the file they are [batch or 1][heads or 1][q_len].
 */
#include "decode.h"

static const struct vkring_bias_params *params_of(const struct decode *decode)
{
    return &decode->attend.problem.bias;
}

static const uint64_t *shape_of(const struct decode *decode)
{
    return decode->attend.inputs.files[FILE_BIAS].header.shape;
}

static uint64_t batch_of(const struct decode *decode)
{
    return decode->attend.problem.lengths[DIM_BATCH];
}

static uint64_t kv_len_of(const struct decode *decode)
{
    return decode->attend.problem.lengths[DIM_KV_LEN];
}

uint64_t decode_bias_elements(const struct decode *decode, uint64_t own_rows)
{
    const struct vkring_bias_params *params = params_of(decode);
    if (!params->present)
        return 0;
    const uint64_t *shape = shape_of(decode);
    return (params->per_query ? batch_of(decode) * own_rows : shape[0]) * shape[1] * kv_len_of(decode);
}

static bool load(struct decode *decode, const struct tensor_io *io, struct failure *failure)
{
    struct attend *attend = &decode->attend;
    return strip_elements(&io->strip) == 0 ||
           tensor_load(io, &attend->piece, attend->buffers[FILE_BIAS], attend->ranks->rank, &attend->progress, failure);
}

static bool load_whole(struct decode *decode, struct failure *failure)
{
    const struct vkring_span all[VKRING_SPANS] = {{0, 1, 1}};
    struct tensor_io io = decode->attend.tensors[FILE_BIAS];
    io.strip = strip_of_rows(1, 1, all, decode_bias_elements(decode, 0));
    return load(decode, &io, failure);
}

/* The rows of one sequence and one head. */
static bool load_rows(struct decode *decode, const struct decode_piece *piece, uint64_t sequence, uint64_t head, struct failure *failure)
{
    const uint64_t *shape = shape_of(decode), row_elements = kv_len_of(decode);
    const struct vkring_span rows[VKRING_SPANS] = {
        {.first = piece->own_first - decode_first_query(decode), .stride = 1, .rows = piece->own_rows}};
    const uint64_t block = (shape[0] == 1 ? 0 : sequence) * shape[1] + head;
    struct tensor_io io = decode->attend.tensors[FILE_BIAS];
    io.strip = strip_of_rows(1, shape[2], rows, row_elements);
    io.file.data_offset += block * shape[2] * row_elements * io.file.element_bytes;
    io.buffer_offset_bytes = (head * batch_of(decode) + sequence) * piece->own_rows * row_elements * element_bytes(io.device_type);
    return load(decode, &io, failure);
}

bool decode_load_bias(struct decode *decode, const struct decode_piece *piece, struct failure *failure)
{
    const struct vkring_bias_params *params = params_of(decode);
    bool good = true;
    if (!params->present || params->per_query != (piece != NULL))
        return true;
    if (!piece)
        return load_whole(decode, failure);
    for (uint64_t sequence = 0; sequence < batch_of(decode); sequence++)
        for (uint64_t head = 0; good && head < shape_of(decode)[1]; head++)
            good = load_rows(decode, piece, sequence, head, failure);
    return good;
}
