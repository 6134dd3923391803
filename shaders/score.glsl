/* SPDX-License-Identifier: MIT */
/*
 * From a dot product to a score in base 2: scale, softcap, alibi, bias. The same operations in the same order in every kernel, none of them
 * contracted: backward must find the bits that forward had.
 */

const float SCORE_NONE = -3.0e38;   /* the maximum of no scores */
const float SCORE_MASKED = -3.3e38; /* of a pair that is not kept: exp2 of its distance from any maximum is 0 */
const float SCORE_LEAST = -2.9e38;  /* of one that is */

/*
 * Cody & Waite's split: a polynomial (of Cephes, Moshier 1992) where 1 - 2 / (exp(2x) + 1) would cancel. The derivative is 1 - tanh², which cancels
 * where tanh is near 1; with r = 1 / (exp(2x) + 1) it is 4 r (1 - r), and beyond 43 less than f32 holds.
 */
float score_tanh(float x, out float out_derivative)
{
    float a = abs(x), z = x * x;
    float p = fma(fma(fma(fma(-5.70498872745e-3, z, 2.06390887954e-2), z, -5.37397155531e-2), z, 1.33314422036e-1), z, -3.33332819422e-1);
    float rest = 1.0 / (exp2(min(a, 43.0) * (2.0 * LOG2_E)) + 1.0), large = fma(-2.0, rest, 1.0), small = fma(x * z, p, x);
    out_derivative = a < 0.625 ? fma(-small, small, 1.0) : (a < 43.0 ? 4.0 * rest * (1.0 - rest) : 0.0);
    return a < 0.625 ? small : (x < 0.0 ? -large : large);
}

float score_slope(uint head)
{
    return ALIBI ? Floats(arguments.slopes).at[head] * LOG2_E : 0.0;
}

/* Where row i lies as keys do, counted from key 0; if beyond all keys of the sequence, at the nearest. */
int alibi_position(int row)
{
    return clamp(query_place(row) + arguments.alibi_diagonal, arguments.alibi_low, arguments.alibi_high);
}

/* How far row i lies beyond the nearest key. Scores leave it out, as softmax does not see it; lse and sinks do. */
float alibi_beyond(int row)
{
    return float(abs(query_place(row) + arguments.alibi_diagonal - alibi_position(row))) + arguments.alibi_far;
}

bool bias_masks(float bias)
{
    return floatBitsToUint(bias) == 0xff800000u;
}

float bias_load(uvec2 address, uint index)
{
    return BIAS_F32 ? Floats(address).at[index] : element_decode(Elements(address).at[index]);
}

/* distance: of the pair, for alibi. out_derivative: of softcap. */
float score_of(float dot, float slope, int distance, float bias, out float out_derivative)
{
    precise float score = dot * arguments.dot_scale;
    out_derivative = 1.0;
    if (SOFTCAP)
        score = score_tanh(score, out_derivative) * arguments.softcap;
    if (ALIBI) {
        precise float behind = slope * float(distance);
        score = score - behind;
    }
    if (BIAS) {
        precise float more = bias * LOG2_E;
        score = max(score + more, SCORE_LEAST);
    }
    return score;
}
