/* SPDX-License-Identifier: MIT */
/* The two dot products of a pair that gradients are made of, from products[]: one after the other, as only one has room there. */

/* Those of rows of head_dim, into registers. */
void take_products(out vec4 dots[LANE_QUADS])
{
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
        [[unroll]] for (uint i = 0; i < LANE_STEPS; i++)
            dots[r * LANE_STEPS + i] = dots_of(HEAD_TENSOR, r, i * LANES_PER_ROW + slice_of_lane());
}

/* Row slot r with the lane's i-th quad of the step: those that were taken, and those of rows of value_dim in products[]. */
void find_dots(uint r, uint i, vec4 dots[LANE_QUADS])
{
    vec4 values = dots_of(VALUE_TENSOR, r, i * LANES_PER_ROW + slice_of_lane());
    [[unroll]] for (uint k = 0; k < STEP; k++) {
        head_dot[r * STEP + k] = dots[r * LANE_STEPS + i][k];
        value_dot[r * STEP + k] = values[k];
    }
}
