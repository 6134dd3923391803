/* SPDX-License-Identifier: MIT */
/* vkring-bench: how fast attention is here, alone and around the ring. */
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../tools/host_devices.h"
#include "../tools/verdict.h"
#include "bench_cache.h"
#include "bench_feedforward.h"
#include "bench_output.h"

#define HOST_NAME_BYTES 128

static bool is_wanted(const struct bench_options *options, const struct bench_case *which)
{
    if (!options->pattern)
        return !which->is_long;
    return fnmatch(options->pattern, which->name, 0) == 0;
}

static uint32_t choose_cases(const struct bench_options *options, struct bench_case *out_cases)
{
    uint32_t count = 0;
    if (options->own) {
        out_cases[0] = (struct bench_case){.name = "own", .problem = options->problem};
        return 1;
    }
    for (uint32_t i = 0; i < bench_case_count; i++)
        if (is_wanted(options, &bench_cases[i]))
            out_cases[count++] = bench_cases[i];
    return count;
}

static void list_cases(void)
{
    for (uint32_t i = 0; i < bench_case_count; i++)
        printf("%s%s\n", bench_cases[i].name, bench_cases[i].is_long ? " (long)" : "");
}

/* How many ranks of this host come before this one. */
static bool host_turn(struct ranks *ranks, uint32_t *out_turn, struct failure *failure)
{
    char mine[HOST_NAME_BYTES] = "";
    char *all = calloc(ranks->size, HOST_NAME_BYTES);
    if (!all)
        return fail_memory(failure);
    gethostname(mine, sizeof(mine) - 1);
    const bool good = verdict_gather(ranks, mine, sizeof(mine), all, failure);
    *out_turn = 0;
    for (uint32_t rank = 0; good && rank < ranks->rank; rank++)
        *out_turn += memcmp(all + (size_t)rank * HOST_NAME_BYTES, mine, HOST_NAME_BYTES) == 0;
    free(all);
    return good;
}

static bool open_device(struct bench_setting *setting, uint32_t turn, struct failure *failure)
{
    struct vkring_device_params params = {.index = setting->options->device};
    struct host_devices devices = {0};
    bool good = true;
    if (!setting->options->has_device) {
        good = host_devices_list(&devices, setting->ranks->rank, failure) && host_devices_turn(&devices, turn, &params.index, failure);
        host_devices_free(&devices);
    }
    if (good && vkring_device_create(&params, &setting->device) != VKRING_OK)
        good = fail_library(failure, setting->ranks->rank);
    return good;
}

static bool agree(struct ranks *ranks, const struct failure *failure, enum exit_status *out_status)
{
    *out_status = verdict_agree(ranks, failure, false);
    return *out_status == EXIT_STATUS_DONE;
}

static bool write_files(struct bench_setting *setting, const struct bench_result *results, uint32_t count, struct failure *failure)
{
    struct vkring_device_info device;
    if (setting->ranks->rank > 0)
        return true;
    vkring_device_get_info(setting->device, &device);
    return bench_write_csv(&setting->csv, results, count, setting->ranks->size, failure) &&
           bench_write_json(&setting->json, results, count, setting->ranks->size, &device, failure);
}

static enum exit_status measure_cases(struct bench_setting *setting, const struct bench_case *cases, uint32_t count)
{
    struct bench_result *results = calloc(count, sizeof(*results));
    struct failure failure = {0};
    enum exit_status status;
    if (!results)
        fail_memory(&failure);
    if (setting->ranks->rank == 0)
        bench_print_header();
    if (!agree(setting->ranks, &failure, &status))
        goto done;
    for (uint32_t i = 0; i < count; i++) {
        progress_phase(setting->progress, cases[i].name, 0);
        bench_measure(setting, &cases[i], &results[i], &failure);
        if (!agree(setting->ranks, &failure, &status))
            goto done;
        if (setting->ranks->rank == 0)
            bench_print_row(&results[i], setting->ranks->size);
    }
    write_files(setting, results, count, &failure);
    agree(setting->ranks, &failure, &status);
done:
    free(results);
    return status;
}

static bool write_peak(struct bench_setting *setting, struct failure *failure)
{
    struct bench_peak peak = {0};
    struct vkring_device_info device;
    vkring_device_get_info(setting->device, &device);
    if (!bench_peak_measure(&device, &peak, failure))
        return false;
    bench_print_peak(&peak, &device);
    return bench_write_peak_json(&setting->json, &peak, &device, failure);
}

/* On the first rank's device: no case. */
static enum exit_status measure_device(struct bench_setting *setting)
{
    struct failure failure = {0};
    enum exit_status status;
    if (setting->ranks->rank == 0 && setting->options->feedforward)
        bench_feedforward(setting, &failure);
    else if (setting->ranks->rank == 0 && setting->options->cache)
        bench_cache(setting, &failure);
    else if (setting->ranks->rank == 0)
        write_peak(setting, &failure);
    agree(setting->ranks, &failure, &status);
    return status;
}

/* Before hours of measuring, whether what they find can be written. */
static bool place_files(struct bench_setting *setting, struct failure *failure)
{
    const struct bench_options *options = setting->options;
    const char *const files[] = {options->csv, options->json};
    return setting->ranks->rank > 0 ||
           (output_files_apart(files, 0, 2, failure) && report_file_place(&setting->csv, options->csv, failure) &&
            report_file_place(&setting->json, options->json, failure));
}

static enum exit_status bench(struct ranks *ranks, const struct bench_options *options)
{
    struct progress progress = {0};
    struct bench_setting setting = {.ranks = ranks, .progress = &progress, .options = options, .csv.file.fd = -1, .json.file.fd = -1};
    struct bench_case *cases = calloc(bench_case_count + 1, sizeof(*cases));
    struct failure failure = {0};
    enum exit_status status;
    uint32_t turn = 0, count = 0;

    if (!cases)
        fail_memory(&failure);
    else if ((count = choose_cases(options, cases)) == 0)
        fail_usage(&failure, "no case matches '%s'; see vkring-bench --list", options->pattern);
    else
        place_files(&setting, &failure);
    if (!agree(ranks, &failure, &status))
        goto done;
    if (host_turn(ranks, &turn, &failure))
        open_device(&setting, turn, &failure);
    if (!agree(ranks, &failure, &status))
        goto done;
    if (ranks_make_comm(ranks, &setting.comm) != VKRING_OK)
        fail_library(&failure, ranks->rank);
    if (!agree(ranks, &failure, &status))
        goto done;
    if (options->peak || options->feedforward || options->cache) {
        status = measure_device(&setting);
        goto done;
    }
    progress_start(&progress, ranks, options->quiet);
    status = measure_cases(&setting, cases, count);
    progress_stop(&progress);
done:
    if (status == EXIT_STATUS_DONE) {
        vkring_comm_destroy(&setting.comm);
        vkring_device_destroy(&setting.device);
    }
    report_file_release(&setting.csv);
    report_file_release(&setting.json);
    free(cases);
    return status;
}

/* All lines were flushed before: why one did not get out is not known any more. */
static bool check_output(const struct ranks *ranks, struct failure *failure)
{
    return ranks->rank > 0 || (fflush(stdout) == 0 && !ferror(stdout)) || fail_run(failure, "cannot write standard output");
}

/* Whether ranks were asked for the same. */
static bool compare_wishes(struct ranks *ranks, const struct bench_options *options, struct failure *failure)
{
    const struct verdict_field fields[] = {{"--help", options->help}, {"--list", options->list}};
    return verdict_compare(ranks, fields, sizeof(fields) / sizeof(fields[0]), failure);
}

static enum exit_status run(struct ranks *ranks, int argc, char **argv)
{
    struct bench_options options;
    struct failure failure = {0};
    enum exit_status status;
    bench_options_parse(argc, argv, ranks->size, &options, &failure);
    if (!agree(ranks, &failure, &status))
        goto done;
    compare_wishes(ranks, &options, &failure);
    if (!agree(ranks, &failure, &status))
        goto done;
    if (!options.help && !options.list)
        status = bench(ranks, &options);
    else if (ranks->rank == 0 && options.help)
        fputs(bench_help, stdout);
    else if (ranks->rank == 0)
        list_cases();
    if (status == EXIT_STATUS_DONE) {
        check_output(ranks, &failure);
        agree(ranks, &failure, &status);
    }
done:
    bench_options_free(&options);
    return status;
}

int main(int argc, char **argv)
{
    struct ranks ranks;
    struct failure failure = {0};
    enum exit_status status = EXIT_STATUS_FAILED;
    output_files_spare_standard();
    if (ranks_start(&ranks, &argc, &argv, &failure))
        status = run(&ranks, argc, argv);
    else if (ranks.rank == 0)
        failure_print(failure.message, false);
    ranks_finish(&ranks, status);
}
