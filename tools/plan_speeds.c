/* SPDX-License-Identifier: MIT */
#include "plan_speeds.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "element.h"

static double number_in(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : 0;
}

/* FLOP/s in kernels; 0 where the object does not say. */
static double speed_in(const json_t *run)
{
    const double flop = number_in(run, "flop"), seconds = number_in(json_object_get(run, "seconds"), "compute");
    return flop > 0 && seconds > 0 ? flop / seconds : 0;
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
    for (size_t rank = 0; rank < count; rank++) {
        const json_t *its = json_array_get(ranks, rank);
        const double forward = speed_in(its), backward = speed_in(json_object_get(its, "backward"));
        if (forward == 0)
            return fail_usage(failure, "%s: rank %zu computed nothing", options->from, rank);
        options->flops.values[rank] = forward;
        options->backward_flops.values[rank] = backward;
    }
    return true;
}

static bool is_alike(const struct plan_options *options, const json_t *problem)
{
    const char *type = json_string_value(json_object_get(problem, "type"));
    const uint64_t value_dim = options->value_dim ? options->value_dim : options->head_dim;
    const enum element_type wanted = options->attend.has_type ? options->attend.type : ELEMENT_F32;
    return type && strcmp(type, element_text(wanted)) == 0 && number_in(problem, "head_dim") == (double)options->head_dim &&
           number_in(problem, "value_dim") == (double)value_dim;
}

/* Of one rank of a case of vkring-bench. */
static double speed_of_case(const json_t *its, double ranks)
{
    const double flop = number_in(its, "gflops") * 1e9 * number_in(its, "seconds_median"), seconds = number_in(its, "compute_seconds");
    return flop > 0 && seconds > 0 ? flop / ranks / seconds : 0;
}

static bool read_cases(struct plan_options *options, const json_t *cases, double ranks, struct failure *failure)
{
    size_t index;
    json_t *its;
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
    fclose(file);
    if (!root)
        return fail_usage(failure, "%s: is not JSON: %s", options->from, error.text);
    const json_t *ranks = json_object_get(root, "ranks"), *cases = json_object_get(root, "cases");
    bool good = false;
    if (json_is_array(ranks) && json_array_size(ranks) > 0)
        good = read_report(options, ranks, failure);
    else if (json_is_array(cases) && number_in(root, "ranks") >= 1)
        good = read_cases(options, cases, number_in(root, "ranks"), failure);
    else
        fail_usage(failure, "%s: is neither a report of vkring attend nor results of vkring-bench", options->from);
    json_decref(root);
    return good;
}
