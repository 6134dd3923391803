/* SPDX-License-Identifier: MIT */
/* Merging of partial results: exact where it can be, and as float64 says elsewhere, in any order of their log-sums. */
#include <cache/merge.h>
#include <math.h>
#include <ref/random_input.h>
#include <string.h>

#include "../harness/suite.h"

enum { DIM = 5, FLOATS = DIM + 2, PARTS = 7 };

/* A part with the given log-sum, natural. */
static void make_part(uint64_t seed, double lse, float part[FLOATS])
{
    random_fill(seed, RANDOM_NORMAL, 1, 0, DIM, part);
    const float rounded = (float)lse;
    const float rest = isfinite(lse) ? (float)(lse / M_LN2 - (double)(rounded * (float)M_LOG2E)) : 0;
    merge_encode_sum(rounded, rest, part + DIM);
}

/* A row's output and lse from all parts, in float64. */
static void expect(const float parts[][FLOATS], int count, double *out_output, double *out_lse)
{
    double highest = -INFINITY, sum = 0;
    for (int i = 0; i < count; i++)
        highest = fmax(highest, (double)parts[i][DIM] + parts[i][DIM + 1]);
    memset(out_output, 0, DIM * sizeof(*out_output));
    for (int i = 0; i < count && highest > -INFINITY; i++) {
        const double weight = exp2((double)parts[i][DIM] - highest + parts[i][DIM + 1]);
        sum += weight;
        for (int d = 0; d < DIM; d++)
            out_output[d] += weight * parts[i][d];
    }
    for (int d = 0; d < DIM && sum > 0; d++)
        out_output[d] /= sum;
    *out_lse = highest > -INFINITY ? (highest + log2(sum)) * M_LN2 : -INFINITY;
}

static void assert_merges(const float parts[][FLOATS], int count)
{
    float merged[PARTS][FLOATS];
    double output[DIM], lse;
    expect(parts, count, output, &lse);
    memcpy(merged, parts, (size_t)count * sizeof(merged[0]));
    for (int distance = 1; distance < count; distance *= 2) /* as ranks do */
        for (int i = 0; i + distance < count; i += 2 * distance)
            merge_records(DIM, merged[i], merged[i + distance], 1);
    for (int d = 0; d < DIM; d++)
        ck_assert_msg(fabs(merged[0][d] - output[d]) <= 1e-6, "%g, not %g", merged[0][d], output[d]);
    const float its = merge_lse(merged[0] + DIM);
    ck_assert_msg(its == (float)lse || fabs(its - lse) <= 1.2e-7 * fabs(lse), "lse %.9g, not %.9g", its, lse);
}

START_TEST(many_parts_make_what_float64_makes)
{
    const double offsets[] = {0, 3, -50, 1e5, -1e5, 12345.678};
    for (size_t o = 0; o < sizeof(offsets) / sizeof(offsets[0]); o++)
        for (uint64_t seed = 0; seed < 50; seed++) {
            float parts[PARTS][FLOATS], lses[PARTS];
            random_fill(1000 + seed, RANDOM_NORMAL, seed % 2 ? 1.0f : 30.0f, 0, PARTS, lses);
            for (uint64_t i = 0; i < PARTS; i++)
                make_part(seed * PARTS + i, offsets[o] + (double)lses[i], parts[i]);
            assert_merges((const float(*)[FLOATS])parts, 1 + (int)(seed % PARTS));
        }
}
END_TEST

START_TEST(gaps_of_200_leave_the_larger_one_alone)
{
    for (int order = 0; order < 2; order++) {
        float parts[2][FLOATS], before[2][FLOATS];
        make_part(1, order ? 200 : 0, parts[0]);
        make_part(2, order ? 0 : 200, parts[1]);
        parts[0][0] = 3e7f; /* would swallow a difference */
        memcpy(before, parts, sizeof(before));
        merge_records(DIM, parts[0], parts[1], 1);
        ck_assert(memcmp(parts[0], before[order ? 0 : 1], sizeof(parts[0])) == 0);
    }
}
END_TEST

START_TEST(nothing_is_the_identity)
{
    float something[FLOATS], nothing[FLOATS] = {NAN, 1, INFINITY, 0, 5}, into[FLOATS];
    make_part(3, 1.5, something);
    merge_encode_sum(-INFINITY, 0, nothing + DIM);
    memcpy(into, something, sizeof(into));
    merge_records(DIM, into, nothing, 1);
    ck_assert(memcmp(into, something, sizeof(into)) == 0);
    memcpy(into, nothing, sizeof(into));
    merge_records(DIM, into, something, 1);
    ck_assert(memcmp(into, something, sizeof(into)) == 0);

    float both[FLOATS] = {0};
    merge_encode_sum(-INFINITY, 0, both + DIM);
    merge_records(DIM, both, both, 1);
    ck_assert(both[0] == 0 && merge_lse(both + DIM) == -INFINITY);
}
END_TEST

START_TEST(equal_outputs_stay_what_they_are)
{
    for (int gap = -30; gap <= 30; gap++) {
        float parts[2][FLOATS] = {{1, 0.1f, -7, 1e-30f, 3}, {1, 0.1f, -7, 1e-30f, 3}}, before[FLOATS];
        memcpy(before, parts[0], sizeof(before));
        merge_encode_sum(0.3f, 0, parts[0] + DIM);
        merge_encode_sum(0.3f + (float)gap / 2, 0, parts[1] + DIM);
        merge_records(DIM, parts[0], parts[1], 1);
        ck_assert(memcmp(parts[0], before, DIM * sizeof(float)) == 0);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("merge");
    suite_add(suite, "merge", many_parts_make_what_float64_makes);
    suite_add(suite, "merge", gaps_of_200_leave_the_larger_one_alone);
    suite_add(suite, "merge", nothing_is_the_identity);
    suite_add(suite, "merge", equal_outputs_stay_what_they_are);
    return suite_run(suite);
}
