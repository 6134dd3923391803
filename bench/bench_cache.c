/* SPDX-License-Identifier: MIT */
#include "bench_cache.h"

#include <jansson.h>
#include <math.h>
#include <ref/compare.h>
#include <ref/reference.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vkring/cache.h>
#include <vkring/tune.h>

#include "../tools/json_text.h"
#include "../tools/now.h"
#include "bench_draw.h"
#include "bench_host_memory.h"
#include "bench_timing.h"

/* Rows that are appended at a time; the cache holds these, again and again. */
#define PIECE_ROWS 8192u

#define DECODE_WIDE(keys, shared, dim)                                                                                                     \
    .batch = 1, .q_len = PIECE_ROWS, .kv_len = (keys), .heads = 8, .kv_heads = (shared), .head_dim = (dim)
#define DECODE(keys, shared) DECODE_WIDE(keys, shared, 64)

static const struct cache_case {
    const char *name;
    uint64_t queries; /* of a step */
    struct vkring_cache_params params;
} cases[] = {
    {"f32-64k", 1, {.attention = {DECODE(65536, 8)}}},
    {"f32-64k-rows8", 8, {.attention = {DECODE(65536, 8), .causal = true}}},
    {"f32-32k-d128", 1, {.attention = {DECODE_WIDE(32768, 8, 128)}}},
    {"f32-64k-kv2", 1, {.attention = {DECODE(65536, 2)}}},
    {"f32-64k-kv2-rows16", 16, {.attention = {DECODE(65536, 2), .causal = true}}},
    {"f16-64k", 1, {.attention = {DECODE(65536, 8), .type = VKRING_TYPE_F16}}},
    {"f16-64k-kv2", 1, {.attention = {DECODE(65536, 2), .type = VKRING_TYPE_F16}}},
    {"bf16-64k-kv2", 1, {.attention = {DECODE(65536, 2), .type = VKRING_TYPE_BF16}}},
    {"f16-64k-int8", 1, {.attention = {DECODE(65536, 8), .type = VKRING_TYPE_F16}, .storage = VKRING_CACHE_INT8}},
    {"f16-64k-kv2-int8", 1, {.attention = {DECODE(65536, 2), .type = VKRING_TYPE_F16}, .storage = VKRING_CACHE_INT8}},
};
enum { CASES = sizeof(cases) / sizeof(cases[0]), TENSORS = 4 };

enum { QUERY, KEY, VALUE, OUTPUT };

struct trial {
    const struct cache_case *which;
    vkring_cache *cache;
    vkring_buffer *buffers[TENSORS];
    float *values[TENSORS];           /* of those that are read, rounded to the type */
    struct bench_timing append, step; /* of a piece; of a step */
};

static const struct vkring_plan_params *attention_of(const struct trial *trial)
{
    return &trial->which->params.attention;
}

static uint64_t elements_of(const struct trial *trial, int tensor)
{
    const struct vkring_plan_params *attention = attention_of(trial);
    const bool of_keys = tensor == KEY || tensor == VALUE;
    return (of_keys ? PIECE_ROWS * attention->kv_heads : trial->which->queries * attention->heads) * attention->head_dim;
}

static bool fill(struct trial *trial, int tensor, struct failure *failure)
{
    const struct bench_draw draw = {
        .seed = (uint64_t)tensor + 1,
        .count = elements_of(trial, tensor),
        .factor = 1,
        .type = attention_of(trial)->type,
    };
    void *rounded = malloc(draw.count * sizeof(float));
    trial->values[tensor] = malloc(draw.count * sizeof(float));
    bool good = rounded && trial->values[tensor] ? true : fail_memory(failure);
    if (good) {
        bench_draw(&draw, trial->values[tensor], rounded);
        good = vkring_buffer_upload(trial->buffers[tensor], 0, rounded, draw.count * vkring_type_bytes(draw.type)) == VKRING_OK ||
               fail_library(failure, 0);
    }
    free(rounded);
    return good;
}

static bool make(vkring_device *device, struct trial *trial, struct failure *failure)
{
    for (int tensor = 0; tensor < TENSORS; tensor++) {
        const uint64_t bytes = elements_of(trial, tensor) * vkring_type_bytes(attention_of(trial)->type);
        if (vkring_buffer_create(device, bytes, &trial->buffers[tensor]) != VKRING_OK)
            return fail_library(failure, 0);
        if (tensor != OUTPUT && !fill(trial, tensor, failure))
            return false;
    }
    return vkring_cache_create(device, NULL, &trial->which->params, &trial->cache) == VKRING_OK || fail_library(failure, 0);
}

static void free_trial(struct trial *trial)
{
    vkring_cache_destroy(&trial->cache);
    for (int tensor = 0; tensor < TENSORS; tensor++) {
        vkring_buffer_destroy(&trial->buffers[tensor]);
        free(trial->values[tensor]);
    }
}

static bool append(struct trial *trial, struct failure *failure)
{
    const uint64_t rows = PIECE_ROWS;
    const struct vkring_cache_append_io io = {.rows = &rows, .key.buffer = trial->buffers[KEY], .value.buffer = trial->buffers[VALUE]};
    return vkring_cache_append(trial->cache, &io) == VKRING_OK || fail_library(failure, 0);
}

/* From empty to full. */
static bool fill_cache(void *context, struct failure *failure)
{
    struct trial *trial = context;
    if (vkring_cache_reset(trial->cache) != VKRING_OK)
        return fail_library(failure, 0);
    for (uint64_t rows = 0; rows < attention_of(trial)->kv_len; rows += PIECE_ROWS)
        if (!append(trial, failure))
            return false;
    return true;
}

static bool attend(void *context, struct failure *failure)
{
    struct trial *trial = context;
    const struct vkring_cache_attend_io io = {
        .rows = &trial->which->queries,
        .query.buffer = trial->buffers[QUERY],
        .output.buffer = trial->buffers[OUTPUT],
    };
    return vkring_cache_attend(trial->cache, &io) == VKRING_OK || fail_library(failure, 0);
}

static struct error_gate gate_of(const struct trial *trial, vkring_device *device)
{
    const struct vkring_plan_params *attention = attention_of(trial);
    struct vkring_kernel_choice choice;
    const bool chosen = vkring_kernels_choose(device, attention, &choice) == VKRING_OK;
    return chosen && strstr(choice.words, "matrix=1") ? forward_gate_on_matrices(attention->type) : forward_gate(attention->type);
}

/* Head 0 of the last query, in float64, within what the type allows; integers of 8 bits are compared with nothing. */
static bool validate(struct trial *trial, vkring_device *device, struct failure *failure)
{
    const struct vkring_plan_params *attention = attention_of(trial);
    const uint64_t dim = attention->head_dim, rows = attention->kv_len, last = (trial->which->queries - 1) * attention->heads * dim;
    const struct error_gate gate = gate_of(trial, device);
    float *keys = malloc(rows * dim * sizeof(float)), *values = malloc(rows * dim * sizeof(float));
    double *expected = malloc(dim * sizeof(double));
    uint16_t *stored = malloc(dim * sizeof(float));
    float *output = malloc(dim * sizeof(float));
    bool good = keys && values && expected && stored && output;
    for (uint64_t row = 0; good && row < rows; row++) {
        const uint64_t from = row % PIECE_ROWS * attention->kv_heads * dim;
        memcpy(keys + row * dim, trial->values[KEY] + from, dim * sizeof(float));
        memcpy(values + row * dim, trial->values[VALUE] + from, dim * sizeof(float));
    }
    const struct reference_problem problem = {.batch = 1,
                                              .q_len = 1,
                                              .kv_len = rows,
                                              .heads = 1,
                                              .kv_heads = 1,
                                              .head_dim = dim,
                                              .value_dim = dim,
                                              .scale = 1 / sqrt((double)dim)};
    const uint64_t bytes = vkring_type_bytes(attention->type);
    if (!good)
        fail_memory(failure);
    else if (vkring_buffer_download(trial->buffers[OUTPUT], last * bytes, stored, dim * bytes) != VKRING_OK)
        good = fail_library(failure, 0);
    else if (!reference_forward(&problem, trial->values[QUERY] + last, keys, values, 0, 1, expected, NULL))
        good = fail_memory(failure);
    else {
        vkring_convert_to_f32(attention->type, stored, dim, output);
        const struct error_measure error = error_measure(output, expected, dim);
        good = gate_passes(&gate, &error) ||
               fail_run(failure, "%s: wrong: error RMS %.3g, largest %.3g", trial->which->name, error.rms, error.maximum);
    }
    free(keys);
    free(values);
    free(expected);
    free(stored);
    free(output);
    return good;
}

static bool measure(const struct bench_setting *setting, struct trial *trial, const struct bench_host_memory *memory, json_t *results,
                    struct failure *failure)
{
    const uint32_t repeats = setting->options->repeats;
    const bool checked = !setting->options->no_validate && trial->which->params.storage == VKRING_CACHE_AS_TYPE;
    struct vkring_cache_info info;
    if (!make(setting->device, trial, failure) || !bench_time(fill_cache, trial, 1, &trial->append, failure) ||
        !bench_time(attend, trial, repeats, &trial->step, failure) || (checked && !validate(trial, setting->device, failure)))
        return false;
    vkring_cache_get_info(trial->cache, &info);
    const double bytes = (double)info.memory.storage_bytes;
    const double written = bytes / trial->append.median, read = bytes / trial->step.median;
    printf("%-20s %8.1f MB   %8.2f GB/s   %9.3f ms %8.2f GB/s", trial->which->name, bytes * 1e-6, written * 1e-9, trial->step.median * 1e3,
           read * 1e-9);
    if (memory->read > 0)
        printf("   %4.0f %% %4.0f %%", read / memory->copy * 100, read / memory->read * 100);
    printf("\n");
    fflush(stdout);
    json_array_append_new(results, json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "case", trial->which->name, "storage_bytes",
                                             json_measure(bytes), "append_bytes_per_second", json_measure(written), "step_seconds_median",
                                             json_measure(trial->step.median), "step_seconds_least", json_measure(trial->step.least),
                                             "step_bytes_per_second", json_measure(read)));
    return true;
}

static bool write_json(struct report_file *file, const struct vkring_device_info *device, const struct bench_host_memory *memory,
                       json_t *results, struct failure *failure)
{
    json_t *root =
        json_pack("{s:s, s:o, s:o, s:o, s:o, s:O}", "vkring", vkring_version(), "device", json_text(device->name), "driver",
                  json_text(device->driver), "copy_bytes_per_second", memory->copy > 0 ? json_measure(memory->copy) : json_null(),
                  "read_bytes_per_second", memory->read > 0 ? json_measure(memory->read) : json_null(), "cases", results);
    return report_file_write_json(file, root, failure);
}

bool bench_cache(struct bench_setting *setting, struct failure *failure)
{
    struct vkring_device_info device;
    struct bench_host_memory memory = {0}; /* where the device's memory is the host's cores' */
    json_t *results = json_array();
    vkring_device_get_info(setting->device, &device);
    bool good = device.kind != VKRING_DEVICE_CPU || bench_host_memory(&memory, failure);
    if (good && memory.read > 0)
        printf("%s; on all cores a copy reads and writes %.1f GB/s, a sum reads %.1f GB/s\n", device.name, memory.copy * 1e-9,
               memory.read * 1e-9);
    if (good)
        printf("%-20s %11s   %13s   %12s %13s%s\n", "cache", "size", "filled at", "a step", "read at",
               memory.read > 0 ? "  of copy, sum" : "");
    for (int i = 0; good && i < CASES; i++) {
        struct trial trial = {.which = &cases[i]};
        if (cases[i].params.attention.type != VKRING_TYPE_F32 && !device.f16)
            continue;
        good = measure(setting, &trial, &memory, results, failure);
        free_trial(&trial);
    }
    good = good && write_json(&setting->json, &device, &memory, results, failure);
    json_decref(results);
    return good;
}
