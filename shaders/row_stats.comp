/* SPDX-License-Identifier: MIT */
#version 460
/* The statistics of query rows that backward needs. No shared memory, no barrier. */
#extension GL_GOOGLE_include_directive : require
#include "extensions.glsl"
#include "address.glsl"
#include "element.glsl"
#include "arguments.glsl"
#include "constants.glsl"
#include "positions.glsl"
#include "tile.glsl"
#include "score.glsl"
#include "softmax.glsl"
#include "row_stats.glsl"

float delta[ROWS_PER_LANE];

#ifndef TYPE_F32
/* What the output lost is part of it. */
void add_rounding(uint tile, uint last_row, uint slice)
{
    uvec2 residuals = tile_address(arguments.output_residual, tile), grads = tile_address(arguments.output_grad, tile);
    uint residual_stride = arguments.output_residual.row_stride.x / ELEMENT_BYTES;
    uint grad_stride = arguments.output_grad.row_stride.x / ELEMENT_BYTES;
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
        uint row = min(row_of(r), last_row);
        [[unroll]] for (uint d = 0; d < LANE_VALUE_QUADS; d++) {
            uint quad = d * LANES_PER_ROW + slice;
            delta[r] = add_products(delta[r], load_own_quad(residuals, row * residual_stride, quad, VALUE_DIM),
                                    load_own_quad(grads, row * grad_stride, quad, VALUE_DIM));
        }
    }
}
#endif

void find_deltas(uint tile, uint last_row, uint slice)
{
    uvec2 outputs = tile_address(arguments.outputs, tile), grads = tile_address(arguments.output_grad, tile);
    uint output_stride = arguments.outputs.row_stride.x / ELEMENT_BYTES, grad_stride = arguments.output_grad.row_stride.x / ELEMENT_BYTES;
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
        uint row = min(row_of(r), last_row);
        delta[r] = 0;
        [[unroll]] for (uint d = 0; d < LANE_VALUE_QUADS; d++) {
            uint quad = d * LANES_PER_ROW + slice;
            delta[r] = add_products(delta[r], load_own_quad(outputs, row * output_stride, quad, VALUE_DIM),
                                    load_own_quad(grads, row * grad_stride, quad, VALUE_DIM));
        }
    }
#ifndef TYPE_F32
    if (is_there(arguments.output_residual))
        add_rounding(tile, last_row, slice);
#endif
#ifndef NO_SHUFFLE
    [[unroll]] for (uint apart = 1; apart < LANES_PER_ROW; apart *= 2)
        [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
            delta[r] += subgroupShuffleXor(delta[r], apart);
#endif
}

void main()
{
    uint tile = gl_WorkGroupID.x, slice = slice_of_lane();
    uint last_row = min(TILE_ROWS, arguments.rows - tile * TILE_ROWS) - 1;
    bool has_residual = is_there(arguments.lse_residual);
    uvec2 lse = address_add(head_address(arguments.lse, gl_WorkGroupID.y), tile * TILE_ROWS * 4);
    uvec2 residual = has_residual ? address_add(head_address(arguments.lse_residual, gl_WorkGroupID.y), tile * TILE_ROWS * 4) : lse;
    uvec2 stats = tile_address(arguments.row_stats, tile);
    float slope = score_slope(arguments.first_head + gl_WorkGroupID.y);
    find_deltas(tile, last_row, slice);
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
        uint row = row_of(r);
        if (row <= last_row && slice == 0) {
            float beyond = ALIBI ? slope * alibi_beyond(int(tile * TILE_ROWS + row)) : 0.0;
            float lost = has_residual ? Floats(residual).at[row] : 0.0;
            RowStats(stats).at[row] = vec4(softmax_exponent(Floats(lse).at[row], beyond), lost, delta[r], 0.0);
        }
    }
}
