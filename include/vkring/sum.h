/* SPDX-License-Identifier: MIT */
/**
 * Sums of buffers over ranks, as of gradients of weights that every rank has and of partial results.
 *
 * vkring_feedforward_backward gives the gradients of the rows at hand; those of the sequence, or batch, that ranks share are their sum.
 */
#ifndef VKRING_SUM_H
#define VKRING_SUM_H

#include "vkring.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Elements of a buffer, one after the other, f32. */
struct vkring_elements {
    vkring_buffer *buffer; /**< may be null where count is 0 */
    uint64_t offset_bytes; /**< a multiple of 4 */
    uint64_t count;
};

/**
 * Replaces each element by its sum over the ranks of comm, in place: all ranks get the same bits, the same every run. Terms are added in
 * float64 in rank order, and the sum is rounded once.
 *
 *   elements  [list_count]  the same counts on every rank, in the same order; buffers may be of several devices; no two overlap
 *
 * Collective over comm (null: one rank). Each rank adds up a part of the elements and passes it to all, by way of host memory, of which it
 * takes about 32 MiB however many elements there are. Semaphores set by vkring_buffer_set_vulkan_sync are neither waited for nor signalled,
 * as by vkring_buffer_download. timeout_seconds: how long to wait for ranks that do nothing; 0 for 300; may differ between ranks.
 *
 * Where one rank's elements leave their buffer, its timeout_seconds is negative or not finite, or it lacks memory, that one gets
 * VKRING_ERROR_INVALID_ARGUMENT or _OUT_OF_HOST_MEMORY, and the others _PEER, which names it; where counts differ all get _MISMATCH. Nothing
 * is changed then, and comm can be used.
 * VKRING_ERROR_INVALID_ARGUMENT: also while a run is under way on comm; nothing was said to other ranks.
 * VKRING_ERROR_TIMEOUT, _PEER, _COMM, _DEVICE, _DEVICE_LOST later on: the elements are undefined and comm can only be destroyed; the last
 * error names the rank, and the others are told.
 */
VKRING_API enum vkring_status vkring_buffers_sum(vkring_comm *comm, uint64_t list_count, const struct vkring_elements *elements,
                                                 double timeout_seconds);

#ifdef __cplusplus
}
#endif

#endif
