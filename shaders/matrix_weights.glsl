/* SPDX-License-Identifier: MIT */
/* Forward: from products of queries and keys to weights of values, by lanes. */

void begin_weights()
{
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
        sum[r] = 0;
}

void finish_weights()
{
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
        [[unroll]] for (uint apart = 1; apart < LANES_PER_ROW; apart *= 2)
            sum[r] += subgroupShuffleXor(sum[r], apart);
}

/* The scores of row slot r and their bound, which all lanes of the row then know. */
void find_scores(uint r, uint at, uint left, bool whole, out vec4 scores[LANE_STEPS], out float highest)
{
    highest = SCORE_NONE;
    [[unroll]] for (uint i = 0; i < LANE_STEPS; i++) {
        uint quad = i * LANES_PER_ROW + slice_of_lane();
        float derivatives[STEP];
        vec4 dots = dots_of(HEAD_TENSOR, r, quad);
        [[unroll]] for (uint k = 0; k < STEP; k++)
            head_dot[r * STEP + k] = dots[k];
        finish_scores(r, at + 4 * quad, left_from(quad, left), whole, derivatives);
        [[unroll]] for (uint k = 0; k < STEP; k++) {
            scores[i][k] = head_dot[r * STEP + k];
            highest = max(highest, scores[i][k]);
        }
    }
    [[unroll]] for (uint apart = 1; apart < LANES_PER_ROW; apart *= 2)
        highest = max(highest, subgroupShuffleXor(highest, apart));
}

/* Turns scores of row slot r into weights exp2(score - maximum). */
void find_weights(uint r, uint at, vec4 scores[LANE_STEPS], inout vec4 all_weights[LANE_QUADS])
{
    [[unroll]] for (uint i = 0; i < LANE_STEPS; i++) {
        uint quad = i * LANES_PER_ROW + slice_of_lane();
        vec4 weights = exp2(scores[i] - maximum[r]);
        sum[r] += (weights.x + weights.y) + (weights.z + weights.w);
        if (DROPOUT) {
            uint dropped = dropped_keys(r, at + 4 * quad);
            weights = mix(weights, vec4(0), notEqual(uvec4(dropped) & uvec4(1, 2, 4, 8), uvec4(0)));
        }
        all_weights[r * LANE_STEPS + i] = factors_of(VALUE_TENSOR, quad, weights);
    }
}

/* Whether sums must be rescaled, by row_factors[], since the maximum grew. */
bool weigh_keys(uint at, uint left, bool whole, out vec4 weights[LANE_QUADS])
{
    bool grows = false;
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
        vec4 scores[LANE_STEPS];
        float highest, shrink = 1.0;
        find_scores(r, at, left, whole, scores, highest);
        if (maximum_grows(highest, maximum[r])) {
            shrink = maximum_shrinks(highest, maximum[r]);
            maximum[r] = highest - WEIGHT_HEADROOM;
            sum[r] *= shrink;
            grows = true;
        }
        find_weights(r, at, scores, weights);
        if (HAS_MAGNITUDES)
            grows = scale_pairs(0, r, shrink, weights) || grows;
        else if (tells_of_rows())
            row_factors[row_of(r)] = shrink;
    }
    return grows;
}

void walk_step(uint at, uint left, bool whole)
{
    vec4 weights[LANE_QUADS];
    clear_pairs(weights);
    stage_step(left);
    multiply_own(0, HEAD_DEPTH, STAGED_OWN_HEAD, STAGED_HEAD, HEAD_STRIDE);
    meet_team();
    bool grows = false;
    if (looks_at_pairs())
        grows = weigh_keys(at, left, whole, weights);
    add_pairs(EXACT_WEIGHTS, grows, weights, 0, SUM_WIDTH, STAGED_VALUE, VALUE_STRIDE);
}
