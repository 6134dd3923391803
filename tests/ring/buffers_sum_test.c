/* SPDX-License-Identifier: MIT */
/* Sums of buffers over ranks: right to the bit on every rank, refused as one, and given up in time where a rank is silent or spoils them.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <base/clock.h>
#include <comm/comm.h>
#include <vkring/sum.h>

#include "lossy_comm.h"
#include "world.h"

enum { MOST_ENTRIES = 4, MARGIN = 3, TIMEOUT = 1 };
static const float canary = -77;

static vkring_device *device, *poor; /* poor: its memory is not the host's, so that elements are copied to it */
static vkring_comm *comm;

/* Which allocation fails from here on; -1: none. */
static int failing_allocation = -1;

static bool allocation_fails(void)
{
    return failing_allocation >= 0 && failing_allocation-- == 0;
}

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);

void *__wrap_malloc(size_t bytes)
{
    return allocation_fails() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    return allocation_fails() ? NULL : __real_calloc(count, bytes);
}

/* Buffers of a rank with a margin around the elements, and what they held at first. */
struct terms {
    uint64_t counts[MOST_ENTRIES];
    uint64_t list_count;
    struct vkring_elements list[MOST_ENTRIES];
    float *values[MOST_ENTRIES];
};

/* Sums of these in f32 depend on their order, and lose what float64 keeps. */
static float term(uint32_t rank, uint64_t entry, uint64_t i)
{
    const float small = (float)((i * 2654435761u + entry * 97 + rank * 31) % 1000) / 7;
    return i % 5 == 0 ? (rank % 2 ? -3e8f : 3e8f) + small : small;
}

static float sum_of(uint64_t entry, uint64_t i)
{
    double sum = (double)term(0, entry, i);
    for (uint32_t rank = 1; rank < world_size; rank++)
        sum += (double)term(rank, entry, i);
    return (float)sum;
}

static bool terms_create(struct terms *terms)
{
    bool good = true;
    for (uint64_t entry = 0; entry < terms->list_count; entry++) {
        const uint64_t elements = terms->counts[entry] + 2 * MARGIN;
        float *values = terms->values[entry] = malloc(elements * sizeof(float));
        for (uint64_t i = 0; i < elements; i++)
            values[i] = i < MARGIN || i >= elements - MARGIN ? canary : term(world_rank, entry, i - MARGIN);
        terms->list[entry] = (struct vkring_elements){.offset_bytes = MARGIN * sizeof(float), .count = terms->counts[entry]};
        good = good && vkring_buffer_create(entry % 2 ? poor : device, elements * sizeof(float), &terms->list[entry].buffer) == VKRING_OK &&
               vkring_buffer_upload(terms->list[entry].buffer, 0, values, elements * sizeof(float)) == VKRING_OK;
    }
    return world_agrees(world_expect(good, "%s", vkring_last_error()->message));
}

static void terms_destroy(struct terms *terms)
{
    for (uint64_t entry = 0; entry < terms->list_count; entry++) {
        vkring_buffer_destroy(&terms->list[entry].buffer);
        free(terms->values[entry]);
    }
}

/* Whether buffers hold sums, or what they held at first; and the margins what they held. */
static bool hold(const struct terms *terms, bool sums)
{
    bool good = true;
    for (uint64_t entry = 0; good && entry < terms->list_count; entry++) {
        const uint64_t count = terms->counts[entry], elements = count + 2 * MARGIN;
        float *found = malloc(elements * sizeof(float));
        good = vkring_buffer_download(terms->list[entry].buffer, 0, found, elements * sizeof(float)) == VKRING_OK;
        for (uint64_t i = 0; sums && i < count; i++)
            terms->values[entry][MARGIN + i] = sum_of(entry, i);
        for (uint64_t i = 0; good && i < elements; i++)
            good = world_expect(found[i] == terms->values[entry][i], "element %lld of entry %llu is %.9g, not %.9g", (long long)i - MARGIN,
                                (unsigned long long)entry, (double)found[i], (double)terms->values[entry][i]);
        free(found);
    }
    return world_agrees(good);
}

static bool sums_well(struct terms *terms, vkring_comm *over)
{
    const enum vkring_status status = vkring_buffers_sum(over, terms->list_count, terms->list, 60);
    return world_agrees(world_expect(status == VKRING_OK, "%s", vkring_last_error()->message)) && hold(terms, true);
}

static const struct terms good_terms = {.counts = {5, 0, 17, 100}, .list_count = 4};

static bool still_works(vkring_comm *over)
{
    struct terms terms = good_terms;
    const bool good = terms_create(&terms) && sums_well(&terms, over);
    terms_destroy(&terms);
    return good;
}

/* Of one element and of none, of several buffers with and without elements, and of more than a window. */
static const struct terms sound[] = {
    {.counts = {1}, .list_count = 1},
    {.counts = {0}, .list_count = 1},
    {.list_count = 0},
    {.counts = {3, 0, 1000, 7}, .list_count = 4},
    {.counts = {130001, 5}, .list_count = 2},
    {.counts = {11, (2 << 20) + 12345, 1 << 18}, .list_count = 3},
};

START_TEST(sums_are_the_same_bits_on_every_rank)
{
    struct terms terms = sound[_i];
    ck_assert(terms_create(&terms));
    ck_assert(sums_well(&terms, comm));
    terms_destroy(&terms);
}
END_TEST

/* What is wrong on the last rank. */
static void spoil_list(int which, struct terms *terms)
{
    switch (which) {
    case 0:
        terms->list[3].count--;
        break;
    case 1:
        terms->list[0].count--;
        terms->list[2].count++;
        break;
    case 2:
        terms->list_count--;
        break;
    case 3:
        terms->list[3].count += MARGIN + 1;
        break;
    case 4:
        terms->list[2].offset_bytes += 2;
        break;
    case 5:
        terms->list[0].buffer = NULL;
        break;
    default:
        terms->list[3].count = UINT64_MAX / 4;
    }
}
enum { MISMATCHES = 3, REFUSALS = 7 };

static bool is_refused(int which, const struct terms *terms)
{
    const bool mismatch = which < MISMATCHES, culprit = world_rank + 1 == world_size;
    const struct vkring_error *error = vkring_last_error();
    const enum vkring_status status = vkring_buffers_sum(comm, terms->list_count, terms->list, 60);
    if (world_size == 1)
        return world_expect(status == (mismatch ? VKRING_OK : VKRING_ERROR_INVALID_ARGUMENT), "status %d", status);
    return world_expect(status == (mismatch  ? VKRING_ERROR_MISMATCH
                                   : culprit ? VKRING_ERROR_INVALID_ARGUMENT
                                             : VKRING_ERROR_PEER),
                        "status %d: %s", status, error->message) &&
           world_expect(error->rank == (culprit && !mismatch ? VKRING_NONE : world_size - 1), "'%s' is of rank %u", error->message,
                        error->rank);
}

START_TEST(what_one_rank_gets_wrong_is_refused_by_all_and_changes_nothing)
{
    struct terms terms = good_terms, given;
    ck_assert(terms_create(&terms));
    given = terms;
    if (world_rank + 1 == world_size)
        spoil_list(_i, &given);
    ck_assert(world_agrees(is_refused(_i, &given)));
    ck_assert(hold(&terms, false));
    terms_destroy(&terms);
    ck_assert(still_works(comm));
}
END_TEST

static const double no_deadlines[] = {-1, NAN, INFINITY};

START_TEST(a_deadline_that_is_none_is_refused_by_all)
{
    const bool is_culprit = world_rank + 1 == world_size;
    struct terms terms = good_terms;
    ck_assert(terms_create(&terms));
    const enum vkring_status status = vkring_buffers_sum(comm, terms.list_count, terms.list, is_culprit ? no_deadlines[_i] : 60);
    ck_assert(world_agrees(status == (is_culprit ? VKRING_ERROR_INVALID_ARGUMENT : VKRING_ERROR_PEER)));
    ck_assert(hold(&terms, false));
    terms_destroy(&terms);
    ck_assert(still_works(comm));
}
END_TEST

/* Whichever of its first allocations fails: memory for elements, for messages, and what messages themselves take. */
enum { FIRST_ALLOCATIONS = 6, ALLOCATIONS_BEFORE_MESSAGES = 3 };

START_TEST(a_rank_without_memory_is_named)
{
    const bool is_culprit = world_rank + 1 == world_size;
    vkring_comm *fresh = world_comm();
    struct terms terms = good_terms;
    ck_assert(terms_create(&terms));
    failing_allocation = is_culprit ? _i : -1;
    const enum vkring_status status = vkring_buffers_sum(fresh, terms.list_count, terms.list, TIMEOUT);
    failing_allocation = -1;
    ck_assert(world_agrees(world_expect(status == (is_culprit ? VKRING_ERROR_OUT_OF_HOST_MEMORY : VKRING_ERROR_PEER), "status %d: %s",
                                        status, vkring_last_error()->message) &&
                           world_expect(is_culprit || vkring_last_error()->rank == world_size - 1, "not the culprit")));
    if (_i < ALLOCATIONS_BEFORE_MESSAGES)
        ck_assert(hold(&terms, false) && still_works(fresh));
    terms_destroy(&terms);
    vkring_comm_destroy(&fresh);
}
END_TEST

START_TEST(nothing_is_summed_while_a_run_is_under_way)
{
    struct terms terms = good_terms;
    ck_assert(terms_create(&terms));
    comm->in_run = true;
    const enum vkring_status status = vkring_buffers_sum(comm, terms.list_count, terms.list, 60);
    comm->in_run = false;
    ck_assert(world_agrees(status == VKRING_ERROR_INVALID_ARGUMENT));
    ck_assert(hold(&terms, false));
    terms_destroy(&terms);
    ck_assert(still_works(comm));
}
END_TEST

START_TEST(one_rank_alone_needs_no_communicator)
{
    struct terms terms = good_terms;
    ck_assert(terms_create(&terms));
    const bool fine = vkring_buffers_sum(NULL, terms.list_count, terms.list, 0) == VKRING_OK;
    ck_assert(world_agrees(fine) && hold(&terms, false));
    spoil_list(3, &terms);
    const bool refused = vkring_buffers_sum(NULL, terms.list_count, terms.list, 0) == VKRING_ERROR_INVALID_ARGUMENT;
    ck_assert(world_agrees(refused));
    terms_destroy(&terms);
}
END_TEST

/* Faults ------------------------------------------------------------------------------------------------------------------- */

/* New for each, since what is left of messages in one communicator must not reach another. */
struct stage {
    vkring_comm *inner, *lossy;
    struct lossy_rules rules;
    struct terms terms;
};

static bool set_stage(struct stage *stage)
{
    *stage = (struct stage){.inner = world_comm(), .rules = {.good_sends = UINT64_MAX}, .terms = {.counts = {200000, 9}, .list_count = 2}};
    const bool set = lossy_comm_create(stage->inner, &stage->rules, &stage->lossy) == VKRING_OK;
    return world_agrees(set) && still_works(stage->lossy) && terms_create(&stage->terms);
}

static void clear_stage(struct stage *stage)
{
    vkring_comm_destroy(&stage->lossy);
    vkring_comm_destroy(&stage->inner);
    terms_destroy(&stage->terms);
}

static enum vkring_status sum(struct stage *stage)
{
    return vkring_buffers_sum(stage->lossy, stage->terms.list_count, stage->terms.list, TIMEOUT);
}

/* All but the culprit name it, in time, and take nothing more from the communicator. */
static bool names(struct stage *stage, uint32_t culprit)
{
    const double begin = clock_seconds();
    const enum vkring_status status = sum(stage);
    const double seconds = clock_seconds() - begin;
    const struct vkring_error error = *vkring_last_error();
    return world_expect(status == VKRING_ERROR_TIMEOUT || status == VKRING_ERROR_PEER, "status %d: %s", status, error.message) &&
           world_expect(error.rank == culprit, "'%s' is of rank %u", error.message, error.rank) &&
           world_expect(seconds < TIMEOUT + 1, "it took %.2f s", seconds) &&
           world_expect(sum(stage) == VKRING_ERROR_COMM, "the communicator is used again");
}

START_TEST(a_rank_that_does_not_come_is_named)
{
    struct stage stage;
    const uint32_t silent = world_size - 1;
    ck_assert(set_stage(&stage));
    ck_assert(world_agrees(world_rank == silent || names(&stage, silent)) && hold(&stage.terms, false));
    clear_stage(&stage);
}
END_TEST

/* Its sends are lost: from the first message of what ranks agree on, of parts to be added up, and of sums. */
START_TEST(a_rank_that_falls_silent_is_named)
{
    struct stage stage;
    const uint32_t silent = (uint32_t)_i % world_size;
    const uint64_t peers = world_size - 1, rounds_of_parts = (200009 / world_size * 4 + 65535) / 65536;
    const uint64_t sends[] = {0, peers, peers * (1 + rounds_of_parts)};
    ck_assert(set_stage(&stage));
    if (world_rank == silent) {
        stage.rules.good_sends = stage.rules.sends + sends[_i];
        stage.rules.lose = true;
        sum(&stage);
    }
    ck_assert(world_agrees(world_rank == silent || names(&stage, silent)));
    clear_stage(&stage);
}
END_TEST

/* Of what ranks agree on, of parts, and of sums. Who does not get it may be done. */
START_TEST(a_flipped_bit_is_found)
{
    struct stage stage;
    const uint64_t peers = world_size - 1, rounds_of_parts = (200009 / world_size * 4 + 65535) / 65536;
    const uint64_t sends[] = {0, peers, peers * (1 + rounds_of_parts)};
    ck_assert(set_stage(&stage));
    if (world_rank == 0) {
        stage.rules.good_sends = stage.rules.sends + sends[_i];
        stage.rules.spoil = true;
    }
    const enum vkring_status status = sum(&stage);
    const struct vkring_error error = *vkring_last_error();
    const double failed = world_sum(status != VKRING_OK);
    const bool good = world_expect(failed > 0, "nobody noticed") &&
                      world_expect(status == VKRING_OK || world_rank == 0 || (status == VKRING_ERROR_PEER && error.rank == 0),
                                   "status %d, rank %u: %s", status, error.rank, error.message);
    ck_assert(world_agrees(good));
    clear_stage(&stage);
}
END_TEST

static VkResult lose_device(VkQueue queue, uint32_t count, const VkSubmitInfo2 *infos, VkFence fence)
{
    (void)queue, (void)count, (void)infos, (void)fence;
    return VK_ERROR_DEVICE_LOST;
}

/* After ranks agreed: while one reads its elements. */
START_TEST(a_device_that_fails_is_told_to_all)
{
    struct stage stage;
    const uint32_t culprit = world_size - 1;
    const PFN_vkQueueSubmit2 submit = poor->fn.vkQueueSubmit2;
    ck_assert(set_stage(&stage));
    if (world_rank == culprit)
        poor->fn.vkQueueSubmit2 = lose_device;
    const enum vkring_status status = sum(&stage);
    const struct vkring_error error = *vkring_last_error();
    poor->fn.vkQueueSubmit2 = submit;
    const bool good = world_rank == culprit ? world_expect(status == VKRING_ERROR_DEVICE_LOST, "status %d: %s", status, error.message)
                                            : world_expect(status == VKRING_ERROR_PEER && error.rank == culprit, "status %d, rank %u: %s",
                                                           status, error.rank, error.message);
    ck_assert(world_agrees(good));
    ck_assert(world_agrees(sum(&stage) == VKRING_ERROR_COMM));
    clear_stage(&stage);
}
END_TEST

int main(int argc, char **argv)
{
    const struct vk_limit_overrides overrides = {.no_unified_memory = true, .not_coherent = true};
    Suite *suite = suite_create("buffers sum");
    TCase *sums = tcase_create("sums"), *refusals = tcase_create("refusals"), *faults = tcase_create("faults");
    device = world_begin(&argc, &argv);
    poor = test_device_open(&overrides);
    comm = world_comm();
    tcase_add_loop_test(sums, sums_are_the_same_bits_on_every_rank, 0, sizeof(sound) / sizeof(sound[0]));
    tcase_add_test(sums, one_rank_alone_needs_no_communicator);
    tcase_add_loop_test(refusals, what_one_rank_gets_wrong_is_refused_by_all_and_changes_nothing, 0, REFUSALS);
    tcase_add_loop_test(refusals, a_deadline_that_is_none_is_refused_by_all, 0, sizeof(no_deadlines) / sizeof(no_deadlines[0]));
    tcase_add_test(refusals, nothing_is_summed_while_a_run_is_under_way);
    if (world_size > 1) {
        tcase_add_loop_test(refusals, a_rank_without_memory_is_named, 0, FIRST_ALLOCATIONS);
        tcase_add_test(faults, a_rank_that_does_not_come_is_named);
        tcase_add_loop_test(faults, a_rank_that_falls_silent_is_named, 0, 3);
        tcase_add_loop_test(faults, a_flipped_bit_is_found, 0, 3);
        tcase_add_test(faults, a_device_that_fails_is_told_to_all);
    }
    suite_add_tcase(suite, sums);
    suite_add_tcase(suite, refusals);
    suite_add_tcase(suite, faults);
    vkring_device *devices[] = {device, poor};
    return world_end(suite, devices, 2, &comm);
}
