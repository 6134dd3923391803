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
    INPUTS_MAGNITUDES, /* rows of unlike magnitudes, far beyond the range of f16 */
    INPUTS_KINDS
};

enum case_segments {
    SEGMENTS_SORTED,   /* runs of rows of one id, rising; queries take theirs from the keys at their position */
    SEGMENTS_UNSORTED, /* four ids in any order */
    SEGMENTS_DISJOINT, /* no query has the id of any key */
    SEGMENTS_NEGATIVE, /* as sorted, but falling from -1 to INT32_MIN */
    SEGMENTS_EQUAL,    /* all have one id */
    SEGMENTS_KINDS
};

/** What of a bias of normal values is -inf. */
enum case_bias {
    BIAS_FINITE,
    BIAS_MASKS_SOME, /* a fifth of it */
    BIAS_MASKS_ROWS, /* of each three queries one; without per_query the first half of the keys */
    BIAS_MASKS_ALL,
    BIAS_KINDS
};

enum case_gradient { GRADIENT_QUERY, GRADIENT_KEY, GRADIENT_VALUE, GRADIENT_BIAS, GRADIENT_SINKS, GRADIENTS };

struct attention_case {
    const char *name; /* may be null */
    uint64_t seed;
    struct vkring_plan_params params;
    enum case_inputs inputs;
    enum case_segments segments;
    enum case_bias bias;
    struct tensor_placement placement; /* of all tensors */
    bool no_lse;                       /* not with backward */
    bool no_residuals;                 /* lse_residual and output_residual are not given */
    unsigned unwanted;                 /* bit g: backward is not asked for gradient g */
    char again[96];                    /* settings that repeat a random one, for whoever sees it fail */
};

void case_print(const struct attention_case *c);
/** Prints a line and the case; returns false. */
bool case_complain(const struct attention_case *c, const char *format, ...);

/** Whole inputs, packed, rounded to their types; and what the oracle makes of them. Null: the case has none of it. */
struct case_data {
    float *query, *key, *value;
    int32_t *query_segment_ids, *key_segment_ids;
    float *bias; /* [batch or 1][heads or 1][q_len or 1][kv_len] */
    float *alibi_slopes, *sinks;
    float *output_grad;
    uint64_t seed;        /* of dropout */
    double *output, *lse; /* null until case_refer; and so on */
    double *gradients[GRADIENTS];
    double gradient_sizes[GRADIENTS]; /* see struct reference_term_sizes */
};

bool case_make_data(const struct attention_case *c, struct case_data *out_data);
/** The oracle's answer for a rank's query rows; with backward, for all, and all of the gradients. */
bool case_refer(const struct attention_case *c, struct case_data *data, const struct vkring_rank_rows *rows);
/** Ranks that run the same cases in step, and what replaces numbers by their sums over all ranks. */
struct case_ranks {
    uint32_t rank, count;
    void (*sum)(double *values, uint64_t count);
};
/** From now on, and for as long as ranks lives, each rank computes its share of what case_refer gives with backward. */
void case_share_reference(const struct case_ranks *ranks);
void case_free_data(struct case_data *data);

/** What a rank got: its own rows, packed. */
struct case_result {
    struct vkring_plan_info info;
    struct vkring_run_stats stats;
    float *output; /* [batch][query_rows][heads][value_dim] */
    float *lse;    /* [batch][heads][query_rows]; all NaN if not wanted */
    /* of the rank's rows, packed; that of a bias is packed as the bias is; null if not wanted */
    float *gradients[GRADIENTS];
};

void case_free_result(struct case_result *result);
uint64_t case_output_count(const struct attention_case *c, const struct case_result *result);
uint64_t case_lse_count(const struct attention_case *c, const struct case_result *result);

/**
 * Makes a plan and runs it once on tensors full of poison: forward, and backward if the plan is for it. Checks that inputs and canaries are
 * as they were. An unexpected status of the plan or the run is a failure.
 */
bool case_run(const struct attention_case *c, vkring_device *device, vkring_comm *comm, const struct case_data *data,
              struct case_result *out_result);
/** The same with a plan that is there already. */
bool case_run_plan(const struct attention_case *c, vkring_device *device, vkring_plan *plan, const struct case_data *data,
                   struct case_result *out_result);

/** The same in parts, for tests of what goes on between them: tensors on a device, for runs of a plan. */
struct case_session;
/** Null where that failed. c and data are borrowed. */
struct case_session *case_open(const struct attention_case *c, vkring_device *device, vkring_plan *plan, const struct case_data *data);
/** vkring_forward_start or vkring_backward_start. */
enum vkring_status case_start(const struct case_session *session, bool backward);
/** Once no run uses its tensors, unless out_result is null: checks and takes what runs wrote. Frees the session; accepts null. */
bool case_close(struct case_session *session, struct case_result *out_result);

/** Errors of the rank's rows against data's reference, which must cover them. */
struct case_errors {
    struct error_measure output;
    double lse;
    struct error_measure gradients[GRADIENTS]; /* of those that are wanted */
};
bool case_measure(const struct attention_case *c, const struct case_data *data, const struct case_result *result,
                  struct case_errors *out_errors);
/** Measures, and applies the gates. */
bool case_judge(const struct attention_case *c, const struct case_data *data, const struct case_result *result);

/** Everything: data, run, oracle, judgement. */
bool case_passes(const struct attention_case *c, vkring_device *device, vkring_comm *comm);

/** Whether two results are the same, bit for bit. */
bool case_same_bits(const struct attention_case *c, const struct case_result *a, const struct case_result *b);

/** Whether a device runs it: 16 bits need storage of them. */
bool case_is_supported(const struct attention_case *c, bool has_16bit);

/** So many random cases from a multiple of it on have the same kernels. */
#define CASES_OF_KERNELS 5u

/**
 * Case `index` of an endless list of small ones: any options beside any others.
 * ranks > 1 also cuts rows unevenly into rows_room[2 * ranks].
 */
struct attention_case case_random(uint64_t seed, uint64_t index, uint32_t ranks, uint64_t *rows_room);

#endif
