/* SPDX-License-Identifier: MIT */
/*
 * The running state of one row's softmax, in base 2: scores are multiplied by log2(e) once, with the scale.
 *
 *   maximum   a bound on the row's scores so far, exact to softmax_slack
 *   sum       of exp2(score - maximum) over the keys so far; 0: no key was kept yet
 *
 * The maximum of an empty row is a finite number, and keys that are not kept are left out by predicate: infinities never meet arithmetic.
 * Online softmax: Milakov & Gimelshein 2018.
 */

const float SCORE_NONE = -3.0e38;
const float LN_2 = 0.69314718055994530942;

/* How far scores may pass the maximum before the state is rescaled: exp2 of it must be far from overflow when summed. Exact, since any bound will do. */
const float softmax_slack = 6.0;

/* log of the sum of exp(score), natural; -inf for an empty row */
float softmax_lse(float maximum, float sum)
{
    return sum > 0.0 ? (maximum + log2(sum)) * LN_2 : uintBitsToFloat(0xff800000u);
}

float softmax_normaliser(float sum)
{
    return sum > 0.0 ? 1.0 / sum : 0.0;
}
