/* SPDX-License-Identifier: MIT */
/** Between the files that go through the tasks of a run and those that submit the dispatches of one. */
#ifndef VKRING_RING_RUN_TASKS_H
#define VKRING_RING_RUN_TASKS_H

#include "run.h"

/** Of tasks whose lanes own query rows: of these each box is cut alike at all steps. Null for others. */
const struct query_walk *run_walk_of(const struct vkring_plan *plan, enum task_kind kind);
/** Of the others, at a span of the step's keys. */
struct tiling run_key_tiling(const struct run *run, const struct task *task, uint32_t key_span);
/** How many boxes of a task come before a place in it. */
uint64_t run_boxes_before(const struct run *run, const struct task *task, uint32_t key_span, uint64_t box);

/** Submits dispatches of the task at the cursor, as many as should take dispatch_seconds, at least one where any is left, and moves the cursor. */
enum vkring_status run_submit_dispatches(struct run *run, const struct task *task);
/** What a task is called in the record of events. */
enum vkring_event_kind run_event_of(enum task_kind kind);

#endif
