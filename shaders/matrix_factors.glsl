/* SPDX-License-Identifier: MIT */
/*
 * Factors of staged rows that lanes make, through shared memory that only the team of a row touches: written by lanes and read as matrices.
 * Lanes own rows as in other kernels; a lane looks at every LANES_PER_ROW-th quad of a step. Factors of a row are where its products were.
 */

const uint REST = WALK_STEP / 8; /* where in a row what rounding left of its factors is, in octets */

/* Of the team's rows, for the k-th MATRIX_K of staged rows. */
void load_factors(out ROWS_MATRIX factor[ROW_TILES], uint k, uint part)
{
    [[unroll]] for (uint t = 0; t < ROW_TILES; t++)
        coopMatLoad(factor[t], products, (team_row() + t * MATRIX_M) * PRODUCT_STRIDE + part + k * (MATRIX_K / 8), PRODUCT_STRIDE,
                    gl_CooperativeMatrixLayoutRowMajor);
}

/* As add_products_of, of factors in two parts. */
void add_products_of_both(ROWS_MATRIX factor[ROW_TILES], ROWS_MATRIX rest[ROW_TILES], uint k, uint first, uint width, uint staged_other, uint stride)
{
    [[unroll]] for (uint n = 0; n < width; n++) {
        if (part_apart(n)) {
            COLUMNS_MATRIX other;
            LOAD_COLUMNS(other, k, column_part() * width + n, staged_other, stride);
            [[unroll]] for (uint t = 0; t < ROW_TILES; t++)
                if (part_apart(SUM_WIDTH + t)) {
                    SUMS_MATRIX sum = coopMatMulAdd(factor[t], other, sums[t * SUM_WIDTH + first + n]);
                    sums[t * SUM_WIDTH + first + n] = coopMatMulAdd(rest[t], other, sum);
                }
        }
    }
}

/* Adds to sums from `first` on, `width` along a row: factors times staged rows. */
void add_factors(bool exact, uint first, uint width, uint staged_other, uint stride)
{
    uint k = 0;
    [[dont_unroll]] do {
        ROWS_MATRIX factor[ROW_TILES], rest[ROW_TILES];
        load_factors(factor, k, 0);
        if (exact) {
            load_factors(rest, k, REST);
            add_products_of_both(factor, rest, k, first, width, staged_other, stride);
        } else {
            add_products_of(factor, k, first, width, staged_other, stride);
        }
        k++;
    } while (k < WALK_STEP / MATRIX_K);
}

/* Of subgroups that do not look at pairs: else compilers would keep those of the step before. */
void clear_pairs(out vec4 pairs[LANE_QUADS])
{
    [[unroll]] for (uint i = 0; i < LANE_QUADS; i++)
        pairs[i] = vec4(0);
}

void store_factor(uint row, uint part, uint quad, f16vec4 factor)
{
    vec2 bits = uintBitsToFloat(uvec2(packFloat2x16(factor.xy), packFloat2x16(factor.zw)));
    uint octet = row * PRODUCT_STRIDE + part + quad / 2;
    if (quad % 2 == 0)
        products[octet].xy = bits;
    else
        products[octet].zw = bits;
}

/* What lanes have of all pairs, as factors: rounded, or exact: their leading bits, and what these leave. */
void store_factors(bool exact, vec4 pairs[LANE_QUADS])
{
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
        [[unroll]] for (uint i = 0; i < LANE_STEPS; i++) {
            vec4 pair = pairs[r * LANE_STEPS + i], stored = exact ? leading_bits(pair) : pair;
            uint quad = i * LANES_PER_ROW + slice_of_lane();
            store_factor(row_of(r), 0, quad, f16vec4(stored));
            if (exact)
                store_factor(row_of(r), REST, quad, f16vec4(pair - stored));
        }
}

/*
 * Adds the products of pairs and staged rows to sums from `first` on, `width` along a row. exact: in two parts, as good as f32. rescale: on any lane,
 * sums are first multiplied by row_factors[]. Lanes of a row, which are of one subgroup, have looked at its products.
 */
void add_pairs(bool exact, bool rescale, vec4 pairs[LANE_QUADS], uint first, uint width, uint staged_other, uint stride)
{
    meet_subgroup();
    if (looks_at_pairs())
        store_factors(exact, pairs);
    if (meet_and_ask(rescale))
        scale_sums(first, width);
    add_factors(exact, first, width, staged_other, stride);
}
