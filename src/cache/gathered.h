/* SPDX-License-Identifier: MIT */
/** Query rows of all ranks on their way through this one, a piece at a time: to its device, and back as partial results to be merged. */
#ifndef VKRING_CACHE_GATHERED_H
#define VKRING_CACHE_GATHERED_H

#include <vkring/cache.h>

#include "../attention/rows.h"
#include "../attention/tensors.h"
#include "device_work.h"
#include "row_parts.h"

struct gathered_size {
    const struct problem *problem;
    uint32_t ranks;
    uint64_t own_rows; /* of one rank in a piece; 0: nothing is gathered */
    uint64_t rows;     /* of all ranks in a piece */
    uint64_t columns;  /* at most, of a bias */
};

/** Where kernels have it and where the host has it; the same buffer where memory is unified. */
struct gathered_buffer {
    vkring_buffer *of_host, *of_device;
    uint64_t used_bytes; /* of the piece at hand */
};

struct gathered {
    struct problem problem;
    struct rows_kernel pack, pack_words, pack_bias;
    uint64_t columns;               /* of a bias, in the call at hand: the caller's to set */
    vkring_buffer *own;             /* on the host: a block of this rank's queries, and later its outputs and behind them their lse */
    uint64_t lse_offset_bytes;      /* into it */
    struct gathered_buffer queries; /* a block of all rows */
    struct gathered_buffer results; /* outputs alike, their residuals, lse [heads][rows] and its residuals: where the piece is so long */
    float *records;                 /* [rows][heads] of merge.h, owner after owner */
    uint64_t *counts;               /* [ranks], records of each owner: the caller's to set */
    uint64_t *starts;               /* [ranks], of which row its first are: the same */
};

/** Of a query row on its way: [heads][head_dim], its segment id, and its bias [heads or 1][columns] if it has one to itself. */
enum { QUERY_PART_ROW, QUERY_PART_ID, QUERY_PART_BIAS };
struct row_parts gathered_query_parts(const struct problem *problem, uint64_t columns);

enum vkring_status gathered_measure(vkring_device *device, const struct gathered_size *size, struct vkring_cache_memory *memory);
enum vkring_status gathered_create(vkring_device *device, const struct gathered_size *size, struct gathered *out_gathered);
/** Accepts one that was not created. */
void gathered_destroy(struct gathered *gathered, vkring_device *device);

/**
 * Own rows are packed into `own`, as a block of block_rows, or outputs from there to where they are wanted: recorded only. Views, also
 * those of queries, begin with the piece.
 */
void gathered_record_queries(const struct gathered *gathered, struct device_work *work, const struct query_tensors *queries, uint64_t rows,
                             uint64_t block_rows);
void gathered_record_outputs(const struct gathered *gathered, struct device_work *work, const struct tensor_view *output,
                             const struct tensor_view *lse, uint64_t rows);

/** Tensors of a piece of so many rows. Slopes, sinks and seed are the caller's to fill in, and a bias
 * that is not per_query. */
struct query_tensors gathered_tensors(struct gathered *gathered, uint64_t rows);
/** Makes the queries of the piece visible to kernels; recorded, if it takes a copy. */
enum vkring_status gathered_record_upload(struct gathered *gathered, struct device_work *work);
void gathered_record_download(struct gathered *gathered, struct device_work *work);
/** After the device: the host sees the results of the piece. */
enum vkring_status gathered_see_results(struct gathered *gathered);
/** Rows of results that become records, which are of rows `to` on. */
struct gathered_move {
    uint64_t from, to, rows;
};
/** Of a piece of so many rows. */
void gathered_make_records(struct gathered *gathered, uint64_t rows, const struct gathered_move *move);
/** Rounds records of own rows into `own`, from `first` on. */
enum vkring_status gathered_round(struct gathered *gathered, uint64_t first, uint64_t rows);

#endif
