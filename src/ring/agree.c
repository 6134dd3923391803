/* SPDX-License-Identifier: MIT */
#include "agree.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../base/crc32c.h"
#include "packet.h"

/* Changes whenever ranks of two builds could misunderstand each other. */
#define PROTOCOL_VERSION 8u

enum field_kind { FIELD_UNSIGNED, FIELD_SIGNED, FIELD_DOUBLE, FIELD_HASH };

enum { FIELD_COUNT = 31 };

static const struct {
    const char *name;
    enum field_kind kind;
} fields[FIELD_COUNT] = {
    {"protocol version", FIELD_UNSIGNED},
    {"type", FIELD_UNSIGNED},
    {"batch", FIELD_UNSIGNED},
    {"q_len", FIELD_UNSIGNED},
    {"kv_len", FIELD_UNSIGNED},
    {"heads", FIELD_UNSIGNED},
    {"kv_heads", FIELD_UNSIGNED},
    {"head_dim", FIELD_UNSIGNED},
    {"value_dim", FIELD_UNSIGNED},
    {"causal", FIELD_UNSIGNED},
    {"causal_block", FIELD_UNSIGNED},
    {"window_left", FIELD_SIGNED},
    {"window_right", FIELD_SIGNED},
    {"query_offset", FIELD_SIGNED},
    {"scale", FIELD_DOUBLE},
    {"softcap", FIELD_DOUBLE},
    {"dropout", FIELD_DOUBLE},
    {"segment_ids", FIELD_UNSIGNED},
    {"alibi", FIELD_UNSIGNED},
    {"sinks", FIELD_UNSIGNED},
    {"backward", FIELD_UNSIGNED},
    {"bias.present", FIELD_UNSIGNED},
    {"bias.type", FIELD_UNSIGNED},
    {"bias.per_batch", FIELD_UNSIGNED},
    {"bias.per_head", FIELD_UNSIGNED},
    {"bias.per_query", FIELD_UNSIGNED},
    {"layout", FIELD_UNSIGNED},
    {"key_layout", FIELD_UNSIGNED},
    {"query_rows_of_rank", FIELD_HASH},
    {"key_rows_of_rank", FIELD_HASH},
    {"chunk_bytes", FIELD_UNSIGNED},
};

struct record {
    int64_t status;
    uint64_t values[FIELD_COUNT];
};

static uint64_t bits_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static uint32_t hash_of(const struct layout_side *side, uint32_t ranks)
{
    return crc32c(0, side->spans, (size_t)ranks * side->count * sizeof(*side->spans));
}

static void record_fill(const struct problem *problem, const struct layout *layout, uint64_t chunk_bytes, struct record *record)
{
    const struct vkring_bias_params *bias = &problem->bias;
    const uint64_t values[FIELD_COUNT] = {
        PROTOCOL_VERSION,
        problem->type,
        problem->batch,
        problem->q_len,
        problem->kv_len,
        problem->heads,
        problem->kv_heads,
        problem->head_dim,
        problem->value_dim,
        problem->causal,
        problem->causal_block,
        (uint64_t)problem->window_left,
        (uint64_t)problem->window_right,
        (uint64_t)problem->query_offset,
        bits_of(problem->scale),
        bits_of(problem->softcap),
        bits_of(problem->dropout),
        problem->segment_ids,
        problem->alibi,
        problem->sinks,
        problem->backward,
        bias->present,
        bias->type,
        bias->per_batch,
        bias->per_head,
        bias->per_query,
        layout->kind,
        layout->key_kind,
        hash_of(&layout->queries, layout->ranks),
        hash_of(&layout->keys, layout->ranks),
        chunk_bytes,
    };
    memcpy(record->values, values, sizeof(values));
}

static void format_value(enum field_kind kind, uint64_t value, char *text, size_t size)
{
    double real;
    switch (kind) {
    case FIELD_UNSIGNED:
        snprintf(text, size, "%" PRIu64, value);
        break;
    case FIELD_SIGNED:
        snprintf(text, size, "%" PRId64, (int64_t)value);
        break;
    case FIELD_DOUBLE:
        memcpy(&real, &value, sizeof(real));
        snprintf(text, size, "%.9g", real);
        break;
    case FIELD_HASH:
        snprintf(text, size, "cut %08" PRIx64, value);
        break;
    }
}

static enum vkring_status compare_fields(const struct record *records, uint32_t ranks)
{
    for (int field = 0; field < FIELD_COUNT; field++)
        for (uint32_t rank = 1; rank < ranks; rank++)
            if (records[rank].values[field] != records[0].values[field]) {
                char here[40], there[40];
                format_value(fields[field].kind, records[0].values[field], here, sizeof(here));
                format_value(fields[field].kind, records[rank].values[field], there, sizeof(there));
                return status_fail_at(VKRING_ERROR_MISMATCH, rank, VKRING_NONE, "ranks disagree on %s: %s on rank 0, %s on rank %u",
                                      fields[field].name, here, there, rank);
            }
    return VKRING_OK;
}

/* out_records: of all ranks, where they are until the next gather. */
static enum vkring_status gather(vkring_comm *comm, const struct record *mine, const char *doing, double timeout_seconds,
                                 const struct record **out_records)
{
    enum vkring_status status;
    struct comm_gather gather;
    TRY(comm_gather_start(comm, mine, sizeof(*mine), &gather), fail);
    TRY(comm_gather_wait(&gather, timeout_seconds), fail);
    const struct record *records = comm_gather_blocks(&gather);
    if (mine->status != VKRING_OK)
        return (enum vkring_status)mine->status;
    for (uint32_t rank = 0; rank < vkring_comm_size(comm); rank++)
        if (records[rank].status != VKRING_OK)
            return status_fail_at(VKRING_ERROR_PEER, rank, VKRING_NONE, "rank %u failed while %s: %s", rank, doing,
                                  vkring_status_string((enum vkring_status)records[rank].status));
    *out_records = records;
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status agree_on_problem(vkring_comm *comm, enum vkring_status mine, const struct problem *problem, const struct layout *layout,
                                    uint64_t chunk_bytes, double timeout_seconds)
{
    enum vkring_status status;
    struct record record = {.status = mine};
    const struct record *records = NULL;
    const struct vkring_error own = *vkring_last_error();
    if (mine == VKRING_OK)
        record_fill(problem, layout, chunk_bytes, &record);
    status = gather(comm, &record, "checking its parameters", timeout_seconds, &records);
    if (status == VKRING_OK)
        status = compare_fields(records, vkring_comm_size(comm));
    if (mine != VKRING_OK)
        return status_fail_at(mine, own.rank, own.step, "%s", own.message);
    return status;
}

enum vkring_status agree_on_status(vkring_comm *comm, enum vkring_status mine, const char *doing, double timeout_seconds)
{
    struct record record = {.status = mine};
    const struct record *records = NULL;
    const struct vkring_error own = *vkring_last_error();
    enum vkring_status status = gather(comm, &record, doing, timeout_seconds, &records);
    if (mine != VKRING_OK)
        return status_fail_at(mine, own.rank, own.step, "%s", own.message);
    return status;
}
