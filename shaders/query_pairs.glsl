/* SPDX-License-Identifier: MIT */
/* What backward makes of the pairs of query rows that a lane owns. */

vec4 stats[ROWS_PER_LANE];

void load_stats(uint tile, uint last_row)
{
    uvec2 address = tile_address(arguments.row_stats, tile);
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
        stats[r] = RowStats(address).at[min(row_of(r), last_row)];
}

/* Turns the scores of row slot r, in head_dot[], into gradients of the dot products, but for the scale. */
void score_gradients(uint r, uint at, float derivatives[STEP])
{
    uint dropped = DROPOUT ? dropped_keys(r, at) : 0;
    [[unroll]] for (uint k = 0; k < STEP; k++) {
        uint i = r * STEP + k;
        float gradient = value_dot[i];
        if (DROPOUT)
            gradient = (dropped & (1u << k)) != 0 ? 0.0 : gradient * arguments.dropout_scale;
        gradient = pair_probability(head_dot[i], stats[r]) * (gradient - stats[r].z);
        head_dot[i] = SOFTCAP ? gradient * derivatives[k] : gradient;
    }
}
