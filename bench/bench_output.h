/* SPDX-License-Identifier: MIT */
/** Results as a table on standard output, as CSV and as JSON. */
#ifndef VKRING_BENCH_OUTPUT_H
#define VKRING_BENCH_OUTPUT_H

#include "bench_measure.h"
#include "bench_peak.h"

void bench_print_header(void);
void bench_print_row(const struct bench_result *result, uint32_t ranks);

bool bench_write_csv(struct report_file *file, const struct bench_result *results, uint32_t count, uint32_t ranks, struct failure *failure);
bool bench_write_json(struct report_file *file, const struct bench_result *results, uint32_t count, uint32_t ranks,
                      const struct vkring_device_info *device, struct failure *failure);

void bench_print_peak(const struct bench_peak *peak, const struct vkring_device_info *device);
bool bench_write_peak_json(struct report_file *file, const struct bench_peak *peak, const struct vkring_device_info *device,
                           struct failure *failure);

#endif
