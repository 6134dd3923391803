/* SPDX-License-Identifier: MIT */
/* What the ranks of vkring attend tell each other before they do anything: who they are, and what they were asked for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attend.h"
#include "commands.h"
#include "output_file.h"
#include "verdict.h"

/* Meeting ------------------------------------------------------------------------------------------------------------------ */

/* Hosts may share a name, and containers a kernel. */
static uint64_t hash_host(void)
{
    char text[512] = "";
    gethostname(text, 256);
    size_t length = strlen(text);
    FILE *boot_id = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (boot_id) {
        length += fread(text + length, 1, sizeof(text) - length, boot_id);
        fclose(boot_id);
    }
    return verdict_hash(text, length);
}

struct meeting {
    uint64_t token;
    uint64_t host;
};

bool attend_meet(struct attend *attend, struct failure *failure)
{
    struct ranks *ranks = attend->ranks;
    struct meeting mine = {.token = output_file_token(), .host = hash_host()};
    struct meeting *all = calloc(ranks->size, sizeof(*all));
    if (!all)
        return fail_memory(failure);
    bool good = verdict_gather(ranks, &mine, sizeof(mine), all, failure);
    attend->token = all[0].token;
    for (uint32_t rank = 0; rank < ranks->rank; rank++)
        attend->host_turn += all[rank].host == mine.host;
    free(all);
    return good;
}

/* Comparing ---------------------------------------------------------------------------------------------------------------- */

static uint64_t hash_text(const char *text)
{
    return text ? verdict_hash(text, strlen(text)) : 0;
}

static uint64_t bits_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

/* Inputs may have other names on another host, but must be there. */
static uint32_t list_files(const struct attend_options *options, struct verdict_field *fields)
{
    for (enum file_kind kind = 0; kind < FILE_KINDS; kind++) {
        const char *path = options->files[kind];
        fields[kind] = (struct verdict_field){file_spec(kind)->option, kind < FILE_READ_KINDS ? path != NULL : hash_text(path)};
    }
    return FILE_KINDS;
}

bool attend_tell_help(struct attend *attend, const char *text, struct failure *failure)
{
    const struct verdict_field field = {"--help", attend->options.help};
    if (!verdict_compare(attend->ranks, &field, 1, failure))
        return false;
    attend->told_help = attend->options.help;
    return attend->told_help ? command_print(attend->ranks, text, failure) : true;
}

bool attend_compare_options(struct attend *attend, struct failure *failure)
{
    const struct attend_options *options = &attend->options;
    const struct verdict_field values[] = {
        {"--dtype", options->has_type ? options->type + 1u : 0},
        {"--causal", options->causal},
        {"--causal-block", options->causal_block},
        {"--window", (uint64_t)options->window_left},
        {"--window", (uint64_t)options->window_right},
        {"--query-offset", options->has_query_offset},
        {"--query-offset", (uint64_t)options->query_offset},
        {"--scale", options->has_scale},
        {"--scale", bits_of(options->scale)},
        {"--softcap", bits_of(options->softcap)},
        {"--dropout", bits_of(options->dropout)},
        {"--seed", options->seed},
        {"--layout", options->layout},
        {"--shares", options->measured_shares},
        {"--shares", options->shares ? verdict_hash(options->shares, options->share_count * sizeof(double)) : 0},
        {"--timeout", bits_of(options->timeout_seconds)},
    };
    struct verdict_field fields[VERDICT_FIELDS_MAX];
    const uint32_t files = list_files(options, fields);
    _Static_assert(FILE_KINDS + sizeof(values) / sizeof(values[0]) <= VERDICT_FIELDS_MAX, "room for all fields");
    memcpy(fields + files, values, sizeof(values));
    return verdict_compare(attend->ranks, fields, files + (uint32_t)(sizeof(values) / sizeof(values[0])), failure);
}

bool attend_compare_inputs(struct attend *attend, struct failure *failure)
{
    const struct attend_problem *problem = &attend->problem;
    const struct npy_header *bias = &attend->inputs.files[FILE_BIAS].header;
    const struct verdict_field values[] = {
        {"the files' type", problem->file_type}, {"the type of --bias", bias->type},      {"the batch of --bias", bias->shape[0]},
        {"the heads of --bias", bias->shape[1]}, {"the q_len of --bias", bias->shape[2]},
    };
    const uint32_t value_count = sizeof(values) / sizeof(values[0]);
    struct verdict_field fields[DIMENSIONS + sizeof(values) / sizeof(values[0])];
    for (enum dimension dimension = 0; dimension < DIMENSIONS; dimension++)
        fields[value_count + dimension] = (struct verdict_field){dimension_name(dimension), problem->lengths[dimension]};
    memcpy(fields, values, sizeof(values));
    return verdict_compare(attend->ranks, fields, value_count + DIMENSIONS, failure);
}
