/* SPDX-License-Identifier: MIT */
/** One fault and what came of it, in memory that the campaign and its ranks share. */
#ifndef VKRING_TESTS_FAULT_JOB_H
#define VKRING_TESTS_FAULT_JOB_H

#include "../harness/attention_case.h"
#include "wire.h"

enum fault_call { CALL_CREATE, CALL_FORWARD, CALL_BACKWARD, FAULT_CALLS };

struct call_report {
    bool made;
    struct vkring_error error; /* all zeros if it succeeded */
    double begin, end;         /* by clock_seconds */
    uint32_t hash;             /* of what it wrote, if it succeeded */
};

struct rank_report {
    atomic_bool done;
    struct call_report calls[FAULT_CALLS];
    double plan_destroy_seconds, comm_destroy_seconds;
    uint64_t live_requests; /* when plan and communicator were gone */
    struct wire_counts counts;
    uint64_t device_calls; /* of Vulkan, in the run that meets the fault */
    uint64_t allocations;  /* while the plan is made */
    bool right;            /* of a reference: against float64 */
};

struct fault_job {
    struct wire_net net;
    uint32_t ranks;
    enum vkring_layout layout;
    bool backward;
    uint64_t kv_len, chunk_bytes;
    double timeout_seconds;
    bool at_create;    /* the fault is armed while the plan is made; else once a run went well */
    bool is_reference; /* no fault: results are also compared with float64 */
    struct rank_report reports[WIRE_RANKS];
};

/** How many calls each rank makes, if all goes well. */
static inline int fault_calls(const struct fault_job *job)
{
    return job->backward ? FAULT_CALLS : CALL_BACKWARD;
}

/** The problem of a job. */
struct attention_case fault_case(const struct fault_job *job);

/** How the ranks of a job talk: one communicator at a time. */
struct fault_transport {
    /** Of the job's ranks. The fault waits until arm. */
    enum vkring_status (*open)(uint32_t rank, vkring_comm **out_comm);
    /** Counts from here. */
    void (*arm)(void);
    struct wire_counts (*count)(void);
    /** Requests of a rank that are neither done nor given up. */
    uint64_t (*live_requests)(uint32_t rank);
    /** Waits until what was late is on its way. */
    void (*settle)(void);
};

/** Runs the job as a rank, and reports. */
void fault_rank_serve(struct fault_job *job, uint32_t rank, vkring_device *device, const struct fault_transport *transport);

#endif
