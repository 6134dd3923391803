/* SPDX-License-Identifier: MIT */
/* What --report of vkring decode writes. */
#include <jansson.h>
#include <stdlib.h>

#include "decode.h"
#include "json_text.h"
#include "verdict.h"

/* What one rank did, in one message. */
struct decode_report {
    struct rank_report base;
    struct vkring_cache_memory memory;
    uint64_t own_rows, append_sent_bytes, attend_sent_bytes;
    struct decode_part prefill, steps;
    double median_seconds, longest_seconds; /* of a step */
};

static int compare_seconds(const void *a, const void *b)
{
    const double first = *(const double *)a, second = *(const double *)b;
    return (first > second) - (first < second);
}

static struct decode_report report_of(struct decode *decode)
{
    const uint64_t steps = decode->options.steps;
    struct vkring_cache_info info;
    struct decode_report report = {.base = decode->attend.report, .prefill = decode->prefill, .steps = decode->steps};
    vkring_cache_get_info(decode->cache, &info);
    report.memory = info.memory;
    report.own_rows = info.own_rows;
    report.append_sent_bytes = info.append_sent_bytes;
    report.attend_sent_bytes = info.attend_sent_bytes;
    qsort(decode->step_seconds, steps, sizeof(double), compare_seconds);
    if (steps > 0) {
        report.median_seconds = decode->step_seconds[steps / 2];
        report.longest_seconds = decode->step_seconds[steps - 1];
    }
    return report;
}

static json_t *part_json(const struct decode_part *part)
{
    const double seconds = part->append_seconds + part->attend_seconds;
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "calls", json_size(part->pieces), "rows", json_size(part->rows), "append_seconds",
                     json_measure(part->append_seconds), "attend_seconds", json_measure(part->attend_seconds), "rows_per_second",
                     json_measure((double)part->rows / seconds));
}

static json_t *steps_json(const struct decode_report *report, uint64_t steps)
{
    json_t *json = part_json(&report->steps);
    json_object_set_new(json, "steps", json_size(steps));
    json_object_set_new(json, "median_step_seconds", steps > 0 ? json_measure(report->median_seconds) : json_null());
    json_object_set_new(json, "longest_step_seconds", steps > 0 ? json_measure(report->longest_seconds) : json_null());
    return json;
}

static json_t *memory_json(const struct decode_report *report)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "cache_storage_bytes", json_size(report->memory.storage_bytes), "cache_device_bytes",
                     json_size(report->memory.device_bytes), "cache_host_bytes", json_size(report->memory.host_bytes), "tensor_bytes",
                     json_size(report->base.tensor_bytes), "peak_device_bytes", json_size(report->base.memory.device_peak_bytes));
}

static json_t *link_json(const struct decode_report *report)
{
    return json_pack("{s:o, s:o}", "append_sent_bytes", json_size(report->append_sent_bytes), "attend_sent_bytes",
                     json_size(report->attend_sent_bytes));
}

static json_t *rank_json(const struct decode_report *report, uint32_t rank, uint64_t steps)
{
    return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "rank", (json_int_t)rank, "host", json_text(report->base.host), "device",
                     run_report_device(&report->base), "cached_rows", json_size(report->own_rows), "prefill", part_json(&report->prefill),
                     "decode", steps_json(report, steps), "memory", memory_json(report), "link", link_json(report));
}

static json_t *report_json(const struct decode *decode, const struct decode_report *reports)
{
    const struct attend *attend = &decode->attend;
    const struct decode_options *options = &decode->options;
    json_t *ranks = json_array();
    for (uint32_t rank = 0; rank < attend->ranks->size; rank++)
        json_array_append_new(ranks, rank_json(&reports[rank], rank, options->steps));
    return json_pack("{s:s, s:o, s:s, s:s, s:o, s:o}", "vkring", vkring_version(), "problem",
                     run_report_problem(&attend->options, &attend->problem), "storage", decode_storage_text(options->storage), "pass",
                     decode_pass_text(options->pass), "step_rows", json_size(options->step_rows), "ranks", ranks);
}

bool decode_write_report(struct attend *attend, struct failure *failure)
{
    struct decode *decode = decode_of(attend);
    const struct output_file *file = outputs_file(&attend->outputs, FILE_REPORT);
    if (!file->path)
        return true;
    const struct decode_report mine = report_of(decode);
    struct decode_report *reports = calloc(attend->ranks->size, sizeof(*reports));
    if (!reports)
        return fail_memory(failure);
    bool good = verdict_gather(attend->ranks, &mine, sizeof(mine), reports, failure);
    if (good && attend->ranks->rank == 0)
        good = run_report_put(report_json(decode, reports), file->fd, file->name, failure);
    free(reports);
    return good && outputs_flush(&attend->outputs, failure);
}
