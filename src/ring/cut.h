/* SPDX-License-Identifier: MIT */
/** Cutting rows over ranks: vkring_cut_rows of vkring.h, and the check of a cut that the application brings. */
#ifndef VKRING_RING_CUT_H
#define VKRING_RING_CUT_H

#include "../base/status.h"

/** VKRING_ERROR_INVALID_ARGUMENT: the ranks' rows do not add up to rows; the message names field, as in "query_rows_of_rank". */
enum vkring_status cut_validate(const char *field, uint64_t rows, uint32_t ranks, const uint64_t *rows_of_rank);

#endif
