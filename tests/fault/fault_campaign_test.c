/* SPDX-License-Identifier: MIT */
/*
 * Random faults, one after another, in rings of processes: PROGRAM [COUNT [FIRST [SEED]]]
 *
 * Of each fault: every survivor returns within its deadline and a second, with an error that names the culprit, or with the bits of a run
 * without fault; and cleaning up takes no time.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <base/clock.h>
#include <base/status.h>

#include "../harness/dice.h"
#include "fault_ranks.h"

enum { LAYOUTS = VKRING_LAYOUT_AUTO, TAG_AGREE = 1, TAG_HEADER };
static const double unasked_seconds = 90; /* of a campaign that was given no count: then what is left is left out */
/* A rank that is told while it compiles kernels for a new plan learns of it afterwards. */
static const double late_seconds = 1, late_at_creation_seconds = 20, clean_seconds = 1;

/* What a job without fault gave. */
struct reference {
    bool there;
    uint32_t hashes[WIRE_RANKS][FAULT_CALLS];
    struct wire_counts counts[WIRE_RANKS];
    uint64_t device_calls[WIRE_RANKS], allocations[WIRE_RANKS];
};

struct tally {
    uint64_t faults, failed, outcomes[WIRE_FAULTS][3], of_size[FAULT_SIZES],
        of_kind[WIRE_FAULTS]; /* ranks that were well, that failed, that died */
    double worst_late /* of a run */, worst_plan_destroy, worst_comm_destroy;
};

struct campaign {
    struct fault_job *job;                                /* shared with its ranks */
    struct reference references[FAULT_SIZES][LAYOUTS][2]; /* [1]: with backward */
    const char *program;
    uint64_t seed, index;
    struct tally tally;
    bool good; /* of the fault at hand */
};

/* Says what is wrong with the fault at hand. */
static void complain(struct campaign *campaign, const char *format, ...)
{
    va_list arguments;
    const struct fault_job *job = campaign->job;
    const struct wire_fault *fault = &job->net.fault;
    va_start(arguments, format);
    fprintf(stderr, "%" PRIu32 " ranks, layout %d%s, %s of message %" PRIu64 " with tag %" PRIu32 " of rank %" PRIu32 "%s%s: ", job->ranks,
            (int)job->layout, job->backward ? ", backward" : "", wire_fault_name(fault->kind), fault->nth, fault->tag, fault->rank,
            job->at_create ? " at creation" : "", job->net.sends_wait ? ", where sends wait" : "");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n  again: %s 1 %" PRIu64 " %" PRIu64 "\n", campaign->program, campaign->index, campaign->seed);
    va_end(arguments);
    campaign->good = false;
}

static void run_job(struct campaign *campaign)
{
    if (!fault_ranks_run())
        complain(campaign, "not all ranks ended as they should");
}

/* Judgement -------------------------------------------------------------------------------------------------------- */

static void judge_reference(struct campaign *campaign, struct reference *reference)
{
    for (uint32_t rank = 0; rank < campaign->job->ranks; rank++) {
        const struct rank_report *report = &campaign->job->reports[rank];
        for (int call = 0; call < fault_calls(campaign->job); call++) {
            if (!report->calls[call].made || report->calls[call].error.status != VKRING_OK)
                complain(campaign, "rank %" PRIu32 ", call %d, without fault: %s", rank, call, report->calls[call].error.message);
            reference->hashes[rank][call] = report->calls[call].hash;
        }
        if (!report->right || report->live_requests)
            complain(campaign, "rank %" PRIu32 " is wrong without fault, or left requests", rank);
        reference->counts[rank] = report->counts;
        reference->device_calls[rank] = report->device_calls;
        reference->allocations[rank] = report->allocations;
    }
    reference->there = campaign->good;
}

static bool strikes_rank(const struct wire_fault *fault)
{
    return fault->kind == WIRE_KILL || fault->kind == WIRE_STOP || fault->kind == WIRE_CUT;
}

static bool strikes_calls(const struct wire_fault *fault)
{
    return fault->kind >= WIRE_REFUSE_RECEIVE && fault->kind <= WIRE_MEMORY;
}

/* Who may be named. A rank that is cut off sees all others silent; of what agrees, a lost message is its sender's or its receiver's loss.
 */
static bool may_blame(const struct fault_job *job, uint32_t by, int call, uint32_t culprit)
{
    const struct wire_fault *fault = &job->net.fault;
    if (fault->kind == WIRE_CUT && by == fault->rank)
        return culprit != by;
    if (culprit == fault->rank)
        return true;
    if (job->at_create && call != CALL_CREATE)
        return true; /* its own plan was made, and theirs was not */
    if (fault->kind <= WIRE_BREAK && by == fault->rank && culprit == job->net.fired_peer)
        return true;
    if (fault->kind == WIRE_MEMORY && by == fault->rank)
        return true; /* what was short was its own; whose message it was does not matter */
    return !strikes_rank(fault) && job->net.fired_tag == TAG_AGREE && culprit == job->net.fired_peer;
}

static void judge_failure(struct campaign *campaign, uint32_t rank, int call, const struct call_report *report)
{
    const struct fault_job *job = campaign->job;
    const struct vkring_error *error = &report->error;
    const double from = report->begin > job->net.fired_seconds ? report->begin : job->net.fired_seconds;
    const double late = report->end - from - job->timeout_seconds;
    struct tally *tally = &campaign->tally;
    if (!atomic_load(&job->net.fired))
        complain(campaign, "rank %" PRIu32 ", call %d, failed before there was a fault: %s", rank, call, error->message);
    if (job->net.fault.kind == WIRE_DELAY && job->net.fault.seconds < job->timeout_seconds)
        complain(campaign, "rank %" PRIu32 ", call %d, failed for a message that was late, not lost: %s", rank, call, error->message);
    if (!may_blame(job, rank, call, error->rank) || !error->message[0])
        complain(campaign, "rank %" PRIu32 ", call %d, blames rank %" PRId32 ": %s", rank, call, (int32_t)error->rank, error->message);
    if (strikes_rank(&job->net.fault) && strstr(error->message, status_deed(VKRING_ERROR_PEER)))
        complain(campaign, "rank %" PRIu32 ", call %d, was told another reason: %s", rank, call, error->message);
    if (call != CALL_CREATE && error->step == VKRING_NONE)
        complain(campaign, "rank %" PRIu32 ", call %d, names no step: %s", rank, call, error->message);
    if (late > (call == CALL_CREATE ? late_at_creation_seconds : late_seconds))
        complain(campaign, "rank %" PRIu32 ", call %d, returned %.3f s after its deadline: %s", rank, call, late, error->message);
    if (call != CALL_CREATE && late > tally->worst_late)
        tally->worst_late = late;
}

static bool judge_rank(struct campaign *campaign, const struct reference *reference, uint32_t rank)
{
    const struct rank_report *report = &campaign->job->reports[rank];
    bool well = true;
    for (int call = 0; call < fault_calls(campaign->job) && well; call++) {
        const struct call_report *made = &report->calls[call];
        well = made->error.status == VKRING_OK;
        if (!well)
            judge_failure(campaign, rank, call, made);
        else if (!made->made || made->hash != reference->hashes[rank][call])
            complain(campaign, "rank %" PRIu32 ", call %d, was taken for good and is not", rank, call);
    }
    if (report->plan_destroy_seconds > clean_seconds || report->comm_destroy_seconds > clean_seconds)
        complain(campaign, "rank %" PRIu32 " took %.3f and %.3f s to clean up", rank, report->plan_destroy_seconds,
                 report->comm_destroy_seconds);
    if (report->live_requests)
        complain(campaign, "rank %" PRIu32 " left %" PRIu64 " requests", rank, report->live_requests);
    if (report->plan_destroy_seconds > campaign->tally.worst_plan_destroy)
        campaign->tally.worst_plan_destroy = report->plan_destroy_seconds;
    if (report->comm_destroy_seconds > campaign->tally.worst_comm_destroy)
        campaign->tally.worst_comm_destroy = report->comm_destroy_seconds;
    return well;
}

/* A message that did not come, or not as it was sent, is missed by its receiver. */
static bool must_be_noticed(const struct fault_job *job)
{
    const enum wire_fault_kind kind = job->net.fault.kind;
    return kind == WIRE_DROP || kind == WIRE_SHORTEN || kind == WIRE_FLIP ||
           (kind == WIRE_DELAY && job->net.fault.seconds > job->timeout_seconds);
}

static void judge(struct campaign *campaign, const struct reference *reference)
{
    const struct fault_job *job = campaign->job;
    uint64_t *outcomes = campaign->tally.outcomes[job->net.fault.kind];
    /* how often a rank asks its device, and has a message wait, is never the same */
    if (!atomic_load(&job->net.fired) && job->net.fault.kind != WIRE_DEVICE && job->net.fault.kind != WIRE_MEMORY)
        complain(campaign, "the fault did not happen");
    for (uint32_t rank = 0; rank < job->ranks; rank++) {
        if (!atomic_load(&job->reports[rank].done)) {
            if (rank != job->net.fault.rank || !strikes_rank(&job->net.fault))
                complain(campaign, "rank %" PRIu32 " did not end", rank);
            outcomes[2]++;
            continue;
        }
        const bool well = judge_rank(campaign, reference, rank);
        if (well && rank == job->net.fired_peer && must_be_noticed(job))
            complain(campaign, "rank %" PRIu32 " did not notice", rank);
        outcomes[well ? 0 : 1]++;
    }
}

/* Drawing ---------------------------------------------------------------------------------------------------------- */

static void clear_job(struct campaign *campaign, int size, int layout, bool backward)
{
    memset(campaign->job, 0, sizeof(*campaign->job));
    campaign->job->ranks = fault_range.sizes[size];
    campaign->job->kv_len = fault_range.kv_len;
    campaign->job->chunk_bytes = fault_range.chunk_bytes;
    campaign->job->layout = (enum vkring_layout)layout;
    campaign->job->backward = backward;
    campaign->job->timeout_seconds = fault_range.timeout_seconds;
}

/* Null where even that failed. */
static const struct reference *reference_of(struct campaign *campaign, int size, int layout, bool backward)
{
    struct reference *reference = &campaign->references[size][layout][backward];
    if (!reference->there) {
        clear_job(campaign, size, layout, backward);
        campaign->job->is_reference = true;
        run_job(campaign);
        judge_reference(campaign, reference);
    }
    return reference->there ? reference : NULL;
}

/* Which message. While a plan is made only the first round is struck: in the second, a rank may be late with its kernels. */
static void draw_message(struct dice *dice, const struct fault_job *job, const struct reference *reference, struct wire_fault *fault)
{
    const struct wire_counts *counts = &reference->counts[fault->rank];
    const uint64_t *sent = counts->sent;
    const uint64_t of_calls[] = {counts->receives, counts->done, reference->device_calls[fault->rank], reference->allocations[fault->rank]};
    if (strikes_calls(fault)) {
        fault->nth = throw_dice(dice, of_calls[fault->kind - WIRE_REFUSE_RECEIVE]);
        return;
    }
    if (job->at_create) {
        fault->nth = throw_dice(dice, job->ranks - 1);
        return;
    }
    if (!strikes_rank(fault))
        do
            fault->tag = 1 + (uint32_t)throw_dice(dice, WIRE_TAGS - 1);
        while (sent[fault->tag] == 0);
    fault->nth = throw_dice(dice, sent[fault->tag]);
}

static double draw_delay(struct dice *dice, double timeout)
{
    return timeout * (throw_dice(dice, 3) == 0 ? 3 : 0.05 + 0.01 * (double)throw_dice(dice, 60));
}

static uint64_t count_sizes(void)
{
    uint64_t count = 0;
    while (count < FAULT_SIZES && fault_range.sizes[count])
        count++;
    return count;
}

/*
 * The first faults are given: a rank of the largest ring is lost near the end of a run, where some ranks before it have all they need and
 * only pass on. They hear of it from those that they send to, which are held up themselves.
 */
static const struct wire_fault given_faults[] = {
    {.kind = WIRE_CUT, .rank = 3, .tag = TAG_HEADER, .nth = 2},
    {.kind = WIRE_STOP, .rank = 5, .tag = TAG_HEADER, .nth = 3},
    {.kind = WIRE_KILL, .rank = 0, .tag = TAG_HEADER, .nth = 4},
};

/* Null: it is drawn, as all are of a campaign that has no such ring. */
static const struct wire_fault *given_fault(const struct campaign *campaign)
{
    const uint64_t given = sizeof(given_faults) / sizeof(given_faults[0]);
    return fault_range.sizes[FAULT_SIZES - 1] == WIRE_RANKS && campaign->index < given ? &given_faults[campaign->index] : NULL;
}

static void take_fault(struct fault_job *job, const struct wire_fault *given)
{
    job->net.fault = *given;
    job->net.sends_wait = true;
}

static void draw_fault(struct campaign *campaign, struct dice *dice, const struct reference *reference)
{
    const uint64_t kinds = (uint64_t)(fault_range.last_kind - fault_range.first_kind) + 1;
    struct fault_job *job = campaign->job;
    job->net.sends_wait = fault_range.sends_wait == WAIT_ALWAYS || throw_dice(dice, 2);
    job->at_create = throw_dice(dice, 8) == 0;
    job->net.fault.kind = fault_range.first_kind + (enum wire_fault_kind)throw_dice(dice, kinds);
    if (strikes_calls(&job->net.fault))
        job->at_create = job->net.fault.kind == WIRE_MEMORY;
    job->net.fault.rank = (uint32_t)throw_dice(dice, job->ranks);
    job->net.fault.draw = throw_dice(dice, 100000);
    job->net.fault.seconds = draw_delay(dice, job->timeout_seconds);
    draw_message(dice, job, reference, &job->net.fault);
}

static void draw(struct campaign *campaign)
{
    struct dice dice = {.seed = campaign->seed + 1000003 * campaign->index};
    const struct wire_fault *given = given_fault(campaign);
    const int size = given ? FAULT_SIZES - 1 : (int)throw_dice(&dice, count_sizes());
    const int layout = given ? VKRING_LAYOUT_CONTIGUOUS : (int)throw_dice(&dice, LAYOUTS);
    const bool backward = !given && throw_dice(&dice, 2);
    const struct reference *reference = reference_of(campaign, size, layout, backward);
    if (!reference)
        return;
    clear_job(campaign, size, layout, backward);
    if (given)
        take_fault(campaign->job, given);
    else
        draw_fault(campaign, &dice, reference);
    run_job(campaign);
    judge(campaign, reference);
    campaign->tally.of_size[size]++;
    campaign->tally.of_kind[campaign->job->net.fault.kind]++;
}

static void report(const struct tally *tally)
{
    printf("%-10s %7s %7s %7s %7s\n", "fault", "faults", "well", "failed", "died");
    for (int kind = 1; kind < WIRE_FAULTS; kind++)
        printf("%-10s %7" PRIu64 " %7" PRIu64 " %7" PRIu64 " %7" PRIu64 "\n", wire_fault_name((enum wire_fault_kind)kind),
               tally->of_kind[kind], tally->outcomes[kind][0], tally->outcomes[kind][1], tally->outcomes[kind][2]);
    for (uint64_t size = 0; size < count_sizes(); size++)
        printf("%" PRIu32 " ranks: %" PRIu64 " faults\n", fault_range.sizes[size], tally->of_size[size]);
    printf("latest return from a run: deadline %+.3f s; slowest clean-up: plan %.3f s, communicator %.3f s\n", tally->worst_late,
           tally->worst_plan_destroy, tally->worst_comm_destroy);
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", tally->faults - tally->failed, tally->failed);
}

int main(int argc, char **argv)
{
    const uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : fault_range.count;
    const uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    struct campaign campaign = {.program = argv[0], .seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 1};
    campaign.job = fault_ranks_prepare();
    if (!campaign.job)
        return EXIT_FAILURE;
    setvbuf(stdout, NULL, _IOLBF, 0);
    const double begin = clock_seconds();
    for (campaign.index = first; campaign.index < first + count; campaign.index++) {
        if (argc == 1 && clock_seconds() - begin > unasked_seconds)
            break;
        campaign.good = true;
        draw(&campaign);
        campaign.tally.faults++;
        campaign.tally.failed += !campaign.good;
    }
    fault_ranks_dismiss();
    report(&campaign.tally);
    return campaign.tally.failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
