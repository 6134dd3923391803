/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "bench_host_memory.h"
#include "bench_peak.h"
#include "bench_timing.h"

/* Of a core; more than its caches hold. */
#define MOVED_BYTES ((size_t)128 << 20)
#define REPEATS 5

struct worker {
    pthread_t thread;
    uint64_t *from, *to;
    uint64_t sum;
};

struct workers {
    struct worker *each;
    uint32_t count;
    void *(*work)(void *worker);
};

static void *copy(void *argument)
{
    const struct worker *worker = argument;
    memcpy(worker->to, worker->from, MOVED_BYTES);
    return NULL;
}

static void *sum(void *argument)
{
    struct worker *worker = argument;
    worker->sum = 0;
    for (size_t i = 0; i < MOVED_BYTES / sizeof(uint64_t); i++)
        worker->sum += worker->from[i];
    return NULL;
}

static bool work_at_once(void *context, struct failure *failure)
{
    struct workers *workers = context;
    uint32_t started = 0;
    while (started < workers->count && pthread_create(&workers->each[started].thread, NULL, workers->work, &workers->each[started]) == 0)
        started++;
    for (uint32_t i = 0; i < started; i++)
        pthread_join(workers->each[i].thread, NULL);
    return started == workers->count || fail_run(failure, "cannot start %u threads", (unsigned)workers->count);
}

/* Pages that were never written may all be one. */
static bool make_worker(struct worker *worker)
{
    worker->from = malloc(MOVED_BYTES);
    worker->to = malloc(MOVED_BYTES);
    if (worker->from)
        memset(worker->from, 1, MOVED_BYTES);
    return worker->from && worker->to;
}

static bool measure(struct workers *workers, void *(*work)(void *), double bytes, double *out_bytes_per_second, struct failure *failure)
{
    struct bench_timing timing;
    workers->work = work;
    if (!bench_time(work_at_once, workers, REPEATS, &timing, failure))
        return false;
    *out_bytes_per_second = bytes * workers->count / timing.least;
    return true;
}

bool bench_host_memory(struct bench_host_memory *out_memory, struct failure *failure)
{
    struct workers workers = {.count = bench_peak_usable_cores()};
    workers.each = calloc(workers.count, sizeof(*workers.each));
    bool good = workers.each != NULL;
    for (uint32_t i = 0; good && i < workers.count; i++)
        good = make_worker(&workers.each[i]);
    good = good ? measure(&workers, copy, 2.0 * (double)MOVED_BYTES, &out_memory->copy, failure) &&
                      measure(&workers, sum, (double)MOVED_BYTES, &out_memory->read, failure)
                : fail_memory(failure);
    for (uint32_t i = 0; workers.each && i < workers.count; i++) {
        free(workers.each[i].from);
        free(workers.each[i].to);
    }
    free(workers.each);
    return good;
}
