/* SPDX-License-Identifier: MIT */
/*
 * Factors in f16 of more range than f16 has: each own row has a power of two that they are multiplied by, as they may be larger than its largest number,
 * and are mostly far smaller than its smallest. The sums have it too, until a block ends. SCALES: how many kinds of factors there are.
 */

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

/*
 * Scales row slot r of a lane so that it fits; shrink: what was added to sums so far is to be multiplied by it, which leaves room for larger factors.
 * Whether sums must be rescaled: by row_factors[], once the subgroup has met.
 */
bool scale_pairs(uint scale, uint r, float shrink, inout vec4 pairs[LANE_QUADS])
{
    float largest = 0.0, before = row_scales[scale * ROWS_PER_LANE + r], now = min(before / shrink, FIRST_SCALE);
    [[unroll]] for (uint i = 0; i < LANE_STEPS; i++)
        largest = max(largest, largest_of(pairs[r * LANE_STEPS + i]));
    [[unroll]] for (uint apart = 1; apart < LANES_PER_ROW; apart *= 2)
        largest = max(largest, subgroupShuffleXor(largest, apart));
    if (largest * now > LARGEST_FACTOR)
        now = exp2(FACTOR_EXPONENT - ceil(log2(largest)));
    row_scales[scale * ROWS_PER_LANE + r] = now;
    if (tells_of_rows())
        row_factors[row_of(r)] = shrink * now / before;
    [[unroll]] for (uint i = 0; i < LANE_STEPS; i++)
        pairs[r * LANE_STEPS + i] *= now;
    return shrink * now != before;
}

/* Takes the scale out of sums from `first` on, `width` along a row. */
void unscale_sums(uint scale, uint first, uint width)
{
    meet_team();
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
        if (tells_of_rows())
            row_factors[row_of(r)] = 1.0 / row_scales[scale * ROWS_PER_LANE + r];
    meet_team();
    scale_sums(first, width);
}
