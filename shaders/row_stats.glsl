/* SPDX-License-Identifier: MIT */
/*
 * What backward knows of a query row, [batch][heads][rows]:
 *
 *   x, y   the row's log-sum in base 2: exponent (softmax_exponent of its lse), and what that lost in rounding
 *   z      delta, the dot product of output and its gradient
 */

layout(buffer_reference, scalar, buffer_reference_align = 16) buffer RowStats {
    vec4 at[];
};

/* exp(score - lse): the weight that forward gave the pair, as score has the same bits. */
float pair_probability(float score, vec4 stats)
{
    precise float distance = score - stats.x;
    return exp2(distance - stats.y);
}
