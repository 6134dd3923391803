/* SPDX-License-Identifier: MIT */
/*
 * The gates themselves: a clean blocked computation in f32 passes them, and each defect that a ring is prone to turns them red.
 * The computation is what kernels do: keys come in blocks, and maximum, sum and output are carried from one to the next.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <base/half.h>
#include <ref/compare.h>
#include <ref/random_input.h>
#include <ref/reference.h>

#include "../harness/suite.h"

enum { ROWS = 48, KEYS = 256, DIM = 32, BLOCK = 8, BLOCKS = KEYS / BLOCK };

enum defect {
    CLEAN,
    STATE_IN_BF16,
    STATE_IN_F16,
    BLOCK_SKIPPED,
    BLOCK_MERGED_TWICE,
    CAUSAL_ONE_TOO_MANY,
    CAUSAL_ONE_TOO_FEW,
    LSE_IN_BASE_2,
    LAST_KEY_LOST,
    DEFECTS
};

struct row_state {
    float maximum, sum;
    float output[DIM];
};

struct inputs {
    float query[ROWS * DIM], key[KEYS * DIM], value[KEYS * DIM];
};

struct result {
    float output[ROWS * DIM];
    float lse[ROWS];
};

struct verdict {
    bool output_passes, lse_passes;
};

static float narrowed(enum defect defect, float value)
{
    if (defect == STATE_IN_BF16)
        return f32_from_bf16(bf16_from_f32(value));
    if (defect == STATE_IN_F16)
        return f32_from_f16(f16_from_f32(value));
    return value;
}

static void narrow_state(enum defect defect, struct row_state *state)
{
    state->sum = narrowed(defect, state->sum);
    for (int d = 0; d < DIM; d++)
        state->output[d] = narrowed(defect, state->output[d]);
}

static void merge_key(struct row_state *state, float score, const float *value)
{
    float maximum = fmaxf(state->maximum, score);
    float shrink = expf(state->maximum - maximum);
    float weight = expf(score - maximum);
    state->maximum = maximum;
    state->sum = state->sum * shrink + weight;
    for (int d = 0; d < DIM; d++)
        state->output[d] = state->output[d] * shrink + weight * value[d];
}

static void merge_block(struct row_state *state, const struct inputs *in, int row, int block, int kept)
{
    for (int j = block * BLOCK; j < (block + 1) * BLOCK && j < kept; j++) {
        float score = 0;
        for (int d = 0; d < DIM; d++)
            score += in->query[row * DIM + d] * in->key[j * DIM + d];
        merge_key(state, score / sqrtf(DIM), in->value + j * DIM);
    }
}

static int kept_keys(enum defect defect, bool causal, int row)
{
    int kept = causal ? row + KEYS - ROWS + 1 : KEYS;
    if (defect == LAST_KEY_LOST)
        return kept - 1;
    if (causal && defect == CAUSAL_ONE_TOO_MANY)
        return kept + 1 > KEYS ? KEYS : kept + 1;
    return causal && defect == CAUSAL_ONE_TOO_FEW ? kept - 1 : kept;
}

static void attend_row(enum defect defect, bool causal, const struct inputs *in, int row, struct result *result)
{
    struct row_state state = {.maximum = -3e38f};
    int kept = kept_keys(defect, causal, row);
    for (int block = 0; block < BLOCKS; block++) {
        if (defect == BLOCK_SKIPPED && block == BLOCKS / 2)
            continue;
        merge_block(&state, in, row, block, kept);
        if (defect == BLOCK_MERGED_TWICE && block == BLOCKS / 2)
            merge_block(&state, in, row, block, kept);
        narrow_state(defect, &state);
    }
    for (int d = 0; d < DIM; d++)
        result->output[row * DIM + d] = state.output[d] / state.sum;
    result->lse[row] = state.maximum + (defect == LSE_IN_BASE_2 ? log2f(state.sum) : logf(state.sum));
}

static void round_to_type(enum vkring_type type, float *values, uint64_t count)
{
    void *narrow = malloc(count * sizeof(float));
    ck_assert_ptr_nonnull(narrow);
    vkring_convert_from_f32(type, values, count, narrow);
    vkring_convert_to_f32(type, narrow, count, values);
    free(narrow);
}

static void make_inputs(enum vkring_type type, struct inputs *in)
{
    random_fill(11, RANDOM_NORMAL, 1, 0, ROWS * DIM, in->query);
    random_fill(12, RANDOM_NORMAL, 1, 0, KEYS * DIM, in->key);
    random_fill(13, RANDOM_NORMAL, 1, 0, KEYS * DIM, in->value);
    round_to_type(type, in->query, ROWS * DIM);
    round_to_type(type, in->key, KEYS * DIM);
    round_to_type(type, in->value, KEYS * DIM);
}

static struct verdict judge(enum vkring_type type, bool causal, enum defect defect)
{
    static struct inputs in;
    static struct result result;
    static double output[ROWS * DIM], lse[ROWS];
    struct reference_problem problem = {.batch = 1,
                                        .q_len = ROWS,
                                        .kv_len = KEYS,
                                        .heads = 1,
                                        .kv_heads = 1,
                                        .head_dim = DIM,
                                        .value_dim = DIM,
                                        .causal = causal,
                                        .query_offset = KEYS - ROWS,
                                        .scale = 1 / sqrt(DIM)};
    make_inputs(type, &in);
    ck_assert(reference_forward(&problem, in.query, in.key, in.value, 0, ROWS, output, lse));
    for (int row = 0; row < ROWS; row++)
        attend_row(defect, causal, &in, row, &result);
    round_to_type(type, result.output, ROWS * DIM);
    struct error_gate gate = forward_gate(type);
    struct error_measure error = error_measure(result.output, output, ROWS * DIM);
    return (struct verdict){gate_passes(&gate, &error), lse_error(result.lse, lse, ROWS) <= LSE_GATE};
}

/* Which gate a defect must turn red; a state that is narrower than f32 must show even where the output is as narrow. */
static void check_defect(enum vkring_type type, bool causal, enum defect defect)
{
    struct verdict verdict = judge(type, causal, defect);
    bool concerns_causal = defect == CAUSAL_ONE_TOO_MANY || defect == CAUSAL_ONE_TOO_FEW;
    if (defect == CLEAN || (concerns_causal && !causal))
        ck_assert_msg(verdict.output_passes && verdict.lse_passes, "type %d, causal %d, defect %d fails", type, causal, defect);
    else
        ck_assert_msg(!verdict.lse_passes, "type %d, causal %d, defect %d passes the gate of lse", type, causal, defect);
    if (defect == BLOCK_SKIPPED || defect == BLOCK_MERGED_TWICE || defect == LAST_KEY_LOST || defect == STATE_IN_BF16 ||
        (concerns_causal && causal) || (defect == STATE_IN_F16 && type != VKRING_TYPE_BF16))
        ck_assert_msg(!verdict.output_passes, "type %d, causal %d, defect %d passes the gate of the output", type, causal, defect);
}

START_TEST(every_defect_turns_a_gate_red)
{
    for (int type = VKRING_TYPE_F32; type <= VKRING_TYPE_BF16; type++)
        for (int causal = 0; causal <= 1; causal++)
            for (int defect = CLEAN; defect < DEFECTS; defect++)
                check_defect((enum vkring_type)type, causal != 0, (enum defect)defect);
}
END_TEST

START_TEST(measures_by_hand)
{
    const double reference[4] = {3, -3, 3, -3};
    const float result[4] = {3, -3, 3.3f, -3};
    struct error_measure error = error_measure(result, reference, 4);
    ck_assert(error.finite);
    ck_assert_double_eq_tol(error.rms, 0.05, 1e-7);
    ck_assert_double_eq_tol(error.maximum, 0.1, 1e-7);
    /* an element far above the RMS is measured by itself */
    const double uneven[4] = {100, 0, 0, 0};
    const float below[4] = {99, 0, 0, 0};
    error = error_measure(below, uneven, 4);
    ck_assert_double_eq_tol(error.rms, 0.01, 1e-12);
    ck_assert_double_eq_tol(error.maximum, 0.01, 1e-12);
    const double zeros[2] = {0, 0};
    const float nearly[2] = {0.25f, 0};
    error = error_measure(nearly, zeros, 2);
    ck_assert_double_eq(error.maximum, 0.25);
    error = error_measure(nearly, zeros, 0);
    ck_assert(error.finite);
    ck_assert_double_eq(error.rms, 0);
}
END_TEST

START_TEST(nan_and_infinity_never_pass)
{
    const double reference[3] = {1, 2, 3};
    const float poisons[] = {NAN, INFINITY, -INFINITY};
    const struct error_gate wide = {.rms = 1e30, .maximum = 1e30};
    for (int i = 0; i < 3; i++) {
        float result[3] = {1, poisons[i], 3};
        struct error_measure error = error_measure(result, reference, 3);
        ck_assert(!error.finite);
        ck_assert(!gate_passes(&wide, &error));
        ck_assert(isinf(lse_error(result, reference, 3)));
    }
}
END_TEST

START_TEST(lse_of_empty_rows_must_match)
{
    const double reference[3] = {-INFINITY, 100, 0.5};
    const float right[3] = {-INFINITY, 100.001f, 0.5f};
    const float huge[3] = {-3e38f, 100, 0.5f};
    const float wrong_sign[3] = {INFINITY, 100, 0.5f};
    ck_assert_double_eq_tol(lse_error(right, reference, 3), 1e-5, 1e-6);
    ck_assert(isinf(lse_error(huge, reference, 3)));
    ck_assert(isinf(lse_error(wrong_sign, reference, 3)));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gates");
    suite_add(suite, "defects", every_defect_turns_a_gate_red);
    suite_add(suite, "measures", measures_by_hand);
    suite_add(suite, "measures", nan_and_infinity_never_pass);
    suite_add(suite, "measures", lse_of_empty_rows_must_match);
    return suite_run(suite);
}
