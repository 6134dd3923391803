/* SPDX-License-Identifier: MIT */
/*
 * Small calls with ever other options for a long time: soak_test [SECONDS]
 *
 * Three processes, each with a device, make and destroy plans and communicators and run them forward and backward, alone and around the
 * ring, some refused. After a while of that, what a process holds must not grow any more: blocks of memory, Vulkan objects and device
 * memory to the last one, descriptors and threads but for a few, which drivers use as they like, and so resident memory, in the least of a
 * number of rounds.
 */
#include <dirent.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <base/checked.h>
#include <base/clock.h>

#include "../fault/failing_calls.h"
#include "../fault/wire.h"
#include "../harness/attention_case.h"
#include "../harness/dice.h"
#include "../harness/opened_device.h"

enum { RANKS = 3, REOPENED = 6, SEED = 3, OBJECTS_OF_PIPELINE = 2, LONGEST_SECONDS = 100 };
static const double report_seconds = 60;
/* What drivers and allocators keep for themselves, which goes up and down. */
static const uint64_t spare_kibibytes = 8192;
/* Of threads and of descriptors. Drivers write what they compile to a cache from a thread that they start when they first do, and a thread
 * that has ended is listed for a moment more; what each round or each device loses is soon more than this. */
static const uint64_t spare_entries = 3;

/* Few kernels, so that all are compiled before anything is counted; what is random is all else. */
static const struct vkring_plan_params problems[] = {
    {.batch = 1, .q_len = 40, .kv_len = 70, .heads = 2, .kv_heads = 1, .head_dim = 16, .causal = true, .backward = true},
    {.batch = 2, .q_len = 33, .kv_len = 33, .heads = 2, .head_dim = 16, .sinks = true, .alibi = true, .softcap = 3},
    {.batch = 1, .q_len = 50, .kv_len = 64, .heads = 1, .head_dim = 16, .segment_ids = true, .dropout = 0.1, .backward = true},
    {.batch = 1, .q_len = 64, .kv_len = 64, .heads = 2, .head_dim = 16, .bias = {.present = true, .per_head = true, .per_query = true}},
};
enum { PROBLEMS = sizeof(problems) / sizeof(problems[0]), WARM_ROUNDS = 2 * REOPENED + 1, WINDOW = 2 * REOPENED };

struct shared {
    struct wire_net net;
    atomic_uint_fast64_t last_round; /* set by rank 0, before it takes part in it */
    atomic_uint_fast64_t meetings;   /* how often a rank was done with a communicator */
};

struct holdings {
    int64_t blocks, objects; /* of the library and of the test, by failing_calls */
    uint64_t resident_kibibytes, descriptors, threads;
    struct vkring_memory_use device;
};

struct soak {
    struct shared *shared;
    uint32_t rank;
    vkring_device *device;
    struct holdings before;
    uint64_t least_kibibytes, most_at_first; /* of the last WINDOW rounds, and of the first after the warm ones */
};

static uint64_t entries_of(const char *path)
{
    uint64_t count = 0;
    DIR *folder = opendir(path);
    while (folder && readdir(folder))
        count++;
    if (folder)
        closedir(folder);
    return count;
}

static uint64_t resident_kibibytes(void)
{
    unsigned long long total = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%llu %llu", &total, &resident) != 2)
        resident = 0;
    if (file)
        fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
}

static struct holdings hold(vkring_device *device)
{
    const int64_t kept = device->pipelines.idle; /* for later plans */
    struct holdings holdings = {.blocks = failing_calls.blocks - kept,
                                .objects = failing_calls.objects - OBJECTS_OF_PIPELINE * kept,
                                .descriptors = entries_of("/proc/self/fd"),
                                .threads = entries_of("/proc/self/task")};
    malloc_trim(0);
    holdings.resident_kibibytes = resident_kibibytes();
    vkring_device_get_memory_use(device, &holdings.device);
    return holdings;
}

static bool complain(const struct soak *soak, uint64_t round, const char *what)
{
    fprintf(stderr, "rank %" PRIu32 ", round %" PRIu64 ": %s\n", soak->rank, round, what);
    return false;
}

static bool compare(const struct soak *soak, uint64_t round, const struct holdings *now)
{
    const struct holdings *before = &soak->before;
    bool same = true;
    if (now->device.device_bytes != before->device.device_bytes || now->device.host_bytes != before->device.host_bytes)
        same = complain(soak, round, "device memory is lost");
    if (now->descriptors > before->descriptors + spare_entries)
        same = complain(soak, round, "descriptors are lost");
    if (now->threads > before->threads + spare_entries)
        same = complain(soak, round, "threads are lost");
    if (now->blocks != before->blocks)
        same = complain(soak, round, "blocks of memory are lost");
    if (now->objects != before->objects)
        same = complain(soak, round, "Vulkan objects are lost");
    return same;
}

/* What a device that is in use keeps is bounded, but not yet full at first: the most of the first WINDOW rounds is the measure of the least
 * of later ones. */
static bool compare_resident(struct soak *soak, uint64_t round, uint64_t kibibytes)
{
    if (round < WARM_ROUNDS)
        return true;
    if (round < WARM_ROUNDS + WINDOW) {
        soak->most_at_first = max_u64(soak->most_at_first, kibibytes);
        soak->least_kibibytes = UINT64_MAX;
        return true;
    }
    soak->least_kibibytes = min_u64(soak->least_kibibytes, kibibytes);
    if ((round - WARM_ROUNDS) % WINDOW != WINDOW - 1)
        return true;
    const bool grows = soak->least_kibibytes > soak->most_at_first + spare_kibibytes;
    soak->least_kibibytes = UINT64_MAX;
    return !grows || complain(soak, round, "resident memory grows");
}

static void report(const struct soak *soak, uint64_t round, const struct holdings *now)
{
    printf("rank %" PRIu32 ", round %" PRIu64 ": %" PRIu64 " KiB resident (most at first %" PRIu64 "), %" PRId64 " blocks, %" PRId64
           " objects, %" PRIu64 " descriptors, %" PRIu64 " threads\n",
           soak->rank, round, now->resident_kibibytes, soak->most_at_first, now->blocks, now->objects, now->descriptors, now->threads);
}

/* What does not change the kernels. */
static struct attention_case draw(struct dice *dice)
{
    struct attention_case c = {.name = "soak", .seed = throw_dice(dice, 1000), .params = problems[throw_dice(dice, PROBLEMS)]};
    struct vkring_plan_params *p = &c.params;
    p->q_len += throw_dice(dice, 20);
    p->kv_len += throw_dice(dice, 20);
    p->batch = throw_dice(dice, 10) ? p->batch : 0;
    p->has_query_offset = throw_dice(dice, 2);
    p->query_offset = (int64_t)throw_dice(dice, 30);
    p->layout = (enum vkring_layout)throw_dice(dice, VKRING_LAYOUT_AUTO + 1);
    p->chunk_bytes = 256 + throw_dice(dice, 4000);
    p->dispatch_seconds = throw_dice(dice, 4) ? 0 : 1e-6;
    p->timeout_seconds = LONGEST_SECONDS;
    return c;
}

/* Refused, by all ranks alike, and of no consequence. */
static bool refuses(vkring_device *device, vkring_comm *comm, struct attention_case c)
{
    vkring_plan *plan = NULL;
    c.params.heads = 0;
    return vkring_plan_create(device, comm, &c.params, &plan) == VKRING_ERROR_INVALID_ARGUMENT && !plan;
}

/* The next communicator uses the same memory: nothing of it may come while another rank still has this one. */
static bool meet(struct shared *shared)
{
    const uint64_t all = (atomic_fetch_add(&shared->meetings, 1) / RANKS + 1) * RANKS;
    const double begin = clock_seconds();
    while (atomic_load(&shared->meetings) < all && clock_seconds() - begin < LONGEST_SECONDS)
        clock_sleep(1e-4);
    return atomic_load(&shared->meetings) >= all;
}

static bool around_the_ring(struct soak *soak, const struct attention_case *c)
{
    struct wire *wire;
    vkring_comm *comm = NULL;
    if (wire_comm_create(&soak->shared->net, soak->rank, RANKS, &wire, &comm) != VKRING_OK)
        return false;
    bool good = refuses(soak->device, comm, *c) && case_passes(c, soak->device, comm) && meet(soak->shared);
    vkring_comm_destroy(&comm);
    return good;
}

static bool play_round(struct soak *soak, uint64_t round)
{
    struct dice dice = {.seed = SEED + 1000003 * round};
    const struct attention_case alone = draw(&dice), together = draw(&dice);
    if (round % REOPENED == REOPENED - 1) {
        vkring_device_destroy(&soak->device);
        soak->device = test_device_open(NULL);
    }
    return refuses(soak->device, NULL, alone) && case_passes(&alone, soak->device, NULL) && around_the_ring(soak, &together);
}

static bool look(struct soak *soak, uint64_t round, bool say)
{
    const struct holdings now = hold(soak->device);
    if (round < WARM_ROUNDS)
        soak->before = now;
    if (say)
        report(soak, round, &now);
    return compare(soak, round, &now) && compare_resident(soak, round, now.resident_kibibytes);
}

static bool soak_rank(struct soak *soak, double seconds)
{
    const double begin = clock_seconds();
    double said = begin;
    bool good = true;
    soak->device = test_device_open(NULL);
    for (uint64_t round = 0; good; round++) {
        if (soak->rank == 0 && round > WARM_ROUNDS && clock_seconds() - begin > seconds)
            atomic_store(&soak->shared->last_round, round);
        good = play_round(soak, round) || complain(soak, round, vkring_last_error()->message);
        const bool last = atomic_load(&soak->shared->last_round) <= round;
        const bool say = last || clock_seconds() - said > report_seconds;
        said = say ? clock_seconds() : said;
        good = look(soak, round, say) && good;
        if (last)
            break;
    }
    vkring_device_destroy(&soak->device);
    return good;
}

static int wait_for(const pid_t *ids)
{
    int result = EXIT_SUCCESS;
    for (int rank = 0; rank < RANKS; rank++) {
        int status = 0;
        waitpid(ids[rank], &status, 0);
        const int code = WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
        result = result == EXIT_FAILURE ? result : code;
    }
    return result;
}

int main(int argc, char **argv)
{
    const double seconds = argc > 1 ? strtod(argv[1], NULL) : 20;
    struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t ids[RANKS];
    if (shared == MAP_FAILED)
        return EXIT_FAILURE;
    setvbuf(stdout, NULL, _IOLBF, 0);
    atomic_store(&shared->last_round, UINT64_MAX);
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        ids[rank] = fork();
        if (ids[rank] == 0) {
            struct soak soak = {.shared = shared, .rank = rank};
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            return soak_rank(&soak, seconds) ? EXIT_SUCCESS : EXIT_FAILURE;
        }
    }
    const int result = wait_for(ids);
    printf("%d passed, %d failed\n", result == EXIT_SUCCESS, result == EXIT_FAILURE);
    return result;
}
