/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "../tools/now.h"
#include "bench_peak.h"

/* of each chain in a round: so many that what lies between rounds does not count */
#define LINKS 4096u

/*
 * Chains of vectors, each link of which waits for the one before it: no more chains than registers hold beside the two constants, and
 * enough for two units with a latency of 4.
 */
#define DEFINE_CHAINS(name, target, vector_bytes, chains)                                                                                  \
    target static float name(uint32_t rounds)                                                                                              \
    {                                                                                                                                      \
        typedef float vector __attribute__((vector_size(vector_bytes)));                                                                   \
        vector sum = {0}, chain[chains];                                                                                                   \
        const vector factor = sum + 0.5f, addend = sum + 1.0f;                                                                             \
        for (uint32_t i = 0; i < (chains); i++)                                                                                            \
            chain[i] = sum + (float)i;                                                                                                     \
        for (uint64_t link = 0; link < (uint64_t)rounds * LINKS; link++)                                                                   \
            for (uint32_t i = 0; i < (chains); i++)                                                                                        \
                chain[i] = chain[i] * factor + addend;                                                                                     \
        for (uint32_t i = 0; i < (chains); i++)                                                                                            \
            sum += chain[i];                                                                                                               \
        return sum[0];                                                                                                                     \
    }

DEFINE_CHAINS(chains_of_4, , 16, 8)
#ifdef __x86_64__
DEFINE_CHAINS(chains_of_8, __attribute__((target("avx2,fma"))), 32, 12)
DEFINE_CHAINS(chains_of_16, __attribute__((target("avx512f"))), 64, 16)
#endif

struct chains {
    float (*run)(uint32_t rounds);
    double flop_of_round;
};

static struct chains widest_chains(void)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f"))
        return (struct chains){chains_of_16, 2.0 * LINKS * 16 * 16};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return (struct chains){chains_of_8, 2.0 * LINKS * 12 * 8};
#endif
    return (struct chains){chains_of_4, 2.0 * LINKS * 8 * 4};
}

struct worker {
    pthread_t thread;
    struct chains chains;
    uint32_t rounds;
    volatile float sum; /* so that nothing is left out */
};

struct probe {
    struct chains chains;
    struct worker *workers;
    uint32_t count;
};

static void *work(void *argument)
{
    struct worker *worker = argument;
    worker->sum = worker->chains.run(worker->rounds);
    return NULL;
}

static double run_workers(void *argument, uint32_t rounds, struct failure *failure)
{
    struct probe *probe = argument;
    uint32_t started = 0;
    const double begin = now_seconds();
    for (; started < probe->count; started++) {
        struct worker *worker = &probe->workers[started];
        worker->chains = probe->chains;
        worker->rounds = rounds;
        if (pthread_create(&worker->thread, NULL, work, worker) != 0)
            break;
    }
    for (uint32_t i = 0; i < started; i++)
        pthread_join(probe->workers[i].thread, NULL);
    if (started == probe->count)
        return now_seconds() - begin;
    fail_run(failure, "cannot start %u threads", (unsigned)probe->count);
    return -1;
}

/* Of the first 1024, which is all that fits a cpu_set_t. */
uint32_t bench_peak_usable_cores(void)
{
    cpu_set_t cores;
    const int count = sched_getaffinity(0, sizeof(cores), &cores) == 0 ? CPU_COUNT(&cores) : 0;
    return count > 0 ? (uint32_t)count : 1;
}

bool bench_peak_host(double *out_gflops, uint32_t *out_threads, struct failure *failure)
{
    struct probe probe = {.chains = widest_chains(), .count = bench_peak_usable_cores()};
    probe.workers = calloc(probe.count, sizeof(*probe.workers));
    if (!probe.workers)
        return fail_memory(failure);
    const bool good = bench_peak_time(run_workers, &probe, probe.chains.flop_of_round * probe.count, out_gflops, failure);
    *out_threads = probe.count;
    free(probe.workers);
    return good;
}
