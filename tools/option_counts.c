/* SPDX-License-Identifier: MIT */
#include "option_counts.h"

#include <inttypes.h>
#include <string.h>

#include "option_values.h"

#define LENGTH_MAX ((uint64_t)1 << 48)

bool option_take_count(struct parsing *parsing, const char *text, uint64_t least, uint64_t most, uint64_t *out_count)
{
    double value;
    if (!value_amount(text, &value) || value < (double)least || value > (double)most || value != (double)(uint64_t)value)
        return fail_usage(parsing->failure, "%s: '%s' is not a whole number from %" PRIu64 " to %" PRIu64, parsing->name, text, least,
                          most);
    *out_count = (uint64_t)value;
    return true;
}

bool take_size(struct parsing *parsing, const char *text)
{
    struct problem_sizes *sizes = &parsing->options->sizes;
    const struct {
        const char *name;
        uint64_t *size, most;
    } all[] = {
        {"--batch", &sizes->batch, LENGTH_MAX},  {"--q-len", &sizes->q_len, LENGTH_MAX},       {"--kv-len", &sizes->kv_len, LENGTH_MAX},
        {"--heads", &sizes->heads, UINT32_MAX},  {"--kv-heads", &sizes->kv_heads, UINT32_MAX}, {"--head-dim", &sizes->head_dim, 256},
        {"--value-dim", &sizes->value_dim, 256},
    };
    size_t i = 0;
    while (strcmp(all[i].name, parsing->name) != 0)
        i++;
    return option_take_count(parsing, text, 1, all[i].most, all[i].size);
}
