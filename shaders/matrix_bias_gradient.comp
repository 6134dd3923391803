/* SPDX-License-Identifier: MIT */
#version 460
/*
 * The gradient of a bias for a tile of keys on matrix units: what bias_gradient.comp computes, past what no key of the tile keeps by position.
 * Teams of subgroups own keys; queries and gradients of outputs of a step are staged for all of them. Shared memory and barriers: see matrix.glsl.
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
#include "mask.glsl"
#include "segments.glsl"
#include "score.glsl"
#include "dropout.glsl"
#include "row_stats.glsl"
#include "walk.glsl"
#define OWN_STAGED (TILE_ROWS * (HEAD_STRIDE + VALUE_STRIDE))
#include "matrix.glsl"
#include "matrix_stage.glsl"
#include "key_rows.glsl"
#define OWN_MATRICES (OWN_TILES * (HEAD_DEPTH + VALUE_DEPTH))
#include "matrix_rows.glsl"
#include "matrix_dots.glsl"

vec4 pair_sums[LANE_QUADS];                          /* of a step's pairs, over heads and batch entries */
float key_sums[ROWS_PER_LANE], block[ROWS_PER_LANE]; /* of the rows that the lane looked at; of those since the block began */

/* The head and batch entry whose keys and values the teams hold. */
uint held_head, held_batch;

void clear_sums()
{
    [[unroll]] for (uint i = 0; i < LANE_QUADS; i++)
        pair_sums[i] = vec4(0);
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
        key_sums[r] = 0;
}

void hold_keys(uint tile, uint last_key, uint batch, uint head)
{
    Rows key = arguments.key, value = arguments.value;
    if (head == held_head && batch == held_batch)
        return;
    key.address = rows_address(key, batch, head);
    value.address = rows_address(value, batch, head);
    key.batch_stride = key.head_stride = value.batch_stride = value.head_stride = uvec2(0);
    load_own(key, tile, last_key, 0, HEAD_DEPTH, STAGED_OWN_HEAD, HEAD_STRIDE, HEAD_DIM, HEAD_TENSOR);
    load_own(value, tile, last_key, OWN_TILES * HEAD_DEPTH, VALUE_DEPTH, STAGED_OWN_VALUE, VALUE_STRIDE, VALUE_DIM, VALUE_TENSOR);
    held_head = head;
    held_batch = batch;
}

/* Of the lane's i-th quad of rows: each pair's gradient to its own sum, or all of a key to one. */
void add_quad(uint i)
{
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
        [[unroll]] for (uint k = 0; k < STEP; k++) {
            if (BIAS_PER_QUERY)
                pair_sums[r * LANE_STEPS + i][k] += bias_gradient[r * STEP + k];
            else
                block[r] += bias_gradient[r * STEP + k];
        }
}

/* The step of rows from `at` on, of the query head and the batch entry at hand. */
void add_step(uint at)
{
    vec4 dots[LANE_QUADS];
    uint left = arguments.rows - at;
    walk_a = address_advance(rows_address(arguments.query, query_batch, query_head), arguments.query.row_stride, at);
    walk_b = address_advance(rows_address(arguments.output_grad, query_batch, query_head), arguments.output_grad.row_stride, at);
    walk_a_stride = arguments.query.row_stride.x;
    walk_b_stride = arguments.output_grad.row_stride.x;
    stage_step(left);
    multiply_own(0, HEAD_DEPTH, STAGED_OWN_HEAD, STAGED_HEAD, HEAD_STRIDE);
    meet_team();
    take_products(dots);
    meet_team();
    multiply_own(OWN_TILES * HEAD_DEPTH, VALUE_DEPTH, STAGED_OWN_VALUE, STAGED_VALUE, VALUE_STRIDE);
    meet_team();
    [[unroll]] for (uint i = 0; i < LANE_STEPS; i++) {
        uint quad = i * LANES_PER_ROW + slice_of_lane();
        [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
            find_dots(r, i, dots);
        find_pair_gradients(at + 4 * quad, left_from(quad, left), false);
        add_quad(i);
    }
}

/* All rows, first … end - 1; at least one. */
void add_rows(uint first, uint end)
{
    uint at = first;
    [[dont_unroll]] do {
        uint block_end = min(at + BLOCK_ROWS, end);
        [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
            block[r] = 0;
        [[dont_unroll]] do {
            add_step(at);
            at += WALK_STEP;
        } while (at < block_end);
        [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
            key_sums[r] += block[r];
    } while (at < end);
}

/* What heads and batch entries that share a bias give: to the step of rows from `first` on, or to the sum over rows first … end - 1. */
void add_heads(uint tile, uint last_key, uint first, uint end)
{
    uint batches = BIAS_PER_BATCH ? 1 : arguments.batches, heads = BIAS_PER_HEAD ? 1 : arguments.heads;
    uint first_batch = BIAS_PER_BATCH ? gl_WorkGroupID.z : 0, first_head = BIAS_PER_HEAD ? arguments.first_head + gl_WorkGroupID.y : 0;
    uint i = 0;
    [[dont_unroll]] do {
        uint batch = first_batch + i / heads, head = first_head + i % heads;
        hold_keys(tile, last_key, batch, head / arguments.heads_per_kv_head);
        choose_query_head(batch, head);
        if (BIAS_PER_QUERY)
            add_step(first);
        else
            add_rows(first, end);
        i++;
    } while (i < batches * heads);
}

uvec2 bias_grad_address(uint row)
{
    uvec2 head = head_address(arguments.bias_grad, BIAS_PER_HEAD ? arguments.first_head + gl_WorkGroupID.y : 0);
    return address_advance(head, arguments.bias_grad.row_stride, row);
}

/* Of the step of rows from `at` on. */
void store_pairs(uint tile, uint last_key, uint at)
{
    uvec2 address = bias_grad_address(at);
    uint stride = arguments.bias_grad.row_stride.x / (BIAS_F32 ? 4 : ELEMENT_BYTES);
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
        [[unroll]] for (uint i = 0; i < LANE_STEPS; i++)
            [[unroll]] for (uint k = 0; k < STEP; k++) {
                uint row = 4 * (i * LANES_PER_ROW + slice_of_lane()) + k;
                uint element = row * stride + bias_column(tile * TILE_ROWS + row_of(r));
                if (row_of(r) > last_key || at + row >= arguments.rows)
                    continue;
                if (BIAS_F32)
                    Floats(address).at[element] = pair_sums[r * LANE_STEPS + i][k];
                else
                    OutElements(address).at[element] = element_encode(pair_sums[r * LANE_STEPS + i][k]);
            }
}

/* Of all rows, to what an earlier dispatch left. */
void store_keys(uint tile, uint last_key)
{
    uvec2 address = bias_grad_address(0);
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
        uint key = tile * TILE_ROWS + row_of(r);
        float sum = key_sums[r];
        [[unroll]] for (uint apart = 1; apart < LANES_PER_ROW; apart *= 2)
            sum += subgroupShuffleXor(sum, apart);
        if (row_of(r) <= last_key && slice_of_lane() == 0)
            Floats(address).at[key] = (arguments.first != 0 ? 0.0 : Floats(address).at[key]) + sum;
    }
}

void main()
{
    uint tile = gl_WorkGroupID.x, at = 0;
    hide_zero();
    uint last_key = min(TILE_ROWS, arguments.keys - tile * TILE_ROWS) - 1;
    uint first = BAND ? uint(band_first(int(tile * TILE_ROWS), arguments.rows)) : 0;
    uint end = BAND ? uint(band_end(int(tile * TILE_ROWS + last_key), arguments.rows)) : arguments.rows;
    end = arguments.batches > 0 ? end : 0;
    held_head = held_batch = 0xffffffffu;
    load_key_rows(tile, last_key);
    [[dont_unroll]] do {
        clear_sums();
        if (first < end && (!BIAS_PER_QUERY || (at + WALK_STEP > first && at < end)))
            add_heads(tile, last_key, BIAS_PER_QUERY ? at : first, end);
        if (BIAS_PER_QUERY)
            store_pairs(tile, last_key, at);
        else
            store_keys(tile, last_key);
        at += WALK_STEP;
    } while (BIAS_PER_QUERY && at < arguments.rows);
}
