/* SPDX-License-Identifier: MIT */
/*
 * What one dispatch of an attention kernel reads. The host's copy is struct kernel_arguments.
 *
 * A kernel's lanes own rows of one side (forward, query_gradient: queries; key_gradient, bias_gradient: keys) and walk over those of the other side.
 * Addresses, and strides in bytes, are (low, high) words. A tensor's address is that of the dispatch's first batch entry, its first row, and its
 * first head if the head is one of the dispatch's; where the other side's head follows from it (key and value of a query head, queries of a
 * key/value head), head 0. A stride along which a tensor repeats is 0.
 */

struct Rows {
    uvec2 address, batch_stride, row_stride, head_stride;
};

layout(buffer_reference, scalar, buffer_reference_align = 16) readonly buffer Arguments {
    Rows query, key, value, outputs, output_grad;
    Rows query_grad, key_grad, value_grad; /* address 0: not wanted; so are lse and residuals */
    Rows score_grad;                       /* f32, [batch][heads][tiles of keys][queries][TILE_ROWS], of the dispatch alone; a row is a tile of keys */
    Rows lse, lse_residual;                /* rows are contiguous, f32 */
    Rows output_residual;
    Rows row_stats;                        /* vec4 a row: see row_stats.glsl */
    Rows bias, bias_grad;                  /* rows of keys */
    Rows query_ids, key_ids;               /* int, contiguous; from the first of the dispatch */
    Rows query_segments, key_segments;     /* tables of all rows and keys that are here: see segment_tables.glsl */
    uvec2 slopes, sinks, sink_grad;        /* of all heads */
    uvec2 state;                           /* of the dispatch's first workgroup */

    uint rows, keys; /* of the dispatch */
    uint first_batch, first_head;
    uint batches, heads; /* of the problem */
    uint heads_per_kv_head;
    uint first_row, first_key;                     /* among those that tables are of */
    uint query_fine_ranges, key_fine_ranges;       /* how many there are */
    uint first;                                    /* nonzero: the state starts empty, nothing is read */
    uint last;                                     /* nonzero: results are written, the state is not */
    uint splits, split_keys;                       /* of a tile's keys; how many are the least of one */
    uint entries;                                  /* batch entries of the dispatch */

    int lower, upper;                              /* band limits of the own side, see mask.glsl */
    int stair;
    uint stair_phase, causal_block;
    int alibi_diagonal, alibi_low, alibi_high;
    float alibi_far;

    float dot_scale;                               /* scale · log2(e), or scale / softcap */
    float softcap;                                 /* softcap · log2(e) */
    float scale;
    uint dropout_threshold;
    float dropout_scale;                           /* 1 / (1 - dropout) */
    uvec2 seed;
    uint query_position;                           /* of row 0, modulo 2^32 */
    uint key_quad, key_phase;                      /* position of key 0: 4 · quad + phase, quad modulo 2^32 */
    uint query_stride, key_stride;                 /* positions from one row to the next; 1 unless STRIDED */
    uint nothing;                                  /* what follows lies at multiples of 8 bytes */
    Rows key_scales, value_scales;                 /* f32, with INT8_KEYS: of a row of the dispatch's first head's keys, head by head */
};

layout(push_constant, scalar) uniform Push {
    Arguments arguments;
};
