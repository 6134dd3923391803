/* SPDX-License-Identifier: MIT */
#version 460
/*
 * Adds to the gradient of a tile of query rows, in f32, what a block of keys gives, from the gradients of scores that key_gradient left. Lanes own
 * queries and walk over keys. No shared memory, no barrier.
 */
#extension GL_GOOGLE_include_directive : require
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

const uint SUM_QUADS = ROWS_PER_LANE * LANE_HEAD_QUADS;
#include "state.glsl"
#include "walk.glsl"
#include "query_rows.glsl"

uvec2 score_grads_address;
uint tile_of_rows, last_row_of_tile;

void walk_begin_block()
{
    clear_sums();
}

void walk_end_block(bool continues, bool stores)
{
    uvec2 address = tile_address(arguments.query_grad, tile_of_rows);
    uint stride = arguments.query_grad.row_stride.x / 4, slice = slice_of_lane();
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
        uint row = row_of(r);
        if (row <= last_row_of_tile) {
            [[unroll]] for (uint d = 0; d < LANE_HEAD_QUADS; d++)
                add_to_floats(address, row * stride, d * LANES_PER_ROW + slice, HEAD_DIM, sums[r * LANE_HEAD_QUADS + d] * arguments.scale);
        }
    }
}

void load_score_gradients(uint at, uint left, bool whole)
{
    uint stride = arguments.score_grad.row_stride.x / 4;
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
        [[unroll]] for (uint k = 0; k < STEP; k++) {
            uint key = at + k;
            float gradient = Floats(score_grads_address).at[key / TILE_ROWS * stride + row_of(r) * TILE_ROWS + key % TILE_ROWS];
            head_dot[r * STEP + k] = whole || key_is_kept(query_rows[r], at, k, left) ? gradient : 0.0;
        }
    }
}

void walk_step(uint at, uint left, bool whole)
{
    uvec2 address[STEP];
    [[unroll]] for (uint k = 0; k < STEP; k++)
        address[k] = row_address(walk_a, arguments.key.row_stride.x, k, left);
    load_score_gradients(at, left, whole);
    [[unroll]] for (uint d = 0; d < LANE_HEAD_QUADS; d++) {
        [[unroll]] for (uint k = 0; k < STEP; k++) {
            vec4 key = load_other_quad(k, address[k], d, HEAD_DIM);
            [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
                sums[r * LANE_HEAD_QUADS + d] = fma(vec4(head_dot[r * STEP + k]), key, sums[r * LANE_HEAD_QUADS + d]);
        }
    }
}

void main()
{
    tile_of_rows = query_tile();
    last_row_of_tile = min(TILE_ROWS, arguments.rows - tile_of_rows * TILE_ROWS) - 1;
    score_grads_address = address_add(head_address(arguments.score_grad, gl_WorkGroupID.y), tile_of_rows * TILE_ROWS * TILE_ROWS * 4);
    load_query_rows(tile_of_rows, last_row_of_tile);
    walk(walk_of_queries(tile_of_rows, last_row_of_tile), false, false);
}
