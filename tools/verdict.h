/* SPDX-License-Identifier: MIT */
/** How all ranks come to one exit status, and to one line on standard error. */
#ifndef VKRING_TOOLS_VERDICT_H
#define VKRING_TOOLS_VERDICT_H

#include "ranks.h"

/** What a rank tells the others of its failure. */
struct verdict_record {
    int32_t status; /* enum exit_status */
    int32_t of_peer;
    int32_t told;      /* that it is this rank that failed others */
    int32_t shows_bar; /* on the terminal where the line is to appear */
    uint32_t message_hash;
};

struct verdict {
    enum exit_status status;
    uint32_t speaker;   /**< the rank that prints its message; VKRING_NONE where nothing failed */
    bool names_speaker; /**< not every rank says the same */
    uint32_t silent;    /**< the first rank that did not answer, or VKRING_NONE */
    bool over_bar;
};

/**
 * The lowest rank with a failure of its own speaks; without one, the lowest that saw another rank fail; without one, the lowest that was
 * told of itself; without one, where a rank is silent, the lowest that is not. Depends only on what arrived: all ranks that heard the same come to the same.
 */
struct verdict verdict_reach(const struct verdict_record *records, const bool *arrived, uint32_t size);

/**
 * Collective. Every rank brings its failure, or none; all get the same exit status, and if it is not EXIT_STATUS_DONE one of them has
 * printed one line and the temporary files of the clean-up list are gone. No later call but ranks_finish then.
 */
enum exit_status verdict_agree(struct ranks *ranks, const struct failure *mine, bool shows_bar);

/** ranks_exchange that describes a failure. Only where all ranks of the last verdict were fine. */
bool verdict_gather(struct ranks *ranks, const void *mine, size_t bytes, void *all, struct failure *failure);

/** One thing that all ranks must have alike. */
struct verdict_field {
    const char *name;
    uint64_t value; /* or a hash of it */
};

#define VERDICT_FIELDS_MAX 40

/** Collective. Fails, alike on all ranks, with the name of the first field that some rank has unlike rank 0. */
bool verdict_compare(struct ranks *ranks, const struct verdict_field *fields, uint32_t count, struct failure *failure);

/** FNV-1a. */
uint64_t verdict_hash(const void *data, size_t bytes);

#endif
