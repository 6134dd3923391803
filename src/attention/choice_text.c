/* SPDX-License-Identifier: MIT */
#include "choice_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/checked.h"

#define MOST_ROWS_PER_LANE 16u
#define MOST_KEYS_PER_STEP 16u

struct word {
    const char *name;
    size_t place; /* of a uint32_t, or of a bool if it is a flag */
    bool is_flag;
    bool on_cpus; /* of use there: without, it is varied on GPUs alone */
};

#define WORD(name, field, is_flag, on_cpus)                                                                                                \
    {                                                                                                                                      \
        name, offsetof(struct kernel_choice, field), is_flag, on_cpus                                                                      \
    }

/* From what gains most often to what gains least: neighbours come in this order, and some compilers take seconds for each. */
static const struct word words[] = {
    WORD("keys_per_step", keys_per_step, false, true),
    WORD("keys_per_step_general", keys_per_step_general, false, true),
    WORD("keeps_score_grads", keeps_score_grads, true, true),
    WORD("rows_per_lane", rows_per_lane, false, true),
    WORD("lanes_per_row", lanes_per_row, false, true),
    WORD("few_registers", few_registers, true, false),
    WORD("separate_sums", separate_sums, true, false),
    WORD("workgroup", workgroup_size, false, false),
    WORD("subgroup", subgroup_size, false, false),
    WORD("broadcast", broadcast, true, true),
    WORD("uniform_loads", uniform_loads, true, true),
    WORD("copy_worth_rows", copy_worth_rows, false, false),
    WORD("matrix", matrix, true, false),
    WORD("matrix_row_tiles", matrix_wish.row_tiles, false, false),
    WORD("matrix_subgroups", matrix_wish.subgroups, false, false),
    WORD("matrix_rows_per_step", matrix_wish.rows_per_step, false, false),
    WORD("matrix_column_parts", matrix_wish.column_parts, false, false),
    WORD("matrix_operations", matrix_wish.operations, true, false),
    WORD("matrix_loads_ahead", matrix_wish.loads_ahead, true, false),
    WORD("matrix_turns_values", matrix_wish.turns_values, true, false),
};
enum { WORDS = sizeof(words) / sizeof(words[0]) };

static uint32_t value_of(const struct kernel_choice *choice, const struct word *word)
{
    const char *at = (const char *)choice + word->place;
    uint32_t value;
    if (word->is_flag)
        return *(const bool *)at;
    memcpy(&value, at, sizeof(value));
    return value;
}

static void set(struct kernel_choice *choice, const struct word *word, uint32_t value)
{
    char *at = (char *)choice + word->place;
    if (word->is_flag)
        *(bool *)at = value != 0;
    else
        memcpy(at, &value, sizeof(value));
}

void choice_describe(const struct kernel_choice *choice, char text[CHOICE_TEXT])
{
    size_t used = 0;
    for (int i = 0; i < WORDS && used < CHOICE_TEXT; i++)
        used +=
            (size_t)snprintf(text + used, CHOICE_TEXT - used, "%s%s=%" PRIu32, i ? " " : "", words[i].name, value_of(choice, &words[i]));
}

/* Parsing ------------------------------------------------------------------------------------------------------------------ */

static const struct word *find(const char *name, size_t length)
{
    for (int i = 0; i < WORDS; i++)
        if (strlen(words[i].name) == length && strncmp(words[i].name, name, length) == 0)
            return &words[i];
    return NULL;
}

/* One word, of so many characters. */
static enum vkring_status take(const char *text, size_t length, struct kernel_choice *choice)
{
    const char *equals = memchr(text, '=', length);
    const struct word *word = find(text, equals ? (size_t)(equals - text) : length);
    char *end = NULL;
    const unsigned long value = equals ? strtoul(equals + 1, &end, 10) : 1;
    const bool is_number = !equals || (end == text + length && equals[1] >= '0' && equals[1] <= '9');
    if (!word || !is_number || value > (word->is_flag ? 1u : UINT32_MAX) || (!equals && !word->is_flag))
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "no choice of kernels is called '%.*s'", (int)min_u64(length, 60), text);
    set(choice, word, (uint32_t)value);
    return VKRING_OK;
}

enum vkring_status choice_parse_words(const char *text, struct kernel_choice *choice)
{
    static const char spaces[] = " \t\n";
    for (text += strspn(text, spaces); *text; text += strspn(text, spaces)) {
        const size_t length = strcspn(text, spaces);
        const enum vkring_status status = take(text, length, choice);
        if (status != VKRING_OK)
            return status;
        text += length;
    }
    return VKRING_OK;
}

enum vkring_status choice_parse(const vkring_device *device, const struct problem *problem, const char *text, struct kernel_choice *choice)
{
    const enum vkring_status status = choice_parse_words(text, choice);
    if (status == VKRING_OK)
        kernel_choice_settle(device, problem, choice);
    return status;
}

/* Limits ------------------------------------------------------------------------------------------------------------------- */

static bool is_notch(uint32_t value, uint32_t most)
{
    return value > 0 && value <= most && (value & (value - 1)) == 0;
}

/* Or 0: nothing is asked for. */
static bool is_wish(uint32_t value, uint32_t most)
{
    return value == 0 || is_notch(value, most);
}

static bool has_subgroups(const struct vk_limits *limits, const struct kernel_choice *choice)
{
    const uint32_t size = choice->subgroup_size;
    return size == 0 || (limits->subgroup_size_control && is_notch(size, limits->max_subgroup_size) && size >= limits->min_subgroup_size);
}

/* How many lanes a subgroup will have; 0: the driver may vary it. */
static uint32_t subgroup_of(const struct vk_limits *limits, const struct kernel_choice *choice)
{
    if (choice->subgroup_size)
        return choice->subgroup_size;
    return limits->min_subgroup_size == limits->max_subgroup_size ? limits->subgroup_size : 0;
}

static bool can_broadcast(const struct vk_limits *limits, const struct kernel_choice *choice)
{
    return limits->subgroup_shuffle && choice->lanes_per_row == 1 && choice->workgroup_size == subgroup_of(limits, choice);
}

static bool can_load_uniformly(const struct vk_limits *limits, const struct kernel_choice *choice)
{
    return limits->integers_64bit && choice->lanes_per_row > 1;
}

static uint32_t most_lanes(const struct vk_limits *limits, const struct kernel_choice *choice)
{
    if (!limits->subgroup_shuffle)
        return 1;
    return choice->subgroup_size ? choice->subgroup_size : limits->min_subgroup_size;
}

/* A word that is wrong, and what it would have to be: where it has a limit of its own, up to that. */
struct objection {
    const char *word, *needs;
    uint32_t most;
};

static struct objection object(const vkring_device *device, const struct problem *problem, const struct kernel_choice *choice)
{
    const struct vk_limits *limits = &device->limits;
    const uint32_t subgroup = choice->subgroup_size ? choice->subgroup_size : 1;
    if (!has_subgroups(limits, choice))
        return (struct objection){"subgroup", "0, or a size that the device has"};
    if (!is_notch(choice->workgroup_size, limits->max_workgroup_invocations) || choice->workgroup_size % subgroup != 0)
        return (struct objection){"workgroup", "a power of two of whole subgroups, no more than the device has"};
    if (!is_notch(choice->lanes_per_row, (uint32_t)min_u64(most_lanes(limits, choice), choice->workgroup_size)))
        return (struct objection){"lanes_per_row", "a power of two, at most a subgroup"};
    if (choice->uniform_loads && !can_load_uniformly(limits, choice))
        return (struct objection){"uniform_loads", "lanes_per_row above 1, and 64-bit integers"};
    if (choice->broadcast && !can_broadcast(limits, choice))
        return (struct objection){"broadcast", "lanes_per_row=1, and workgroup as large as a subgroup"};
    if (!is_notch(choice->rows_per_lane, MOST_ROWS_PER_LANE))
        return (struct objection){"rows_per_lane", "a power of two up to", MOST_ROWS_PER_LANE};
    if (!is_notch(choice->keys_per_step, MOST_KEYS_PER_STEP))
        return (struct objection){"keys_per_step", "a power of two up to", MOST_KEYS_PER_STEP};
    if (!is_notch(choice->keys_per_step_general, MOST_KEYS_PER_STEP))
        return (struct objection){"keys_per_step_general", "a power of two up to", MOST_KEYS_PER_STEP};
    if (choice->keeps_score_grads && problem->heads / problem->kv_heads > limits->max_workgroup_count[1])
        return (struct objection){"keeps_score_grads", "fewer query heads to a key head"};
    if (!is_wish(choice->matrix_wish.row_tiles, MATRIX_MOST_ROW_TILES))
        return (struct objection){"matrix_row_tiles", "0, or a power of two up to", MATRIX_MOST_ROW_TILES};
    if (!is_wish(choice->matrix_wish.subgroups, MATRIX_MOST_SUBGROUPS))
        return (struct objection){"matrix_subgroups", "0, or a power of two up to", MATRIX_MOST_SUBGROUPS};
    if (!is_wish(choice->matrix_wish.rows_per_step, MATRIX_MOST_ROWS_PER_STEP))
        return (struct objection){"matrix_rows_per_step", "0, or a power of two up to", MATRIX_MOST_ROWS_PER_STEP};
    if (!is_wish(choice->matrix_wish.column_parts, MATRIX_MOST_COLUMN_PARTS))
        return (struct objection){"matrix_column_parts", "0, or a power of two up to", MATRIX_MOST_COLUMN_PARTS};
    return (struct objection){0};
}

enum vkring_status choice_check(const vkring_device *device, const struct problem *problem, const struct kernel_choice *choice)
{
    const struct objection objection = object(device, problem, choice);
    char most[16] = "";
    if (!objection.word)
        return VKRING_OK;
    if (objection.most)
        (void)snprintf(most, sizeof(most), " %" PRIu32, objection.most);
    return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "the choice of kernels is out of range on %s: %s=%" PRIu32 " needs %s%s",
                       device->info.name, objection.word, value_of(choice, find(objection.word, strlen(objection.word))), objection.needs,
                       most);
}

/* Neighbours --------------------------------------------------------------------------------------------------------------- */

static bool is_wish_word(const struct word *word)
{
    return word->place >= offsetof(struct kernel_choice, matrix_wish) && word->place < offsetof(struct kernel_choice, matrices);
}

/* On matrix units the other words are about little: what is left to other kernels. */
static bool is_of_use(const vkring_device *device, const struct problem *problem, const struct kernel_choice *choice,
                      const struct word *word)
{
    const bool whole_quads = problem_alignment(problem) != ALIGNED_ELEMENTS;
    if (device->info.kind == VKRING_DEVICE_CPU && !word->on_cpus)
        return false;
    if (word->place == offsetof(struct kernel_choice, matrix))
        return choice->matrices[SPIRV_FORWARD].shape.m > 0;
    if (is_wish_word(word) != (kernel_choice_matrices(choice, SPIRV_FORWARD) != NULL))
        return false;
    if (word->place == offsetof(struct kernel_choice, keeps_score_grads) || word->place == offsetof(struct kernel_choice, separate_sums))
        return problem->backward;
    if (word->place == offsetof(struct kernel_choice, uniform_loads))
        return !problem->backward && device->info.kind == VKRING_DEVICE_CPU;
    if (word->place == offsetof(struct kernel_choice, copy_worth_rows)) /* trials have few rows */
        return false;
    if (word->place == offsetof(struct kernel_choice, keys_per_step))
        return whole_quads;
    if (word->place == offsetof(struct kernel_choice, keys_per_step_general))
        return !whole_quads;
    return true;
}

/* Where it is, whether it was asked for or not. */
static uint32_t notch_of(const struct kernel_choice *choice, const struct word *word)
{
    const struct matrix_tiles *tiles = &choice->matrices[SPIRV_FORWARD];
    const uint32_t value = value_of(choice, word);
    if (value || word->is_flag || !is_wish_word(word))
        return value;
    if (word->place == offsetof(struct kernel_choice, matrix_wish.row_tiles))
        return matrix_tiles_row_tiles(tiles);
    if (word->place == offsetof(struct kernel_choice, matrix_wish.column_parts))
        return tiles->column_parts;
    return word->place == offsetof(struct kernel_choice, matrix_wish.subgroups) ? tiles->subgroups : tiles->rows_per_step;
}

static bool has_equal_tiles(const struct kernel_choice *a, const struct kernel_choice *b)
{
    for (int which = 0; which < SPIRV_KERNELS; which++)
        if (!matrix_tiles_equal(&a->matrices[which], &b->matrices[which]))
            return false;
    return true;
}

/* Up or down; false: there is no such notch, or no room for it. */
static bool move(const vkring_device *device, const struct problem *problem, struct kernel_choice *choice, const struct word *word, bool up)
{
    const struct kernel_choice before = *choice;
    const uint32_t value = notch_of(choice, word);
    if (word->is_flag ? up != (value == 0) : (up ? value > UINT32_MAX / 2 : value % 2 != 0) || value == 0)
        return false;
    set(choice, word, word->is_flag ? !value : up ? 2 * value : value / 2);
    kernel_choice_settle(device, problem, choice);
    return !is_wish_word(word) || !has_equal_tiles(choice, &before);
}

enum { MOVES = 2 * WORDS };

static bool move_at(const vkring_device *device, const struct problem *problem, struct kernel_choice *choice, int at)
{
    const struct word *word = &words[at / 2];
    return is_of_use(device, problem, choice, word) && move(device, problem, choice, word, at % 2 == 0);
}

uint32_t choice_neighbours(const vkring_device *device, const struct problem *problem, const struct kernel_choice *choice,
                           struct kernel_choice neighbours[CHOICE_NEIGHBOURS])
{
    uint32_t count = 0;
    for (int first = -1; first < MOVES; first++)
        for (int second = first < 0 ? 0 : 2 * (first / 2) + 2; second < MOVES && count < CHOICE_NEIGHBOURS; second++) {
            struct kernel_choice moved = *choice;
            if ((first < 0 || move_at(device, problem, &moved, first)) && move_at(device, problem, &moved, second) &&
                choice_check(device, problem, &moved) == VKRING_OK)
                neighbours[count++] = moved;
        }
    return count;
}

bool choice_lies_between(const struct kernel_choice *a, const struct kernel_choice *middle, const struct kernel_choice *b)
{
    for (int i = 0; i < WORDS; i++) {
        const uint32_t value = value_of(middle, &words[i]);
        if (value != value_of(a, &words[i]) && value != value_of(b, &words[i]))
            return false;
    }
    return true;
}
