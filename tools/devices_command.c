/* SPDX-License-Identifier: MIT */
/* vkring devices: what the Vulkan devices of this host are, and whether they can be used. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "device_kernels.h"
#include "host_devices.h"
#include "json_text.h"
#include "verdict.h"

static const char help[] = "usage: vkring devices [--json] [--kernels]\n"
                           "\n"
                           "Lists the Vulkan devices of this host, best first, and what they support.\n"
                           "\n"
                           "      --json      for programs\n"
                           "      --kernels   also which kernels each gets for usual problems, and why; this opens the devices\n"
                           "  -h, --help      this text\n"
                           "\n"
                           "Exit status: 0 done; 1 there is none; 2 wrong usage.\n";

struct devices_options {
    bool json;
    bool kernels;
    bool help;
};

static bool parse(struct devices_options *options, int argc, char **argv, struct failure *failure)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            options->json = true;
        else if (strcmp(argv[i], "--kernels") == 0)
            options->kernels = true;
        else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            options->help = true;
        else
            return fail_usage(failure, "%s %s; see vkring devices --help", argv[i][0] == '-' ? "unknown option" : "unexpected argument",
                              argv[i]);
    }
    return true;
}

/* ["16x16x16", …] */
static json_t *matrix_shapes_json(const struct vkring_device_info *info)
{
    json_t *shapes = json_array();
    for (uint32_t i = 0; i < info->matrix_shape_count; i++) {
        const struct vkring_matrix_shape *shape = &info->matrix_shapes[i];
        json_array_append_new(shapes, json_sprintf("%" PRIu32 "x%" PRIu32 "x%" PRIu32, shape->m, shape->n, shape->k));
    }
    return shapes;
}

static json_t *device_json(const struct vkring_device_info *info, uint32_t index)
{
    char version[48];
    snprintf(version, sizeof(version), "%" PRIu32 ".%" PRIu32 ".%" PRIu32, info->vulkan_version[0], info->vulkan_version[1],
             info->vulkan_version[2]);
    return json_pack("{s:I, s:o, s:o, s:s, s:I, s:I, s:s, s:o, s:I, s:I, s:I, s:I, s:b, s:o, s:b, s:b, s:b, s:o}", "index",
                     (json_int_t)index, "name", json_text(info->name), "driver", json_text(info->driver), "kind",
                     device_kind_text(info->kind), "vendor_id", (json_int_t)info->vendor_id, "device_id", (json_int_t)info->device_id,
                     "vulkan_version", version, "memory_bytes", json_size(info->memory_bytes), "subgroup_size",
                     (json_int_t)info->subgroup_size, "min_subgroup_size", (json_int_t)info->min_subgroup_size, "lane_registers",
                     (json_int_t)info->lane_registers, "shared_memory_bytes", (json_int_t)info->shared_memory_bytes, "f16", info->f16,
                     "matrix_shapes", matrix_shapes_json(info), "unified_memory", info->unified_memory, "transfer_queue",
                     info->transfer_queue, "supported", info->supported, "reason", json_text(info->reason));
}

/* The text is the caller's to free; null when out of memory. kernels: one a device, each may be null. */
static char *list_as_json(const struct host_devices *devices, json_t *const *kernels)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < devices->count; i++) {
        json_t *device = device_json(&devices->infos[i], i);
        if (kernels[i])
            json_object_set(device, "kernels", kernels[i]);
        json_array_append_new(list, device);
    }
    char *text = json_dumps(list, JSON_INDENT(2));
    json_decref(list);
    return text;
}

static const char *yes_or_no(bool yes)
{
    return yes ? "yes" : "no";
}

static void describe_matrices(FILE *out, const struct vkring_device_info *info)
{
    fprintf(out, "   matrix units     %s", info->matrix_shape_count ? "" : "none");
    for (uint32_t i = 0; i < info->matrix_shape_count; i++) {
        const struct vkring_matrix_shape *shape = &info->matrix_shapes[i];
        fprintf(out, "%s%" PRIu32 "x%" PRIu32 "x%" PRIu32, i > 0 ? ", " : "", shape->m, shape->n, shape->k);
    }
    fprintf(out, "\n");
}

static void describe(FILE *out, const struct vkring_device_info *info, uint32_t index)
{
    fprintf(out, "%" PRIu32 ": %s\n", index, info->name);
    fprintf(out, "   driver           %s\n", info->driver);
    fprintf(out, "   kind             %s, Vulkan %" PRIu32 ".%" PRIu32 ".%" PRIu32 "\n", device_kind_text(info->kind),
            info->vulkan_version[0], info->vulkan_version[1], info->vulkan_version[2]);
    fprintf(out, "   memory           %.1f GiB, %s\n", (double)info->memory_bytes / (1 << 30),
            info->unified_memory ? "unified with the host's" : "its own");
    fprintf(out, "   subgroups        %" PRIu32 " lanes; %" PRIu32 " KiB of shared memory\n", info->subgroup_size,
            info->shared_memory_bytes / 1024);
    fprintf(out, "   f16 and bf16     %s\n", yes_or_no(info->f16));
    describe_matrices(out, info);
    fprintf(out, "   transfer queue   %s\n", yes_or_no(info->transfer_queue));
    fprintf(out, "   supported        %s%s%s\n", yes_or_no(info->supported), info->supported ? "" : ": ", info->reason);
}

static char *list_as_text(const struct host_devices *devices, json_t *const *kernels)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    for (uint32_t i = 0; i < devices->count; i++) {
        describe(out, &devices->infos[i], i);
        device_kernels_print(out, kernels[i]);
    }
    fclose(out);
    return text;
}

/* Of those that can be used, if they are wanted. */
static bool find_kernels(const struct host_devices *devices, bool wanted, json_t **kernels, struct failure *failure)
{
    for (uint32_t i = 0; wanted && i < devices->count; i++) {
        if (!devices->infos[i].supported)
            continue;
        kernels[i] = device_kernels(i, failure);
        if (!kernels[i])
            return false;
    }
    return true;
}

static bool print_devices(const struct ranks *ranks, const struct host_devices *devices, const struct devices_options *options,
                          struct failure *failure)
{
    json_t **kernels = calloc(devices->count, sizeof(*kernels));
    char *text = NULL;
    bool good = (kernels || fail_memory(failure)) && find_kernels(devices, options->kernels, kernels, failure);
    if (good) {
        text = options->json ? list_as_json(devices, kernels) : list_as_text(devices, kernels);
        good = text ? command_print(ranks, text, failure) : fail_memory(failure);
    }
    if (good && options->json)
        good = command_print(ranks, "\n", failure);
    for (uint32_t i = 0; kernels && i < devices->count; i++)
        json_decref(kernels[i]);
    free(kernels);
    free(text);
    return good;
}

/* Rank 0 lists those of its host. */
static bool list(const struct ranks *ranks, const struct devices_options *options, struct failure *failure)
{
    struct host_devices devices = {0};
    if (ranks->rank > 0)
        return true;
    bool good = host_devices_list(&devices, ranks->rank, failure);
    if (good && devices.count == 0)
        good = fail_run(failure, "no Vulkan device on this host");
    good = good && print_devices(ranks, &devices, options, failure);
    host_devices_free(&devices);
    return good;
}

enum exit_status devices_command(struct ranks *ranks, int argc, char **argv)
{
    struct devices_options options = {0};
    struct failure failure = {0};
    if (parse(&options, argc, argv, &failure)) {
        if (options.help)
            command_print(ranks, help, &failure);
        else
            list(ranks, &options, &failure);
    }
    return verdict_agree(ranks, &failure, false);
}
