/* SPDX-License-Identifier: MIT */
/*
 * Makes the .npy files that tests of the command line give to it, good and bad, and judges those that it writes:
 *
 *   npy-helper make FILE TYPE SEED LENGTHS [INDEX VALUE]...
 *       a tensor of lengths such as 2,7,4,8; elements of those places in it get those values. TYPE: f32 and f16 are normal numbers,
 *       i32 are ids of 2 segments without order, documents the ids of 3 segments that follow each other
 *   npy-helper raw FILE MAJOR DICTIONARY BYTES     a header of that format with that text, and so many zeros
 *   npy-helper check OPTION...                     whether what vkring attend wrote with those options is right
 *   npy-helper feedforward OPTION...               the same of vkring feedforward
 *
 * Exit status: 0 good, 1 not, 2 wrong usage.
 */
#include <stdlib.h>
#include <string.h>

#include <ref/random_input.h>

#include "npy_check.h"
#include "npy_feedforward.h"
#include "npy_file.h"

static void take_lengths(const char *text, struct tensor *tensor)
{
    tensor->elements = 1;
    for (char *end; tensor->dims < 4; text = end + 1) {
        const uint64_t length = strtoull(text, &end, 10);
        tensor->shape[tensor->dims++] = length;
        tensor->elements *= length;
        if (end == text || !*end)
            break;
    }
}

static void fill_ids(struct tensor *tensor, bool in_order)
{
    const uint64_t row = tensor->shape[tensor->dims - 1];
    tensor->ids = take_memory(tensor->elements * sizeof(int32_t));
    for (uint64_t i = 0; i < tensor->elements; i++)
        tensor->ids[i] = in_order ? (int32_t)(i % row * 3 / row) : (int32_t)(tensor->values[i] * 2) - 1;
}

static int make(int count, char **words)
{
    struct tensor tensor = {0};
    if (count < 4 || count % 2 != 0)
        die("wrong number of arguments for", "make");
    const bool in_order = strcmp(words[1], "documents") == 0, ids = in_order || strcmp(words[1], "i32") == 0;
    if (!ids)
        tensor.type = type_of(words[1]);
    take_lengths(words[3], &tensor);
    tensor.values = take_memory(tensor.elements * sizeof(float));
    random_fill(strtoull(words[2], NULL, 10), ids ? RANDOM_UNIFORM : RANDOM_NORMAL, 1, 0, tensor.elements, tensor.values);
    if (ids)
        fill_ids(&tensor, in_order);
    for (int i = 4; i < count; i += 2) {
        const uint64_t index = strtoull(words[i], NULL, 10);
        if (ids)
            tensor.ids[index] = (int32_t)strtol(words[i + 1], NULL, 10);
        else
            tensor.values[index] = strtof(words[i + 1], NULL);
    }
    tensor_write(&tensor, words[0]);
    tensor_free(&tensor);
    return 0;
}

static int raw(int count, char **words)
{
    if (count != 4 || strlen(words[2]) > 2000)
        die("wrong arguments for", "raw");
    npy_write_raw(words[0], atoi(words[1]), words[2], strtoull(words[3], NULL, 10));
    return 0;
}

int main(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "";
    if (strcmp(verb, "make") == 0)
        return make(argc - 2, argv + 2);
    if (strcmp(verb, "raw") == 0)
        return raw(argc - 2, argv + 2);
    if (strcmp(verb, "check") == 0)
        return npy_check(argc - 2, argv + 2) ? 0 : 1;
    if (strcmp(verb, "feedforward") == 0)
        return npy_check_feedforward(argc - 2, argv + 2) ? 0 : 1;
    die("unknown verb", verb);
}
