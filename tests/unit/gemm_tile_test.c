/* SPDX-License-Identifier: MIT */
/* How products of feed-forward are cut on matrix units: by shape, registers, shared memory and columns of many devices. */
#include <feedforward/gemm_tile.h>

#include "../harness/suite.h"

static struct vk_limits limits_of(struct vkring_matrix_shape shape, uint32_t subgroup_size, uint32_t registers, uint32_t shared_bytes)
{
    struct vk_limits limits = {.max_workgroup_invocations = 1024,
                               .subgroup_size = subgroup_size,
                               .min_subgroup_size = subgroup_size,
                               .max_subgroup_size = subgroup_size,
                               .shared_memory_bytes = shared_bytes,
                               .lane_registers = registers,
                               .matrix_shape_count = 1};
    limits.matrix_shapes[0] = shape;
    return limits;
}

static const struct gemm_kind wide = {.type = VKRING_TYPE_F16, .columns = 4096};

START_TEST(tiles_are_large_where_registers_are_many)
{
    const struct vk_limits limits = limits_of((struct vkring_matrix_shape){16, 16, 16}, 32, 256, 65536);
    const struct gemm_wish wish = {.matrix = true};
    const struct gemm_tile tile = gemm_tile_on_matrices(&limits, false, &wish, &wide);
    ck_assert_uint_eq(tile.rows, 128);
    ck_assert_uint_eq(tile.columns, 128);
    ck_assert_uint_eq(tile.workgroup_size, 256);
}
END_TEST

/* As Arc A and Xe2: a subgroup has the same sums of both shapes. */
static const struct {
    struct vkring_matrix_shape shape;
    uint32_t subgroup_size, rows, columns;
} few[] = {{{8, 8, 16}, 8, 128, 64}, {{8, 16, 16}, 16, 64, 128}};

START_TEST(tiles_are_small_where_registers_are_few)
{
    const struct vk_limits limits = limits_of(few[_i].shape, few[_i].subgroup_size, 128, 65536);
    const struct gemm_wish wish = {.matrix = true};
    const struct gemm_tile tile = gemm_tile_on_matrices(&limits, false, &wish, &wide);
    ck_assert(tile.matrices.few_registers);
    ck_assert_uint_eq(tile.matrices.row_tiles, 2);
    ck_assert_uint_eq(tile.matrices.column_tiles, 2);
    ck_assert_uint_eq(tile.matrices.step_terms, 32);
    ck_assert_uint_eq(tile.rows, few[_i].rows);
    ck_assert_uint_eq(tile.columns, few[_i].columns);
}
END_TEST

static const struct vk_limits *device_of(int i)
{
    static struct vk_limits all[7];
    all[0] = limits_of((struct vkring_matrix_shape){16, 16, 16}, 32, 256, 32768);
    all[1] = limits_of((struct vkring_matrix_shape){16, 16, 16}, 64, 256, 16384);
    all[2] = limits_of((struct vkring_matrix_shape){8, 8, 16}, 8, 128, 49152);
    all[3] = limits_of((struct vkring_matrix_shape){8, 16, 16}, 16, 128, 49152);
    all[4] = limits_of((struct vkring_matrix_shape){16, 8, 8}, 32, 256, 49152);
    all[5] = limits_of((struct vkring_matrix_shape){8, 8, 8}, 8, 128, 32768);
    all[6] = limits_of((struct vkring_matrix_shape){32, 32, 64}, 32, 256, 16384);
    all[4].max_workgroup_invocations = 128;
    return &all[i];
}

/* A quarter of them for sums; and six quads of a step, where tiles can be smaller. */
static void check_registers(const struct gemm_tile *tile, const struct vk_limits *limits)
{
    const uint32_t lanes = tile->workgroup_size, quads = tile->matrices.step_terms / 4;
    ck_assert_uint_le(tile->rows * tile->columns / lanes, limits->lane_registers / 4);
    ck_assert(tile->matrices.row_tiles * tile->matrices.column_tiles == 1 ||
              (tile->rows * quads + lanes - 1) / lanes + (tile->columns * quads + lanes - 1) / lanes <= 6);
}

/* What the kernel takes for granted. */
static void check_tile(const struct gemm_tile *tile, const struct gemm_kind *kind, const struct vk_limits *limits)
{
    const struct gemm_matrices *matrices = &tile->matrices;
    ck_assert_uint_ge(matrices->row_tiles, 1);
    ck_assert_uint_ge(matrices->column_tiles, 1);
    ck_assert_uint_eq(matrices->subgroups % matrices->across, 0);
    ck_assert_uint_eq(tile->columns, matrices->across * matrices->column_tiles * matrices->shape.n);
    ck_assert_uint_eq(tile->rows, matrices->subgroups / matrices->across * matrices->row_tiles * matrices->shape.m);
    ck_assert_uint_eq(tile->workgroup_size, matrices->subgroups * matrices->subgroup_size);
    ck_assert_uint_eq(matrices->step_terms % matrices->shape.k, 0);
    ck_assert_uint_eq(matrices->step_terms % 8, 0);
    ck_assert_uint_le(tile->workgroup_size, limits->max_workgroup_invocations);
    ck_assert_uint_le(gemm_tile_shared_bytes(tile, kind), limits->shared_memory_bytes);
    /* matrices in it are aligned to 16 bytes, in whatever order its variables lie */
    ck_assert_uint_eq(gemm_tile_shared_bytes(tile, kind) % 16, 0);
    if (matrices->few_registers)
        check_registers(tile, limits);
}

START_TEST(tiles_fit_every_device)
{
    static const uint64_t columns[] = {1, 7, 16, 17, 40, 100, 4096};
    const struct vk_limits *limits = device_of(_i % 7);
    for (int form = 0; form < 64; form++)
        for (size_t c = 0; c < sizeof(columns) / sizeof(columns[0]); c++)
            for (uint32_t subgroups = 0; subgroups <= 8; subgroups = subgroups ? 2 * subgroups : 1) {
                const struct gemm_kind kind = {.type = form & 1 ? VKRING_TYPE_F16 : VKRING_TYPE_BF16,
                                               .left_transposed = form & 2,
                                               .right_transposed = form & 4,
                                               .left_f32 = form & 8,
                                               .right_f32 = form & 16,
                                               .columns = columns[c]};
                const struct gemm_wish wish = {.matrix = true, .subgroups = subgroups};
                const struct gemm_tile tile = gemm_tile_on_matrices(limits, form & 32, &wish, &kind);
                check_tile(&tile, &kind, limits);
                ck_assert(tile.matrices.few_registers == (limits->lane_registers < 256 && !(form & 32)));
                ck_assert(!subgroups || tile.matrices.subgroups <= subgroups);
                ck_assert(columns[c] > 4 * tile.matrices.shape.n || tile.columns < 2 * columns[c] + tile.matrices.shape.n);
            }
}
END_TEST

START_TEST(what_does_not_fit_is_left_to_others)
{
    const struct vk_limits tiny = limits_of((struct vkring_matrix_shape){16, 16, 16}, 32, 256, 1024);
    const struct vk_limits short_rows = limits_of((struct vkring_matrix_shape){4, 16, 16}, 32, 256, 65536);
    const struct vk_limits none = limits_of((struct vkring_matrix_shape){0}, 32, 256, 65536);
    const struct vk_limits few_registers = limits_of((struct vkring_matrix_shape){32, 32, 16}, 16, 128, 65536);
    const struct gemm_kind f32 = {.type = VKRING_TYPE_F32, .columns = 4096};
    const struct gemm_wish wish = {.matrix = true};
    ck_assert_uint_eq(gemm_tile_on_matrices(&tiny, false, &wish, &wide).rows, 0);
    ck_assert_uint_eq(gemm_tile_on_matrices(&short_rows, false, &wish, &wide).rows, 0);
    ck_assert_uint_eq(gemm_tile_on_matrices(&none, false, &wish, &wide).rows, 0);
    ck_assert_uint_eq(gemm_tile_on_matrices(&few_registers, false, &wish, &wide).rows, 0);
    ck_assert_uint_eq(gemm_tile_on_matrices(device_of(0), false, &wish, &f32).rows, 0);
}
END_TEST

START_TEST(operations_take_no_shared_memory_for_sums)
{
    struct vk_limits limits = limits_of((struct vkring_matrix_shape){16, 16, 16}, 32, 256, 65536);
    const struct gemm_wish wish = {.matrix = true, .operations = true};
    const struct gemm_tile without = gemm_tile_on_matrices(&limits, false, &wish, &wide);
    limits.matrix_operations = true;
    const struct gemm_tile with = gemm_tile_on_matrices(&limits, false, &wish, &wide);
    ck_assert(!without.matrices.operations && with.matrices.operations);
    ck_assert_uint_eq(gemm_tile_shared_bytes(&without, &wide) - gemm_tile_shared_bytes(&with, &wide), 8 * 16 * 16 * 4);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tiles of products");
    TCase *tcase = tcase_create("tiles");
    tcase_add_test(tcase, tiles_are_large_where_registers_are_many);
    tcase_add_loop_test(tcase, tiles_are_small_where_registers_are_few, 0, sizeof(few) / sizeof(few[0]));
    tcase_add_loop_test(tcase, tiles_fit_every_device, 0, 7);
    tcase_add_test(tcase, operations_take_no_shared_memory_for_sums);
    tcase_add_test(tcase, what_does_not_fit_is_left_to_others);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
