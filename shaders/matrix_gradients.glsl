/* SPDX-License-Identifier: MIT */
/*
 * Factors of gradients in f16. Those of scores cancel in sums: they go in two parts, as good as f32. Each own row has a power of two that its factors are multiplied by: gradients may be larger than the largest number of
 * f16, and are mostly far smaller than its smallest. The sums have it too, until a block ends. SCALES: how many kinds of factors there are.
 */

const float LARGEST_FACTOR = 32768.0;
const float FACTOR_EXPONENT = 9.0;      /* of the largest of a step that sets a row's scale: later ones may be larger */
const float FIRST_SCALE = 1.2676506e30; /* 2^100: only what f16 could not hold changes it */

float row_scales[SCALES * ROWS_PER_LANE];

void clear_scales()
{
    [[unroll]] for (uint i = 0; i < SCALES * ROWS_PER_LANE; i++)
        row_scales[i] = FIRST_SCALE;
}

float largest_of(vec4 a)
{
    return max(max(abs(a.x), abs(a.y)), max(abs(a.z), abs(a.w)));
}

/* Scales row slot r of a lane so that it fits. Whether sums must be rescaled: by row_factors[], once the subgroup has met. */
bool scale_pairs(uint scale, uint r, inout vec4 pairs[LANE_QUADS])
{
    float largest = 0.0, before = row_scales[scale * ROWS_PER_LANE + r], now = before;
    [[unroll]] for (uint i = 0; i < LANE_STEPS; i++)
        largest = max(largest, largest_of(pairs[r * LANE_STEPS + i]));
    [[unroll]] for (uint apart = 1; apart < LANES_PER_ROW; apart *= 2)
        largest = max(largest, subgroupShuffleXor(largest, apart));
    if (largest * before > LARGEST_FACTOR)
        now = exp2(FACTOR_EXPONENT - ceil(log2(largest)));
    row_scales[scale * ROWS_PER_LANE + r] = now;
    if (slice_of_lane() == 0)
        row_factors[row_of(r)] = now / before;
    [[unroll]] for (uint i = 0; i < LANE_STEPS; i++)
        pairs[r * LANE_STEPS + i] *= now;
    return now != before;
}

/* Adds the products of what lanes have of all pairs and staged rows to sums from `first` on, `width` along a row. */
void add_scaled_pairs(uint scale, bool exact, vec4 pairs[LANE_QUADS], uint first, uint width, uint staged_other, uint stride)
{
    bool rescale = false;
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
        rescale = scale_pairs(scale, r, pairs) || rescale;
    add_pairs(exact, rescale, pairs, first, width, staged_other, stride);
}

/* Takes the scale out of sums from `first` on, `width` along a row. */
void unscale_sums(uint scale, uint first, uint width)
{
    meet_subgroup();
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
        if (slice_of_lane() == 0)
            row_factors[row_of(r)] = 1.0 / row_scales[scale * ROWS_PER_LANE + r];
    meet_subgroup();
    scale_sums(first, width);
}

void meet_state(bool continues, bool stores)
{
    if (continues)
        add_state(false);
    if (stores)
        store_state();
}

/* The products of the step in registers, so that others can take their place. */
void take_products(out vec4 dots[LANE_QUADS])
{
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
        [[unroll]] for (uint i = 0; i < LANE_STEPS; i++)
            dots[r * LANE_STEPS + i] = product_of(r, i * LANES_PER_ROW + slice_of_lane());
}
