/* SPDX-License-Identifier: MIT */
/** The command line of vkring attend. */
#ifndef VKRING_TOOLS_ATTEND_OPTIONS_H
#define VKRING_TOOLS_ATTEND_OPTIONS_H

#include "failure.h"
#include "file_kinds.h"

/** Of a problem without files; 0 where not given. */
struct problem_sizes {
    uint64_t batch, q_len, kv_len, heads, kv_heads, head_dim, value_dim;
};

struct attend_options {
    const char *files[FILE_KINDS]; /**< borrowed from argv; null for those that were not given */
    bool has_type;
    enum element_type type;
    bool causal;
    uint64_t causal_block;             /**< at least 1 */
    int64_t window_left, window_right; /**< -1 for unlimited */
    double softcap;                    /**< finite as an f32, >= 0 */
    double dropout;                    /**< >= 0 and < 1 */
    uint64_t seed;
    bool has_scale;
    double scale; /**< finite as an f32 */
    bool has_query_offset;
    int64_t query_offset;
    enum vkring_layout layout;
    double *shares; /**< each finite and >= 0, one above 0; null for equal ones */
    uint32_t share_count;
    bool measured_shares; /**< there are no shares then */
    bool has_device;
    uint32_t device;
    double timeout_seconds; /**< above 0 */
    bool quiet;
    bool help;                  /**< was asked for; the rest is then unchecked */
    struct problem_sizes sizes; /**< of other commands: here so that their options pose a problem */
};

/** argv[0] is the command's name. ranks is how many shares there must be. Free the options whatever is returned. */
bool attend_options_parse(struct attend_options *options, int argc, char **argv, uint32_t ranks, struct failure *failure);
void attend_options_free(struct attend_options *options);
/** The files that attention can't do without are given. */
bool attend_options_check_files(const struct attend_options *options, const char *command, struct failure *failure);

/** Whether gradients are wanted: those of --output-grad, and where to write one. */
static inline bool attend_options_backward(const struct attend_options *options)
{
    return options->files[FILE_OUTPUT_GRAD] != NULL;
}

extern const char attend_help[];

/** What the options say of sizes, type, mask and scores, for commands that pose a problem without files; the rest is 0. */
struct vkring_plan_params attend_options_problem(const struct attend_options *options);

#endif
