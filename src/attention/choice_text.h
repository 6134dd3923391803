/* SPDX-License-Identifier: MIT */
/** Choices of kernels in words, such as `workgroup=128 lanes_per_row=4 few_registers=1`. */
#ifndef VKRING_ATTENTION_CHOICE_TEXT_H
#define VKRING_ATTENTION_CHOICE_TEXT_H

#include "kernel_choice.h"

/** Room for all of a choice. */
#define CHOICE_TEXT 512

/** All of it, as choice_parse takes it. */
void choice_describe(const struct kernel_choice *choice, char text[CHOICE_TEXT]);

/** Changes what the words name of a choice. VKRING_ERROR_INVALID_ARGUMENT names the word that is none. */
enum vkring_status choice_parse_words(const char *text, struct kernel_choice *choice);
/** The same of one for the problem, with what follows from it. */
enum vkring_status choice_parse(const vkring_device *device, const struct problem *problem, const char *text, struct kernel_choice *choice);

/** VKRING_ERROR_INVALID_ARGUMENT: the device cannot run it, or it is of no use for the problem; the last error names what. */
enum vkring_status choice_check(const vkring_device *device, const struct problem *problem, const struct kernel_choice *choice);

/** The most that choice_neighbours gives. */
#define CHOICE_NEIGHBOURS 160

/** Choices that differ in one word, then those that differ in two, a notch each; all pass choice_check. Returns how many. */
uint32_t choice_neighbours(const vkring_device *device, const struct problem *problem, const struct kernel_choice *choice,
                           struct kernel_choice neighbours[CHOICE_NEIGHBOURS]);

/** Whether each word of the one in the middle is as in one of the others: it is on the way from one to the other. */
bool choice_lies_between(const struct kernel_choice *a, const struct kernel_choice *middle, const struct kernel_choice *b);

#endif
