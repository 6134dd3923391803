/* SPDX-License-Identifier: MIT */
/** The processes that work together: those that mpirun started, or this one alone. */
#ifndef VKRING_EXAMPLES_GROUP_H
#define VKRING_EXAMPLES_GROUP_H

#include <vkring/vkring.h>

struct group {
    const char *program; /**< its name, before what is printed */
    uint32_t rank;
    uint32_t size;
    uint32_t host_rank; /**< how many ranks of the same host come before this one */
    bool launched;      /**< by an MPI launcher, even if as the only rank */
    bool broken;        /**< a call in which ranks wait for each other failed: they may not be met again */
    char failure[640];  /**< one line; empty as long as all went well here */
};

/** Keeps the reason. Returns false. */
bool group_fail(struct group *group, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** The same, with what the library says about its last error. */
bool group_fail_vkring(struct group *group);

/**
 * Whether all went well on every rank. Collective.
 * If not, the first rank that failed has printed why. Where ranks can't be met again, each prints its own reason and ends all.
 */
bool group_agree(struct group *group);

/** Whether rank 0 could write what it printed; else it tells. Collective. */
bool group_wrote(struct group *group);

/** The sum, and the largest, of what the ranks give. Collective; a group of one gets its own value. */
double group_sum(const struct group *group, double value);
double group_most(const struct group *group, double value);

/** Starts MPI only under a launcher: alone, it may need what a bare machine lacks. A failure is in the group for group_agree to tell. */
void group_join(struct group *group, const char *program, int *argc, char ***argv);
void group_leave(const struct group *group);

/** Whether mpirun or the like started this process, by what it left in the environment. */
bool group_has_launcher(void);
_Noreturn void group_abort(void);

/** Null for one rank. Collective. */
enum vkring_status group_make_comm(const struct group *group, vkring_comm **out_comm);
/** Of the ranks that give the same colour, in their order; null where that is one. Collective. */
enum vkring_status group_make_part(const struct group *group, uint32_t colour, vkring_comm **out_comm);

/** Ranks of a host take its devices in turn, but none the CPU where another has a GPU. */
uint32_t group_choose_device(const struct group *group);

#endif
