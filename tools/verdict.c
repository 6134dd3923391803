/* SPDX-License-Identifier: MIT */
#include "verdict.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "now.h"

/* The others see a rank's failure no later than their own deadline; this much later at most, they have told of it. */
static const double margin_seconds = 0.8;
static const double head_start_seconds = 0.5;

uint64_t verdict_hash(const void *data, size_t bytes)
{
    const unsigned char *byte = data;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ byte[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* Reaching a verdict ------------------------------------------------------------------------------------------------- */

enum standing { STANDING_FINE, STANDING_TOLD, STANDING_SAW_PEER, STANDING_FAILED };

static enum standing standing_of(const struct verdict_record *record)
{
    if (record->status == EXIT_STATUS_DONE)
        return STANDING_FINE;
    if (record->told)
        return STANDING_TOLD;
    return record->of_peer ? STANDING_SAW_PEER : STANDING_FAILED;
}

static uint32_t first_with(const struct verdict_record *records, const bool *arrived, uint32_t size, enum standing standing)
{
    for (uint32_t rank = 0; rank < size; rank++) {
        if (arrived[rank] && standing_of(&records[rank]) == standing)
            return rank;
    }
    return VKRING_NONE;
}

static uint32_t first_silent(const bool *arrived, uint32_t size)
{
    for (uint32_t rank = 0; rank < size; rank++) {
        if (!arrived[rank])
            return rank;
    }
    return VKRING_NONE;
}

static bool all_alike(const struct verdict_record *records, const bool *arrived, uint32_t size)
{
    bool alike = true;
    for (uint32_t rank = 0; rank < size; rank++)
        alike =
            alike && arrived[rank] && records[rank].status == records[0].status && records[rank].message_hash == records[0].message_hash;
    return alike;
}

struct verdict verdict_reach(const struct verdict_record *records, const bool *arrived, uint32_t size)
{
    struct verdict verdict = {.silent = first_silent(arrived, size), .speaker = VKRING_NONE};
    for (enum standing standing = STANDING_FAILED; verdict.speaker == VKRING_NONE && standing > STANDING_FINE; standing--)
        verdict.speaker = first_with(records, arrived, size, standing);
    if (verdict.speaker == VKRING_NONE && verdict.silent != VKRING_NONE)
        verdict.speaker = first_with(records, arrived, size, STANDING_FINE);
    if (verdict.speaker == VKRING_NONE)
        return verdict;
    verdict.status = (enum exit_status)records[verdict.speaker].status;
    if (verdict.status == EXIT_STATUS_DONE)
        verdict.status = EXIT_STATUS_FAILED;
    verdict.names_speaker = !all_alike(records, arrived, size);
    for (uint32_t rank = 0; rank < size; rank++)
        verdict.over_bar |= arrived[rank] && records[rank].shows_bar;
    return verdict;
}

/* Telling it --------------------------------------------------------------------------------------------------------- */

static void speak(const struct ranks *ranks, const struct verdict *verdict, const struct failure *mine, double patience_seconds)
{
    char line[sizeof(mine->message) + 128];
    if (mine->status == EXIT_STATUS_DONE)
        snprintf(line, sizeof(line), "rank %" PRIu32 " stopped answering: no sign of life for %g seconds", verdict->silent,
                 patience_seconds);
    else if (mine->of_peer && verdict->silent != VKRING_NONE)
        snprintf(line, sizeof(line), "rank %" PRIu32 " stopped answering; rank %" PRIu32 ": %s", verdict->silent, ranks->rank,
                 mine->message);
    else if (verdict->names_speaker)
        snprintf(line, sizeof(line), "rank %" PRIu32 ": %s", ranks->rank, mine->message);
    else
        snprintf(line, sizeof(line), "%s", mine->message);
    failure_print(line, verdict->over_bar);
}

/*
 * Where ranks do not all hear each other, several may believe that it is theirs to speak, or the one that should be may be gone: then the
 * one that removes the files speaks, and the speaker goes first. Of several it is rank 0, even if its time was up a little later: it is
 * beside the launcher, which may hear no more of others than the ranks do.
 */
static double seconds_to_turn(const struct ranks *ranks, bool speaks)
{
    if (!ranks->broken || (speaks && ranks->rank == 0))
        return 0;
    return speaks ? head_start_seconds : 2 * head_start_seconds;
}

static void conclude(const struct ranks *ranks, const struct verdict *verdict, const struct failure *mine, double patience_seconds)
{
    cleanup_wait_if_ending();
    bool speaks = verdict->speaker == ranks->rank;
    bool had_files = cleanup_expects_files();
    sleep_seconds(seconds_to_turn(ranks, speaks));
    bool removed = cleanup_remove();
    if (ranks->broken && had_files)
        speaks = removed;
    if (speaks)
        speak(ranks, verdict, mine, patience_seconds);
}

/* Without memory for the records a rank can only speak for itself, and after an exchange that broke, only the lowest for all. */
static struct verdict gather_and_reach(struct ranks *ranks, const struct verdict_record *mine, double patience_seconds)
{
    struct verdict verdict = {EXIT_STATUS_FAILED, ranks->lowest_heard, true, VKRING_NONE, mine->shows_bar};
    struct verdict_record *records = calloc(ranks->size, sizeof(*records));
    bool *arrived = calloc(ranks->size, sizeof(*arrived));
    if (records && arrived && !ranks->broken) {
        ranks_exchange(ranks, mine, sizeof(*mine), records, arrived, patience_seconds);
        verdict = verdict_reach(records, arrived, ranks->size);
    }
    free(records);
    free(arrived);
    return verdict;
}

enum exit_status verdict_agree(struct ranks *ranks, const struct failure *mine, bool shows_bar)
{
    double patience_seconds = mine->of_peer ? margin_seconds : ranks->timeout_seconds + margin_seconds;
    const struct verdict_record record = {
        .status = (int32_t)mine->status,
        .of_peer = mine->of_peer,
        .told = mine->told,
        .shows_bar = shows_bar,
        .message_hash = (uint32_t)verdict_hash(mine->message, strlen(mine->message)),
    };
    struct verdict verdict = gather_and_reach(ranks, &record, patience_seconds);
    if (verdict.status != EXIT_STATUS_DONE)
        conclude(ranks, &verdict, mine, patience_seconds);
    return verdict.status;
}

/* What must be alike --------------------------------------------------------------------------------------------------- */

bool verdict_gather(struct ranks *ranks, const void *mine, size_t bytes, void *all, struct failure *failure)
{
    bool *arrived = calloc(ranks->size, sizeof(*arrived));
    if (!arrived)
        return fail_memory(failure);
    bool good = ranks_exchange(ranks, mine, bytes, all, arrived, ranks->timeout_seconds);
    if (!good) {
        fail_run(failure, "rank %" PRIu32 " stopped answering", first_silent(arrived, ranks->size));
        failure->of_peer = true;
    }
    free(arrived);
    return good;
}

static bool compare_records(const uint64_t *records, uint32_t size, const struct verdict_field *fields, uint32_t count,
                            struct failure *failure)
{
    for (uint32_t field = 0; field < count; field++) {
        for (uint32_t rank = 1; rank < size; rank++) {
            if (records[rank * VERDICT_FIELDS_MAX + field] != records[field])
                return fail_usage(failure, "ranks disagree: %s of rank %" PRIu32 " is not as on rank 0", fields[field].name, rank);
        }
    }
    return true;
}

bool verdict_compare(struct ranks *ranks, const struct verdict_field *fields, uint32_t count, struct failure *failure)
{
    uint64_t mine[VERDICT_FIELDS_MAX] = {0};
    uint64_t *records = calloc(ranks->size, sizeof(mine));
    if (!records)
        return fail_memory(failure);
    for (uint32_t field = 0; field < count; field++)
        mine[field] = fields[field].value;
    bool good =
        verdict_gather(ranks, mine, sizeof(mine), records, failure) && compare_records(records, ranks->size, fields, count, failure);
    free(records);
    return good;
}
