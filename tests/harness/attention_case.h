/* SPDX-License-Identifier: MIT */
/**
 * One attention problem with its inputs and how they lie in memory: run through the public API on this rank, and judged by the oracle.
 * Functions that return bool have said what is wrong, with the case, on standard error when they return false.
 */
#ifndef VKRING_TESTS_ATTENTION_CASE_H
#define VKRING_TESTS_ATTENTION_CASE_H

#include <ref/compare.h>

#include "tensor_image.h"

enum case_inputs {
    INPUTS_NORMAL,
    INPUTS_HEAVY_TAIL,
    INPUTS_BIG_LOGITS, /* scores to about 1e5 */
    INPUTS_HUGE_KEY,   /* one key a hundred times the others */
    INPUTS_BLOCK_GAPS, /* blocks of 16 keys with scores 200 apart, in a scattered order */
    INPUTS_ONE_HOT,    /* every query picks one key: the output is its value, exactly */
    INPUTS_VALUES_ONE, /* every value is 1: so is every output */
    INPUTS_KINDS
};

struct attention_case {
    const char *name; /* may be null */
    uint64_t seed;
    struct vkring_plan_params params;
    enum case_inputs inputs;
    struct tensor_placement placement; /* of all tensors */
    bool no_lse;
};

void case_print(const struct attention_case *c);
/** Prints a line and the case; returns false. */
bool case_complain(const struct attention_case *c, const char *format, ...);

/** Whole inputs, packed, rounded to the type; and what the oracle makes of the rows asked for. */
struct case_data {
    float *query, *key, *value;
    double *output, *lse; /* null until case_refer */
};

bool case_make_data(const struct attention_case *c, struct case_data *out_data);
/** The oracle's answer for query rows [first, first + rows). */
bool case_refer(const struct attention_case *c, struct case_data *data, uint64_t first, uint64_t rows);
void case_free_data(struct case_data *data);

/** What a rank got: its own rows, packed. */
struct case_result {
    struct vkring_plan_info info;
    struct vkring_run_stats stats;
    float *output; /* [batch][query_rows][heads][value_dim] */
    float *lse;    /* [batch][heads][query_rows]; all NaN if not wanted */
};

void case_free_result(struct case_result *result);
uint64_t case_output_count(const struct attention_case *c, const struct case_result *result);
uint64_t case_lse_count(const struct attention_case *c, const struct case_result *result);

/**
 * Makes a plan and runs it once on tensors full of poison. Checks that inputs and canaries are as they were.
 * An unexpected status of the plan or the run is a failure.
 */
bool case_run(const struct attention_case *c, vkring_device *device, vkring_comm *comm, const struct case_data *data,
              struct case_result *out_result);
/** The same with a plan that is there already. */
bool case_run_plan(const struct attention_case *c, vkring_device *device, vkring_plan *plan, const struct case_data *data,
                   struct case_result *out_result);

/** Errors of the rank's rows against data's reference, which must cover them. */
struct case_errors {
    struct error_measure output;
    double lse;
};
bool case_measure(const struct attention_case *c, const struct case_data *data, const struct case_result *result,
                  struct case_errors *out_errors);
/** Measures, and applies the gates. */
bool case_judge(const struct attention_case *c, const struct case_data *data, const struct case_result *result);

/** Everything: data, run, oracle, judgement. */
bool case_passes(const struct attention_case *c, vkring_device *device, vkring_comm *comm);

/** Whether two results are the same, bit for bit. */
bool case_same_bits(const struct attention_case *c, const struct case_result *a, const struct case_result *b);

/** Case `index` of an endless list of small ones; ranks > 1 also cuts rows unevenly into rows_room[2 * ranks]. */
struct attention_case case_random(uint64_t seed, uint64_t index, uint32_t ranks, uint64_t *rows_room);

#endif
