/* SPDX-License-Identifier: MIT */
/** What masks and modifies scores, all together: a macro for tables of problems. */
#ifndef VKRING_TESTS_EVERY_OPTION_H
#define VKRING_TESTS_EVERY_OPTION_H

/** Fields of vkring_plan_params; the window reaches so far back. */
#define EVERY_OPTION(window) EVERY_OPTION_BUT_DROPOUT(window), .dropout = 0.2
#define EVERY_OPTION_BUT_DROPOUT(window)                                                                                                   \
    .causal = true, .causal_block = 3, .has_window = true, .window_left = (window), .window_right = 8, .softcap = 3, .alibi = true,        \
    .sinks = true, .segment_ids = true, .bias = {.present = true, .per_head = true, .per_query = true}

#endif
