/* SPDX-License-Identifier: MIT */
/*
 * A text file: a line that names the shaders, then a line for each class of problems, `class: choice`. Without the first line, or with that
 * of other shaders, nothing in it counts; a line that says what the device cannot do does not either.
 */
#include "remembered.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../vk/cache_file.h"
#include "spirv.h"

#define MOST_BYTES ((size_t)1 << 20)
#define CLASS_TEXT 160
#define LINE_TEXT (CLASS_TEXT + CHOICE_TEXT)

/* Up to which number of rows that share keys they are few. */
#define FEW_ROWS 64u

static void describe_shaders(char text[CLASS_TEXT])
{
    snprintf(text, CLASS_TEXT, "vkring kernels 1, shaders %08x\n", (unsigned)spirv_checksum());
}

static const char *bias_text(const struct vkring_bias_params *bias)
{
    if (!bias->present)
        return "";
    return bias->per_query ? " bias-of-pairs" : " bias-of-keys";
}

/* Problems that compile the same kernels, but for lengths: those decide whether rows are few. */
static void describe_class(const struct problem *problem, char text[CLASS_TEXT])
{
    static const char *const types[] = {[VKRING_TYPE_F32] = "f32", [VKRING_TYPE_F16] = "f16", [VKRING_TYPE_BF16] = "bf16"};
    const uint64_t group = problem->heads / problem->kv_heads;
    snprintf(text, CLASS_TEXT, "%s head_dim=%llu value_dim=%llu%s%s%s%s%s%s%s%s%s%s", types[problem->type],
             (unsigned long long)problem->head_dim, (unsigned long long)problem->value_dim, problem->backward ? " backward" : "",
             group > 1 ? " grouped" : "", problem->q_len <= FEW_ROWS / group ? " few" : "", mask_is_band(problem) ? " band" : "",
             mask_has_stairs(problem) ? " stairs" : "", problem->segment_ids ? " segments" : "", problem->softcap > 0 ? " softcap" : "",
             problem->alibi ? " alibi" : "", bias_text(&problem->bias), problem->dropout > 0 ? " dropout" : "");
}

/* Null: there is none that counts. To be freed; *out_lines is behind the first line. */
static char *read_lines(const vkring_device *device, char **out_lines)
{
    char first[CLASS_TEXT];
    FILE *file = device->kernels_path ? fopen(device->kernels_path, "rb") : NULL;
    char *text = file ? malloc(MOST_BYTES + 1) : NULL;
    if (text)
        text[fread(text, 1, MOST_BYTES, file)] = '\0';
    if (file)
        fclose(file);
    describe_shaders(first);
    if (text && strncmp(text, first, strlen(first)) == 0) {
        *out_lines = text + strlen(first);
        return text;
    }
    free(text);
    return NULL;
}

/* The choice in a line, if the line is of the class; else null. */
static const char *choice_in(const char *line, const char *class)
{
    const size_t length = strlen(class);
    return strncmp(line, class, length) == 0 && strncmp(line + length, ": ", 2) == 0 ? line + length + 2 : NULL;
}

static char *next_line(char **lines)
{
    char *line = *lines, *end = strchr(line, '\n');
    if (!end)
        return NULL;
    *end = '\0';
    *lines = end + 1;
    return line;
}

bool remembered_find(const vkring_device *device, const struct problem *problem, struct kernel_choice *out_choice)
{
    char class[CLASS_TEXT], *lines = NULL, *text = read_lines(device, &lines);
    struct kernel_choice choice = *out_choice;
    bool found = false;
    describe_class(problem, class);
    for (char *line = text ? next_line(&lines) : NULL; line && !found; line = next_line(&lines)) {
        const char *words = choice_in(line, class);
        found = words && choice_parse(device, problem, words, &choice) == VKRING_OK && choice_check(device, problem, &choice) == VKRING_OK;
    }
    free(text);
    if (found)
        *out_choice = choice;
    return found;
}

bool remembered_put(const vkring_device *device, const struct problem *problem, const struct kernel_choice *choice)
{
    char first[CLASS_TEXT], class[CLASS_TEXT], words[CHOICE_TEXT], *written = NULL, *lines = NULL;
    size_t bytes = 0;
    FILE *out = device->kernels_path ? open_memstream(&written, &bytes) : NULL;
    if (!out)
        return false;
    char *text = read_lines(device, &lines);
    describe_shaders(first);
    describe_class(problem, class);
    choice_describe(choice, words);
    for (char *line = text ? next_line(&lines) : NULL; line; line = next_line(&lines))
        if (!choice_in(line, class))
            fprintf(out, "%s\n", line);
    fprintf(out, "%s: %s\n", class, words);
    const bool whole = fclose(out) == 0;
    const bool good = whole && cache_file_write(device->kernels_path, first, strlen(first), written, bytes);
    free(written);
    free(text);
    return good;
}
