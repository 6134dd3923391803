/* SPDX-License-Identifier: MIT */
/** What theory says of the work in a ring. */
#ifndef VKRING_TESTS_KEPT_PAIRS_H
#define VKRING_TESTS_KEPT_PAIRS_H

#include <ring/layout.h>

/** Pairs that are kept by position between a rank's queries and the packet it meets at a step, of one head and batch entry. */
static inline double kept_pairs(const struct problem *problem, const struct layout *layout, uint32_t rank, uint32_t step)
{
    const uint32_t origin = layout_origin_of(layout, rank, step);
    double pairs = 0;
    for (uint32_t i = 0; i < layout->queries.count; i++)
        for (uint32_t j = 0; j < layout->keys.count; j++) {
            const struct mask_block block =
                layout_block(layout_span_of(&layout->queries, rank, i), layout_span_of(&layout->keys, origin, j));
            pairs += mask_kept_pairs(problem, &block);
        }
    return pairs;
}

#endif
