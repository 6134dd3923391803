/* SPDX-License-Identifier: MIT */
/** Small problems with every option, for tests of the oracle. */
#ifndef VKRING_TESTS_ORACLE_PROBLEM_H
#define VKRING_TESTS_ORACLE_PROBLEM_H

#include <ref/reference.h>

/** Elements of the largest tensor here. */
enum { ORACLE_ROOM = 1024 };

/** Options whose inputs are tensors; others are in the problem. */
enum oracle_tensors {
    ORACLE_SEGMENT_IDS = 1,
    ORACLE_BIAS = 2,
    ORACLE_MASKING_BIAS = 4, /* a third of it is -inf, and all of row 1 */
    ORACLE_ALIBI = 8,
    ORACLE_SINKS = 16,
};

struct oracle_case {
    const char *name;
    struct reference_problem problem; /* sizes of 0 are those of the small problem; no pointers */
    unsigned tensors;                 /* enum oracle_tensors */
};

/** Every option by itself, in all its forms. */
extern const struct oracle_case oracle_cases[];
extern const int oracle_case_count;

/** Any options together on a smaller problem: one bit of index is one option. */
enum { ORACLE_COMBINATIONS = 256 };
struct oracle_case oracle_combination(int index);

/** Values are multiples of 2^-10 below 2^3, so that sums with multiples of it are exact in float. */
struct oracle_inputs {
    float query[ORACLE_ROOM], key[ORACLE_ROOM], value[ORACLE_ROOM], output_grad[ORACLE_ROOM], bias[ORACLE_ROOM];
    float alibi_slopes[16], sinks[16];
    int32_t query_segment_ids[64], key_segment_ids[64];
};

/** Allocates the inputs and lets the problem point to those it has; free() them. */
struct oracle_inputs *oracle_inputs_create(const struct oracle_case *c, struct reference_problem *out_problem);

uint64_t oracle_query_count(const struct reference_problem *problem);
uint64_t oracle_key_count(const struct reference_problem *problem);
uint64_t oracle_value_count(const struct reference_problem *problem);
uint64_t oracle_output_count(const struct reference_problem *problem);
uint64_t oracle_lse_count(const struct reference_problem *problem);

#endif
