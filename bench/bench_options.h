/* SPDX-License-Identifier: MIT */
/** The command line of vkring-bench. */
#ifndef VKRING_BENCH_OPTIONS_H
#define VKRING_BENCH_OPTIONS_H

#include "../tools/failure.h"
#include "bench_case.h"

#define BENCH_REPEATS_MAX 1000u

struct bench_options {
    bool help, list;
    bool peak;           /* measure that, and no case */
    bool feedforward;    /* the same */
    bool cache;          /* the same */
    const char *pattern; /* null: all that are not long */
    uint32_t repeats;
    bool has_device;
    uint32_t device;
    bool no_validate, quiet;
    const char *csv, *json;
    double *shares; /* of each rank; null: equal, or measured */
    uint32_t share_count;
    bool measured_shares;
    enum vkring_layout layout;
    bool own; /* a problem of the command line instead of the table's */
    struct vkring_plan_params problem;
};

extern const char bench_help[];

/** ranks is how many shares there must be. Free the options whatever is returned. */
bool bench_options_parse(int argc, char **argv, uint32_t ranks, struct bench_options *out_options, struct failure *failure);
void bench_options_free(struct bench_options *options);

#endif
