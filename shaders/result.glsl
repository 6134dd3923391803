/* SPDX-License-Identifier: MIT */
/* What forward writes of rows whose keys have all been seen: output, lse, and what both lost in rounding. */

/* Of the row slots of a lane; sums[] is the output. */
float maximum[ROWS_PER_LANE];
float sum[ROWS_PER_LANE];

#ifndef TYPE_F32
/* What a row of the output loses. */
void store_rounding(uint r, uint tile, uint row, float factor)
{
    uvec2 address = tile_address(arguments.output_residual, tile);
    uint first = row_index(arguments.output_residual, packed_head_of(r), row, ELEMENT_BYTES), slice = slice_of_lane();
    [[unroll]] for (uint d = 0; d < LANE_VALUE_QUADS; d++) {
        vec4 values = sums[r * LANE_VALUE_QUADS + d] * factor;
        store_quad(address, first, d * LANES_PER_ROW + slice, VALUE_DIM, values - quad_decode(quad_encode(values)));
    }
}
#endif

void store_result(uint tile, uint last_row)
{
    uint slice = slice_of_lane();
    uvec2 address = tile_address(arguments.outputs, tile);
    uvec2 lse = tile_address(arguments.lse, tile), residual = tile_address(arguments.lse_residual, tile);
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
        uint row = row_of(r);
        if (row <= last_row) {
            uint head = arguments.first_head + own_head_index() + packed_head_of(r);
            uint first = row_index(arguments.outputs, packed_head_of(r), row, ELEMENT_BYTES);
            float beyond = ALIBI ? score_slope(head) * alibi_beyond(int(tile * TILE_ROWS + row)) : 0.0;
            float sink = SINKS ? Floats(arguments.sinks).at[head] : 0.0;
            SoftmaxRow finished = softmax_finish(maximum[r], sum[r], sink, beyond);
            float factor = finished.shrink * finished.normaliser;
            if (DROPOUT)
                factor *= arguments.dropout_scale;
            [[unroll]] for (uint d = 0; d < LANE_VALUE_QUADS; d++)
                store_quad(address, first, d * LANES_PER_ROW + slice, VALUE_DIM, sums[r * LANE_VALUE_QUADS + d] * factor);
            if (slice == 0 && is_there(arguments.lse))
                Floats(lse).at[row_index(arguments.lse, packed_head_of(r), row, 4)] = finished.lse;
            if (slice == 0 && is_there(arguments.lse_residual))
                Floats(residual).at[row_index(arguments.lse_residual, packed_head_of(r), row, 4)] = finished.residual;
#ifndef TYPE_F32
            if (is_there(arguments.output_residual))
                store_rounding(r, tile, row, factor);
#endif
        }
    }
}
