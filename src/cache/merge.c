/* SPDX-License-Identifier: MIT */
#include "merge.h"

#include <math.h>
#include <string.h>

#define LOG2_E 1.44269504088896340736
#define LN_2 0.69314718055994530942

static void encode(double log_sum, float out_sum[2])
{
    out_sum[0] = (float)log_sum;
    out_sum[1] = isfinite(out_sum[0]) ? (float)(log_sum - out_sum[0]) : 0;
}

/* As softmax_exponent in softmax.glsl: the product is rounded before the residual is added. */
void merge_encode_sum(float lse, float residual, float out_sum[2])
{
    const float exponent = lse * (float)LOG2_E;
    encode((double)exponent + residual, out_sum);
}

float merge_lse(const float sum[2])
{
    return (float)(((double)sum[0] + sum[1]) * LN_2);
}

/* to + weight · (other - to), for weights up to a half: exact where both are the same, or the weight is 0. */
static void move(uint64_t value_dim, float *into, const float *to, const float *other, float weight)
{
    for (uint64_t i = 0; i < value_dim; i++)
        into[i] = fmaf(weight, other[i] - to[i], to[i]);
}

static void merge(uint64_t value_dim, float *into, const float *from)
{
    float *sum = into + value_dim;
    const float *other = from + value_dim;
    if (other[0] == -INFINITY)
        return;
    if (sum[0] == -INFINITY) {
        memcpy(into, from, (size_t)merge_record_floats(value_dim) * sizeof(*into));
        return;
    }
    const double gap = ((double)other[0] - sum[0]) + ((double)other[1] - sum[1]);
    const double odds = exp2(-fabs(gap)); /* of the lesser one */
    const double larger = gap > 0 ? (double)other[0] + other[1] : (double)sum[0] + sum[1];
    const float weight = (float)(odds / (1 + odds));
    if (gap > 0)
        move(value_dim, into, from, into, weight);
    else
        move(value_dim, into, into, from, weight);
    encode(larger + log1p(odds) * LOG2_E, sum);
}

void merge_records(uint64_t value_dim, float *into, const float *from, uint64_t records)
{
    const uint64_t floats = merge_record_floats(value_dim);
    for (uint64_t i = 0; i < records; i++)
        merge(value_dim, into + i * floats, from + i * floats);
}
