/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "bench_copy.h"
#include "bench_peak.h"
#include "bench_timing.h"

/* Of a core; more than its caches hold. */
#define COPIED_BYTES ((size_t)128 << 20)
#define REPEATS 5

struct worker {
    pthread_t thread;
    unsigned char *from, *to;
};

struct workers {
    struct worker *each;
    uint32_t count;
};

static void *copy(void *argument)
{
    const struct worker *worker = argument;
    memcpy(worker->to, worker->from, COPIED_BYTES);
    return NULL;
}

static bool copy_at_once(void *context, struct failure *failure)
{
    struct workers *workers = context;
    uint32_t started = 0;
    while (started < workers->count && pthread_create(&workers->each[started].thread, NULL, copy, &workers->each[started]) == 0)
        started++;
    for (uint32_t i = 0; i < started; i++)
        pthread_join(workers->each[i].thread, NULL);
    return started == workers->count || fail_run(failure, "cannot start %u threads", (unsigned)workers->count);
}

/* Pages that were never written may all be one. */
static bool make_worker(struct worker *worker)
{
    worker->from = malloc(COPIED_BYTES);
    worker->to = malloc(COPIED_BYTES);
    if (worker->from)
        memset(worker->from, 1, COPIED_BYTES);
    return worker->from && worker->to;
}

bool bench_copy_host(double *out_bytes_per_second, struct failure *failure)
{
    struct workers workers = {.count = bench_peak_usable_cores()};
    struct bench_timing timing;
    workers.each = calloc(workers.count, sizeof(*workers.each));
    bool good = workers.each != NULL;
    for (uint32_t i = 0; good && i < workers.count; i++)
        good = make_worker(&workers.each[i]);
    good = good ? bench_time(copy_at_once, &workers, REPEATS, &timing, failure) : fail_memory(failure);
    if (good)
        *out_bytes_per_second = 2.0 * (double)COPIED_BYTES * workers.count / timing.least;
    for (uint32_t i = 0; workers.each && i < workers.count; i++) {
        free(workers.each[i].from);
        free(workers.each[i].to);
    }
    free(workers.each);
    return good;
}
