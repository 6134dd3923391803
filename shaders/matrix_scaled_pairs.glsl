/* SPDX-License-Identifier: MIT */
/* What gradients add to their sums of pairs that lanes have. Those of scores cancel in sums: they go in two parts, as good as f32. */

/* Adds the products of what lanes have of all pairs and staged rows of a tensor to sums from `first` on, `width` along a row. */
void add_scaled_pairs(uint scale, bool exact, vec4 pairs[LANE_QUADS], uint first, uint width, uint tensor)
{
    bool rescale = false;
    if (looks_at_pairs()) {
        [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
            [[unroll]] for (uint i = 0; i < LANE_STEPS; i++)
                pairs[r * LANE_STEPS + i] = factors_of(tensor, i * LANES_PER_ROW + slice_of_lane(), pairs[r * LANE_STEPS + i]);
            rescale = scale_pairs(scale, r, 1.0, pairs) || rescale;
        }
    }
    add_pairs(exact, rescale, pairs, first, width, tensor == HEAD_TENSOR ? STAGED_HEAD : STAGED_VALUE,
              tensor == HEAD_TENSOR ? HEAD_STRIDE : VALUE_STRIDE);
}
