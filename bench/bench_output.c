/* SPDX-License-Identifier: MIT */
#include "bench_output.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "../tools/host_devices.h"
#include "../tools/json_text.h"
#include "../tools/layout_text.h"

#define MIB 1048576.0

void bench_print_header(void)
{
    printf("%-27s %5s %9s %9s %9s %8s %9s %9s %9s %7s %9s %9s %9s %9s\n", "case", "ranks", "ms", "least", "most", "GFLOP/s", "compute s",
           "transfer", "exposed", "ratio", "sent MiB", "plan MiB", "took MiB", "error");
    fflush(stdout);
}

/* Time over compute: what the ring costs beside the work. */
static double ratio(const struct bench_result *result)
{
    return result->compute_seconds > 0 ? result->seconds_median / result->compute_seconds : 0;
}

void bench_print_row(const struct bench_result *result, uint32_t ranks)
{
    if (result->unsupported) {
        printf("%-27s unsupported: %s\n", result->name, result->unsupported);
        return;
    }
    printf("%-27s %5" PRIu32 " %9.2f %9.2f %9.2f %8.1f %9.4f %9.4f %9.4f %7.3f %9.2f %9.2f %9.2f ", result->name, ranks,
           result->seconds_median * 1e3, result->seconds_least * 1e3, result->seconds_most * 1e3, result->gflops, result->compute_seconds,
           result->transfer_seconds, result->exposed_wait_seconds, ratio(result), result->sent_bytes / MIB, result->planned_bytes / MIB,
           result->taken_bytes / MIB);
    if (result->validated)
        printf("%9.2g\n", result->error_maximum);
    else
        printf("%9s\n", "unchecked");
    fflush(stdout);
}

static const char *status_text(const struct bench_result *result)
{
    if (result->unsupported)
        return "unsupported";
    return result->validated ? "validated" : "unchecked";
}

static void print_csv(FILE *file, const struct bench_result *results, uint32_t count, uint32_t ranks)
{
    fprintf(file,
            "case,ranks,type,batch,q_len,kv_len,heads,kv_heads,head_dim,value_dim,causal,backward,layout,repeats,seconds_median,seconds_"
            "least,seconds_most,"
            "gflops,compute_seconds,transfer_seconds,exposed_wait_seconds,sent_bytes,planned_bytes,taken_bytes,peak_bytes,"
            "error_rms,error_maximum,status\n");
    for (uint32_t i = 0; i < count; i++) {
        const struct bench_result *r = &results[i];
        const struct vkring_plan_params *p = &r->problem;
        fprintf(file,
                "%s,%" PRIu32 ",%s,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%d,%d,%s,%" PRIu32
                ",%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%.0f,%.0f,%.0f,%.0f,%.9g,%.9g,%s\n",
                r->name, ranks, bench_type_name(p->type), p->batch, p->q_len, p->kv_len, p->heads, p->kv_heads ? p->kv_heads : p->heads,
                p->head_dim, p->value_dim ? p->value_dim : p->head_dim, p->causal, p->backward, layout_text(p->layout), r->repeats,
                r->seconds_median, r->seconds_least, r->seconds_most, r->gflops, r->compute_seconds, r->transfer_seconds,
                r->exposed_wait_seconds, r->sent_bytes, r->planned_bytes, r->taken_bytes, r->peak_bytes, r->error_rms, r->error_maximum,
                status_text(r));
    }
}

bool bench_write_csv(struct report_file *file, const struct bench_result *results, uint32_t count, uint32_t ranks, struct failure *failure)
{
    char *text = NULL;
    size_t bytes;
    FILE *memory = open_memstream(&text, &bytes);
    if (memory)
        print_csv(memory, results, count, ranks);
    const bool whole = memory && !ferror(memory);
    const bool good = (!memory || fclose(memory) == 0) && whole;
    const bool written = good ? report_file_write(file, text, bytes, failure) : fail_memory(failure);
    free(text);
    return written;
}

static json_t *problem_json(const struct vkring_plan_params *p)
{
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:b, s:s}", "type", bench_type_name(p->type), "batch",
                     json_size(p->batch), "q_len", json_size(p->q_len), "kv_len", json_size(p->kv_len), "heads", json_size(p->heads),
                     "kv_heads", json_size(p->kv_heads ? p->kv_heads : p->heads), "head_dim", json_size(p->head_dim), "value_dim",
                     json_size(p->value_dim ? p->value_dim : p->head_dim), "causal", p->causal, "backward", p->backward, "layout",
                     layout_text(p->layout));
}

static json_t *result_json(const struct bench_result *r)
{
    json_t *object = json_pack("{s:s, s:o, s:b}", "case", r->name, "problem", problem_json(&r->problem), "supported", !r->unsupported);
    if (!object || r->unsupported)
        return object;
    const struct {
        const char *key;
        double value;
    } measures[] = {
        {"seconds_median", r->seconds_median},
        {"seconds_least", r->seconds_least},
        {"seconds_most", r->seconds_most},
        {"gflops", r->gflops},
        {"compute_seconds", r->compute_seconds},
        {"transfer_seconds", r->transfer_seconds},
        {"exposed_wait_seconds", r->exposed_wait_seconds},
        {"computed_flop", r->computed_flop},
        {"sent_bytes", r->sent_bytes},
        {"planned_bytes", r->planned_bytes},
        {"taken_bytes", r->taken_bytes},
        {"peak_bytes", r->peak_bytes},
        {"error_rms", r->error_rms},
        {"error_maximum", r->error_maximum},
    };
    for (size_t i = 0; i < sizeof(measures) / sizeof(measures[0]); i++)
        json_object_set_new(object, measures[i].key, json_measure(measures[i].value));
    json_object_set_new(object, "repeats", json_integer(r->repeats));
    json_object_set_new(object, "validated", json_boolean(r->validated));
    json_object_set_new(object, "kernel", json_text(r->kernel));
    return object;
}

bool bench_write_json(struct report_file *file, const struct bench_result *results, uint32_t count, uint32_t ranks,
                      const struct vkring_device_info *device, struct failure *failure)
{
    json_t *cases = json_array();
    for (uint32_t i = 0; i < count; i++)
        json_array_append_new(cases, result_json(&results[i]));
    json_t *root = json_pack("{s:s, s:i, s:o, s:o, s:s, s:I, s:b, s:o}", "vkring", vkring_version(), "ranks", (int)ranks, "device",
                             json_text(device->name), "driver", json_text(device->driver), "kind", device_kind_text(device->kind),
                             "subgroup_size", (json_int_t)device->subgroup_size, "unified_memory", device->unified_memory, "cases", cases);
    return report_file_write_json(file, root, failure);
}

void bench_print_peak(const struct bench_peak *peak, const struct vkring_device_info *device)
{
    printf("%s: %.1f GFLOP/s (f32)\n", device->name, peak->device_gflops);
    for (uint32_t i = 0; i < peak->matrix_count; i++) {
        const struct vkring_matrix_shape *shape = &peak->matrices[i].shape;
        printf("%s: %.1f GFLOP/s (f16 summed in f32, matrix units, %" PRIu32 "x%" PRIu32 "x%" PRIu32 ")\n", device->name,
               peak->matrices[i].gflops, shape->m, shape->n, shape->k);
    }
    printf("%" PRIu32 " threads of this host: %.1f GFLOP/s (f32)\n", peak->host_threads, peak->host_gflops);
}

static json_t *matrix_peaks_json(const struct bench_peak *peak)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < peak->matrix_count; i++) {
        const struct vkring_matrix_shape *shape = &peak->matrices[i].shape;
        json_array_append_new(list, json_pack("{s:[I,I,I], s:o}", "shape", (json_int_t)shape->m, (json_int_t)shape->n, (json_int_t)shape->k,
                                              "gflops", json_measure(peak->matrices[i].gflops)));
    }
    return list;
}

bool bench_write_peak_json(struct report_file *file, const struct bench_peak *peak, const struct vkring_device_info *device,
                           struct failure *failure)
{
    json_t *root = json_pack("{s:s, s:o, s:o, s:s, s:o, s:o, s:o, s:I}", "vkring", vkring_version(), "device", json_text(device->name),
                             "driver", json_text(device->driver), "kind", device_kind_text(device->kind), "device_gflops",
                             json_measure(peak->device_gflops), "matrix_peaks", matrix_peaks_json(peak), "host_gflops",
                             json_measure(peak->host_gflops), "host_threads", (json_int_t)peak->host_threads);
    return report_file_write_json(file, root, failure);
}
