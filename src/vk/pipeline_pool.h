/* SPDX-License-Identifier: MIT */
/** The pipelines of a device, shared by all that want the same: compilers take up to seconds for one, so that those nobody uses stay for a
 * while. */
#ifndef VKRING_VK_PIPELINE_POOL_H
#define VKRING_VK_PIPELINE_POOL_H

#include <pthread.h>

#include "pipeline.h"

/** Of those nobody uses, the ones used last stay. */
#define PIPELINE_POOL_MOST_IDLE 64u

/** Gives a pipeline that was made with these parameters, compiled if there is none. Code stays where it is, and as it is, as long as the
 * device. From any thread. */
enum vkring_status pipeline_pool_acquire(vkring_device *device, const struct vk_pipeline_params *params,
                                         const struct vk_pipeline **out_pipeline);
/** Ends a use and clears the pointer; accepts null. Nothing in flight may use it. From any thread. */
void pipeline_pool_release(vkring_device *device, const struct vk_pipeline **pipeline);
/** Destroys all that nobody uses. */
void pipeline_pool_trim(vkring_device *device);

#endif
