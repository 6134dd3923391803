/* SPDX-License-Identifier: MIT */
/*
 * Factors of staged rows that lanes make, through shared memory that only the team of a row touches: written by lanes and read as matrices.
 * Lanes own rows as in other kernels; a lane looks at every LANES_PER_ROW-th quad of a step.
 */

const uint FACTOR_STRIDE = WALK_STEP / 8 + 1; /* in octets */

shared uvec4 factors[TILE_ROWS * FACTOR_STRIDE];

/* Adds to sums from `first` on, `width` along a row: factors[] times staged rows. */
void add_factors(uint first, uint width, uint staged_other, uint stride)
{
    uint k = 0;
    [[dont_unroll]] do {
        ROWS_MATRIX factor[ROW_TILES];
        [[unroll]] for (uint t = 0; t < ROW_TILES; t++)
            coopMatLoad(factor[t], factors, (team_row() + t * MATRIX_M) * FACTOR_STRIDE + k * (MATRIX_K / 8), FACTOR_STRIDE,
                        gl_CooperativeMatrixLayoutRowMajor);
        add_products_of(factor, k, first, width, staged_other, stride);
        k++;
    } while (k < WALK_STEP / MATRIX_K);
}

/* Of subgroups that do not look at pairs: else compilers would keep those of the step before. */
void clear_pairs(out vec4 pairs[LANE_QUADS])
{
    [[unroll]] for (uint i = 0; i < LANE_QUADS; i++)
        pairs[i] = vec4(0);
}

void store_factor(uint row, uint quad, f16vec4 factor)
{
    uvec2 bits = uvec2(packFloat2x16(factor.xy), packFloat2x16(factor.zw));
    uint octet = row * FACTOR_STRIDE + quad / 2;
    if (quad % 2 == 0)
        factors[octet].xy = bits;
    else
        factors[octet].zw = bits;
}

/* What lanes have of all pairs, into factors[]: rounded, or their leading bits while the others stay. */
void store_factors(bool leading, inout vec4 pairs[LANE_QUADS])
{
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
        [[unroll]] for (uint i = 0; i < LANE_STEPS; i++) {
            vec4 pair = pairs[r * LANE_STEPS + i], stored = leading ? leading_bits(pair) : pair;
            store_factor(row_of(r), i * LANES_PER_ROW + slice_of_lane(), f16vec4(stored));
            pairs[r * LANE_STEPS + i] = pair - stored;
        }
}

/*
 * Adds the products of pairs and staged rows to sums from `first` on, `width` along a row. exact: in two parts, as good as f32. rescale: on any lane,
 * sums are first multiplied by row_factors[].
 */
void add_pairs(bool exact, bool rescale, vec4 pairs[LANE_QUADS], uint first, uint width, uint staged_other, uint stride)
{
    if (looks_at_pairs())
        store_factors(exact, pairs);
    if (meet_and_ask(rescale))
        scale_sums(first, width);
    add_factors(first, width, staged_other, stride);
    if (exact) {
        meet_team();
        if (looks_at_pairs())
            store_factors(false, pairs);
        meet_team();
        add_factors(first, width, staged_other, stride);
    }
}
