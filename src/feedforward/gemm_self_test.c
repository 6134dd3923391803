/* SPDX-License-Identifier: MIT */
#include "gemm_self_test.h"

#include <stdatomic.h>

#include "../attention/self_test_run.h"
#include "work_stream.h"

/* More than a tile of lavapipe, in whole quads, and more than a step. */
enum { ROWS = 36, COLUMNS = 44, TERMS = 52 };
enum { LEFT = 0, RIGHT = ROWS * TERMS * 4, RESULT = RIGHT + TERMS * COLUMNS * 4, BYTES = RESULT + ROWS * COLUMNS * 4 };
#define DISPATCH_SECONDS 0.1

/* After attention's verdicts: one for each type, then those with operations on matrices. */
#define FIRST_VERDICT 24u
#define TYPES 3u

struct test {
    vkring_device *device;
    struct gemm_kind kind;
    struct gemm gemm;
    vkring_buffer *buffer;
    struct work_stream stream;
};

static void close_test(struct test *test)
{
    if (!work_stream_settle(&test->stream))
        return; /* lost, because freeing what the device writes to is worse */
    work_stream_destroy(&test->stream);
    vkring_buffer_destroy(&test->buffer);
    gemm_destroy(test->device, &test->gemm);
}

static enum vkring_status open_test(vkring_device *device, const struct gemm_kind *kind, bool operations, struct test *test)
{
    enum vkring_status status;
    const struct gemm_wish wish = {.matrix = true, .operations = operations};
    *test = (struct test){.device = device, .kind = *kind};
    TRY(gemm_create(device, kind, &wish, true, &test->gemm), fail);
    TRY(vkring_buffer_create(device, BYTES, &test->buffer), fail);
    TRY(work_stream_create(device, DISPATCH_SECONDS, self_test_deadline(device), &test->stream), fail);
    return VKRING_OK;
fail:
    close_test(test);
    return status;
}

/* Integers that every type and the sums hold, greater ones after the first step. */
static int left_of(int row, int term)
{
    return ((7 * row + 3 * term) % 17 - 8) * (term < TERMS - 8 ? 1 : 8);
}

static int right_of(int term, int column)
{
    return ((5 * term + 11 * column) % 13 - 6) * (term < TERMS - 8 ? 1 : 16);
}

/* What is there before, added to: an element that is finished twice shows. */
static int start_of(int row, int column)
{
    return 100 * row - column;
}

static float result_of(int row, int column)
{
    int sum = start_of(row, column);
    for (int term = 0; term < TERMS; term++)
        sum += left_of(row, term) * right_of(term, column);
    return (float)sum;
}

static enum vkring_status put(const struct test *test, bool f32, uint64_t offset, const float *values, uint64_t count)
{
    enum vkring_status status;
    const enum vkring_type type = f32 ? VKRING_TYPE_F32 : test->kind.type;
    float stored[TERMS * COLUMNS];
    TRY(vkring_convert_from_f32(type, values, count, stored), fail);
    TRY(vkring_buffer_upload(test->buffer, offset, stored, count * vkring_type_bytes(type)), fail);
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status put_operands(const struct test *test)
{
    enum vkring_status status;
    const struct gemm_kind *kind = &test->kind;
    float left[ROWS * TERMS], right[TERMS * COLUMNS], start[ROWS * COLUMNS];
    for (int i = 0; i < ROWS * COLUMNS; i++)
        start[i] = (float)start_of(i / COLUMNS, i % COLUMNS);
    for (int term = 0; term < TERMS; term++) {
        for (int row = 0; row < ROWS; row++)
            left[kind->left_transposed ? term * ROWS + row : row * TERMS + term] = (float)left_of(row, term);
        for (int column = 0; column < COLUMNS; column++)
            right[kind->right_transposed ? column * TERMS + term : term * COLUMNS + column] = (float)right_of(term, column);
    }
    TRY(put(test, kind->left_f32, LEFT, left, ROWS * TERMS), fail);
    TRY(put(test, kind->right_f32, RIGHT, right, TERMS * COLUMNS), fail);
    TRY(put(test, true, RESULT, start, ROWS * COLUMNS), fail);
    return VKRING_OK;
fail:
    return status;
}

static uint32_t row_bytes(const struct gemm_kind *kind, bool f32, uint32_t elements)
{
    return elements * (f32 ? (uint32_t)sizeof(float) : (uint32_t)vkring_type_bytes(kind->type));
}

static enum vkring_status multiply(struct test *test)
{
    enum vkring_status status;
    const struct gemm_kind *kind = &test->kind;
    const uint64_t address = test->buffer->address;
    const struct gemm_operands operands = {
        .left = address + LEFT,
        .right = address + RIGHT,
        .result = address + RESULT,
        .left_stride = row_bytes(kind, kind->left_f32, kind->left_transposed ? ROWS : TERMS),
        .right_stride = row_bytes(kind, kind->right_f32, kind->right_transposed ? TERMS : COLUMNS),
        .result_stride = COLUMNS * sizeof(float),
        .rows = ROWS,
        .terms = TERMS,
    };
    work_stream_begin(&test->stream, NULL, 0);
    TRY(work_stream_multiply(&test->stream, &test->gemm, &operands), fail);
    TRY(work_stream_finish(&test->stream, NULL, 0), fail);
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status check(const struct test *test, bool *out_right)
{
    enum vkring_status status;
    float result[ROWS * COLUMNS];
    *out_right = true;
    TRY(vkring_buffer_download(test->buffer, RESULT, result, sizeof(result)), fail);
    for (int row = 0; row < ROWS; row++)
        for (int column = 0; column < COLUMNS; column++)
            *out_right = *out_right && result[row * COLUMNS + column] == result_of(row, column);
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status try_kind(vkring_device *device, const struct gemm_kind *kind, bool operations, bool *out_right)
{
    enum vkring_status status;
    struct test test;
    TRY(open_test(device, kind, operations, &test), fail);
    TRY(put_operands(&test), fail_opened);
    TRY(multiply(&test), fail_opened);
    TRY(check(&test, out_right), fail_opened);
fail_opened:
    close_test(&test);
fail:
    return status;
}

/* Every layout, and what is scaled on either side. */
static enum vkring_status try_kinds(vkring_device *device, enum vkring_type type, bool operations, bool *out_right)
{
    enum vkring_status status;
    struct gemm_kind across = {.type = type, .left_transposed = true, .right_f32 = true};
    struct gemm_kind along = {.type = type, .right_transposed = true, .left_f32 = true};
    across.epilogue = along.epilogue = GEMM_ACCUMULATE;
    across.result_f32 = along.result_f32 = true;
    across.columns = along.columns = COLUMNS;
    TRY(try_kind(device, &across, operations, out_right), fail);
    if (*out_right)
        TRY(try_kind(device, &along, operations, out_right), fail);
fail:
    return status;
}

enum vkring_status gemm_self_test(vkring_device *device, enum vkring_type type, bool operations, bool *out_right)
{
    const unsigned bit = 1u << (FIRST_VERDICT + (unsigned)type + (operations ? TYPES : 0u));
    if (!((atomic_load(&device->kernels_passed) | atomic_load(&device->kernels_failed)) & bit)) {
        const enum vkring_status status = try_kinds(device, type, operations, out_right);
        if (status == VKRING_ERROR_DEVICE) /* a compiler that refuses kernels is as good as one that breaks them */
            *out_right = false;
        else if (status != VKRING_OK)
            return status;
        atomic_fetch_or(*out_right ? &device->kernels_passed : &device->kernels_failed, bit);
    }
    *out_right = (atomic_load(&device->kernels_passed) & bit) != 0;
    return VKRING_OK;
}
