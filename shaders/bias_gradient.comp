/* SPDX-License-Identifier: MIT */
#version 460
/*
 * The gradient of a bias, for a tile of keys: of the workgroup's head and batch entry, or summed over all of them where the bias repeats; of each query
 * row of the dispatch, or summed over all into f32, where a dispatch that is not the first adds to what is there. Lanes own keys. No shared memory, no barrier.
 */
#extension GL_GOOGLE_include_directive : require
#define OWN_IS_KEY
#include "extensions.glsl"
#include "address.glsl"
#include "element.glsl"
#include "arguments.glsl"
#include "constants.glsl"
#include "positions.glsl"
#include "tile.glsl"
#include "products.glsl"
#include "mask.glsl"
#include "segments.glsl"
#include "score.glsl"
#include "dropout.glsl"
#include "row_stats.glsl"
#include "key_rows.glsl"

const uint BLOCK_ROWS = 1024; /* sums of a million terms would lose digits in f32 */

float sums[ROWS_PER_LANE * STEP]; /* of rows; only the first of each slot where rows are summed */

void clear_sums()
{
    [[unroll]] for (uint i = 0; i < ROWS_PER_LANE * STEP; i++)
        sums[i] = 0;
}

void step_at(uint at, uint end, uvec2 queries, uvec2 grads)
{
    uint left = end - at;
    dot_heads(address_advance(queries, arguments.query.row_stride, at), arguments.query.row_stride.x, left);
    dot_values(address_advance(grads, arguments.output_grad.row_stride, at), arguments.output_grad.row_stride.x, left);
    find_pair_gradients(at, left, false);
}

/* Keys, values and query rows of one query head of one batch entry. */
void load_head(uint tile, uint last_key, uint batch, uint head, out uvec2 queries, out uvec2 grads)
{
    Rows key = arguments.key, value = arguments.value;
    uint kv_head = head / arguments.heads_per_kv_head;
    key.address = rows_address(key, batch, kv_head);
    value.address = rows_address(value, batch, kv_head);
    key.batch_stride = key.head_stride = value.batch_stride = value.head_stride = uvec2(0);
    load_own_head(key, tile, last_key);
    load_own_value(value, tile, last_key);
    choose_query_head(batch, head);
    queries = rows_address(arguments.query, batch, head);
    grads = rows_address(arguments.output_grad, batch, head);
}

/* Adds what one head gives to rows from `at` on, each on its own; or to the sum over all rows. */
void add_head(uint tile, uint last_key, uint batch, uint head, uint at)
{
    uvec2 queries, grads;
    load_head(tile, last_key, batch, head, queries, grads);
    if (BIAS_PER_QUERY) {
        step_at(at, arguments.rows, queries, grads);
        [[unroll]] for (uint i = 0; i < ROWS_PER_LANE * STEP; i++)
            sums[i] += bias_gradient[i];
        return;
    }
    do {
        float block[ROWS_PER_LANE];
        uint end = min(at + BLOCK_ROWS, arguments.rows);
        [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
            block[r] = 0;
        do {
            step_at(at, end, queries, grads);
            [[unroll]] for (uint i = 0; i < ROWS_PER_LANE * STEP; i++)
                block[i / STEP] += bias_gradient[i];
            at += STEP;
        } while (at < end);
        at = end;
        [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
            sums[r * STEP] += block[r];
    } while (at < arguments.rows);
}

void add_heads(uint tile, uint last_key, uint at)
{
    uint batches = BIAS_PER_BATCH ? 1 : arguments.batches, heads = BIAS_PER_HEAD ? 1 : arguments.heads;
    uint first_batch = BIAS_PER_BATCH ? gl_WorkGroupID.z : 0, first_head = BIAS_PER_HEAD ? arguments.first_head + gl_WorkGroupID.y : 0;
    uint i = 0;
    do {
        add_head(tile, last_key, first_batch + i / heads, first_head + i % heads, at);
        i++;
    } while (i < batches * heads);
}

void store_row(uint tile, uint last_key, uint row, uint k)
{
    uvec2 address = address_advance(head_address(arguments.bias_grad, BIAS_PER_HEAD ? arguments.first_head + gl_WorkGroupID.y : 0), arguments.bias_grad.row_stride, row);
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
        if (row_of(r) <= last_key && slice_of_lane() == 0) {
            uint key = bias_column(tile * TILE_ROWS + row_of(r));
            if (!BIAS_PER_QUERY)
                Floats(address).at[key] = (arguments.first != 0 ? 0.0 : Floats(address).at[key]) + sums[r * STEP + k];
            else if (BIAS_F32)
                Floats(address).at[key] = sums[r * STEP + k];
            else
                OutElements(address).at[key] = element_encode(sums[r * STEP + k]);
        }
    }
}

void main()
{
    uint tile = gl_WorkGroupID.x;
    uint last_key = min(TILE_ROWS, arguments.keys - tile * TILE_ROWS) - 1;
    uint at = 0;
    load_key_rows(tile, last_key);
    do {
        clear_sums();
        if (arguments.rows > 0 && arguments.batches > 0)
            add_heads(tile, last_key, at);
        if (BIAS_PER_QUERY) {
            [[unroll]] for (uint k = 0; k < STEP; k++)
                if (at + k < arguments.rows)
                    store_row(tile, last_key, at + k, k);
        } else {
            store_row(tile, last_key, 0, 0);
        }
        at += STEP;
    } while (BIAS_PER_QUERY && at < arguments.rows);
}
