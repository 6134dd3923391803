/* SPDX-License-Identifier: MIT */
#include "plan_speeds.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "element.h"
#include "host_devices.h"

static double number_in(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : 0;
}

static double divide(double flop, double seconds)
{
    return flop > 0 && seconds > 0 ? flop / seconds : 0;
}

/* FLOP/s in kernels; 0 where the object does not say. */
static double speed_in(const json_t *run)
{
    const double computed = number_in(run, "computed_flop");
    return divide(computed > 0 ? computed : number_in(run, "flop"), number_in(json_object_get(run, "seconds"), "compute"));
}

static void copy_text(const json_t *object, const char *key, size_t size, char *out)
{
    const char *text = json_string_value(json_object_get(object, key));
    snprintf(out, size, "%s", text ? text : "");
}

/* What kernels are chosen by. False where the object does not say. */
static bool read_device(const json_t *object, struct vkring_device_info *out_info)
{
    const char *kind = json_string_value(json_object_get(object, "kind"));
    const double subgroup_size = number_in(object, "subgroup_size");
    if (!kind || subgroup_size < 1 || subgroup_size > 128)
        return false;
    *out_info = (struct vkring_device_info){
        .kind = device_kind_of(kind),
        .subgroup_size = (uint32_t)subgroup_size,
        .unified_memory = json_is_true(json_object_get(object, "unified_memory")),
    };
    copy_text(object, "driver", sizeof(out_info->driver), out_info->driver);
    return true;
}

static bool take_devices(struct plan_options *options, uint32_t count, struct failure *failure)
{
    options->devices = calloc(count, sizeof(*options->devices));
    return options->devices ? true : fail_memory(failure);
}

/* Unless all are known. */
static void forget_devices(struct plan_options *options)
{
    free(options->devices);
    options->devices = NULL;
}

static bool take(struct plan_amounts *amounts, uint32_t count, struct failure *failure)
{
    amounts->values = calloc(count, sizeof(*amounts->values));
    amounts->count = count;
    return amounts->values ? true : fail_memory(failure);
}

/* Of vkring attend. */
static bool read_report(struct plan_options *options, const json_t *ranks, struct failure *failure)
{
    const size_t count = json_array_size(ranks);
    if (count != 1 && count != options->ranks)
        return fail_usage(failure, "%s: has %zu ranks, neither 1 nor %" PRIu64, options->from, count, options->ranks);
    if (!take(&options->flops, (uint32_t)count, failure) || !take(&options->backward_flops, (uint32_t)count, failure))
        return false;
    if (!take_devices(options, (uint32_t)count, failure))
        return false;
    bool known = true;
    for (size_t rank = 0; rank < count; rank++) {
        const json_t *its = json_array_get(ranks, rank);
        const double forward = speed_in(its), backward = speed_in(json_object_get(its, "backward"));
        if (forward == 0)
            return fail_usage(failure, "%s: rank %zu computed nothing", options->from, rank);
        options->flops.values[rank] = forward;
        options->backward_flops.values[rank] = backward;
        known = read_device(json_object_get(its, "device"), &options->devices[rank]) && known;
    }
    if (!known)
        forget_devices(options);
    return true;
}

static bool is_alike(const struct plan_options *options, const json_t *problem)
{
    const char *type = json_string_value(json_object_get(problem, "type"));
    const struct problem_sizes *sizes = &options->attend.sizes;
    const uint64_t value_dim = sizes->value_dim ? sizes->value_dim : sizes->head_dim;
    const enum element_type wanted = options->attend.has_type ? options->attend.type : ELEMENT_F32;
    return type && strcmp(type, element_text(wanted)) == 0 && number_in(problem, "head_dim") == (double)sizes->head_dim &&
           number_in(problem, "value_dim") == (double)value_dim;
}

/* Of one rank of a case of vkring-bench. */
static double speed_of_case(const json_t *its, double ranks)
{
    const double flop = number_in(its, "gflops") * 1e9 * number_in(its, "seconds_median"), computed = number_in(its, "computed_flop");
    return divide(computed > 0 ? computed : flop / ranks, number_in(its, "compute_seconds"));
}

static bool read_cases(struct plan_options *options, const json_t *root, double ranks, struct failure *failure)
{
    const json_t *cases = json_object_get(root, "cases");
    size_t index;
    json_t *its;
    if (!take_devices(options, 1, failure))
        return false;
    if (!read_device(root, options->devices))
        forget_devices(options);
    if (!take(&options->flops, 1, failure) || !take(&options->backward_flops, 1, failure))
        return false;
    json_array_foreach(cases, index, its)
    {
        const json_t *problem = json_object_get(its, "problem");
        const double speed = is_alike(options, problem) ? speed_of_case(its, ranks) : 0;
        if (speed > 0)
            (json_is_true(json_object_get(problem, "backward")) ? &options->backward_flops : &options->flops)->values[0] = speed;
    }
    if (options->flops.values[0] == 0)
        return fail_usage(failure, "%s: has no case of this type and dimensions", options->from);
    return true;
}

bool plan_speeds_read(struct plan_options *options, struct failure *failure)
{
    json_error_t error;
    FILE *file = fopen(options->from, "re");
    if (!file)
        return fail_file(failure, "open", options->from);
    json_t *root = json_loadf(file, 0, &error);
    const bool read = !ferror(file) || fail_file(failure, "read", options->from);
    fclose(file);
    if (!root)
        return read && fail_usage(failure, "%s: is not JSON: %s", options->from, error.text);
    const json_t *ranks = json_object_get(root, "ranks"), *cases = json_object_get(root, "cases");
    bool good = false;
    if (json_is_array(ranks) && json_array_size(ranks) > 0)
        good = read_report(options, ranks, failure);
    else if (json_is_array(cases) && number_in(root, "ranks") >= 1)
        good = read_cases(options, root, number_in(root, "ranks"), failure);
    else
        fail_usage(failure, "%s: is neither a report of vkring attend nor results of vkring-bench", options->from);
    json_decref(root);
    return good;
}
