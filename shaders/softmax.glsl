/* SPDX-License-Identifier: MIT */
/*
 * The running state of one row's softmax, in base 2: scores are multiplied by log2(e) once, with the scale.
 *
 *   maximum   a bound on the row's scores so far, exact to softmax_slack
 *   sum       of exp2(score - maximum) over the keys so far; 0: no key was kept yet
 *
 * The maximum of an empty row is a finite number, SCORE_NONE: infinities never meet arithmetic.
 * Online softmax: Milakov & Gimelshein 2018.
 */

/* How far scores may pass the maximum before the state is rescaled: exp2 of it must be far from overflow when summed. Exact, since any bound will do. */
const float softmax_slack = 6.0;

/* A finished row. */
struct SoftmaxRow {
    float normaliser; /* 1 / sum; 0 for an empty row */
    float shrink;     /* what a sink leaves of the sums */
    float lse;        /* log of the sum of exp(score), natural; -inf for an empty row */
    float residual;   /* base 2: what lse lost when it was rounded; softmax_exponent(lse) + residual is the row's log-sum */
};

/* The base-2 log-sum that scores are measured against, as far as lse knows it; beyond: how far alibi moved all scores of the row. */
float softmax_exponent(float lse, float beyond)
{
    precise float exponent = lse * LOG2_E;
    exponent = exponent + beyond;
    return lse < SCORE_NONE ? -SCORE_NONE : exponent; /* an empty row: any score's weight is 0 */
}

/* sink: natural; only with SINKS. Where it is the greatest, lse follows from it, whatever moved the scores is. */
SoftmaxRow softmax_finish(float maximum, float sum, float sink, float beyond)
{
    SoftmaxRow row;
    float moved = SINKS ? fma(sink, LOG2_E, beyond) : 0.0; /* as the scores are */
    bool leads = SINKS && moved > SCORE_NONE && moved >= maximum;
    row.shrink = 1.0;
    if (SINKS && moved > SCORE_NONE) {
        float highest = max(maximum, moved);
        row.shrink = exp2(maximum - highest);
        sum = fma(sum, row.shrink, exp2(moved - highest));
        maximum = highest;
    }
    bool empty = !(sum > 0.0);
    precise float log_sum = maximum + log2(empty ? 1.0 : sum);
    precise float lse = leads ? fma(log2(empty ? 1.0 : sum), LN_2, sink) : (log_sum - beyond) * LN_2;
    row.normaliser = empty ? 0.0 : 1.0 / sum;
    row.lse = empty ? uintBitsToFloat(0xff800000u) : lse;
    precise float distance = maximum - softmax_exponent(row.lse, beyond);
    distance = distance + log2(empty ? 1.0 : sum);
    row.residual = empty ? 0.0 : distance;
    return row;
}
