/* SPDX-License-Identifier: MIT */
/* Kernels on matrix units: who gets them, and their tiles. */
#include <stdio.h>

#include <attention/choice_text.h>

#include "../harness/suite.h"
#include "described_gpu.h"

/* With matrix units, and registers enough to use them. */
static vkring_device gpu_with_matrices(void)
{
    vkring_device device = described_gpu();
    device.limits.max_workgroup_invocations = 1024;
    device.limits.shared_memory_bytes = 65536;
    device.limits.lane_registers = 256;
    device.limits.matrix_shape_count = 1;
    device.limits.matrix_shapes[0] = (struct vkring_matrix_shape){16, 16, 16};
    return device;
}

static const struct problem halves = {.type = VKRING_TYPE_F16,
                                      .batch = 1,
                                      .q_len = 4096,
                                      .kv_len = 4096,
                                      .heads = 4,
                                      .kv_heads = 2,
                                      .head_dim = 64,
                                      .value_dim = 64,
                                      .backward = true};

/* Of each kernel on matrix units. */
static void check_room(const vkring_device *device, const struct kernel_choice *choice)
{
    for (enum spirv_kernel which = 0; which < SPIRV_KERNELS; which++) {
        const struct matrix_tiles *tiles = kernel_choice_matrices(choice, which);
        if (tiles) {
            ck_assert_uint_le(matrix_tiles_shared_bytes(which, tiles, &halves), device->limits.shared_memory_bytes);
            ck_assert_uint_le(matrix_tiles_workgroup_size(tiles), device->limits.max_workgroup_invocations);
            ck_assert_uint_ge(tiles->rows_per_step, 4 * tiles->lanes_per_row);
        }
    }
}

START_TEST(tiles_of_matrix_units_are_words)
{
    const vkring_device device = gpu_with_matrices();
    struct kernel_choice choice = kernel_choice_best(&device, &halves);
    const struct matrix_tiles *forward = &choice.matrices[SPIRV_FORWARD];
    ck_assert(choice.matrix);
    ck_assert_uint_eq(matrix_tiles_row_tiles(forward), 1);
    ck_assert_int_eq(choice_parse(&device, &halves, "matrix_row_tiles=2 matrix_subgroups=2 matrix_rows_per_step=16", &choice), VKRING_OK);
    ck_assert_int_eq(choice_check(&device, &halves, &choice), VKRING_OK);
    ck_assert_uint_eq(matrix_tiles_rows(forward), 64);
    ck_assert_uint_eq(matrix_tiles_workgroup_size(forward), 64);
    ck_assert_uint_eq(forward->rows_per_step, 16);
    ck_assert_uint_eq(choice.matrices[SPIRV_KEY_GRADIENT].rows_per_step, 16);
    ck_assert_int_eq(choice_parse(&device, &halves, "matrix_row_tiles=8 matrix_subgroups=16 matrix_rows_per_step=128", &choice), VKRING_OK);
    ck_assert_int_eq(choice_check(&device, &halves, &choice), VKRING_OK);
    ck_assert(choice.matrix && forward->shape.m);
    check_room(&device, &choice);
    ck_assert_int_eq(choice_parse(&device, &halves, "matrix_row_tiles=0 matrix_subgroups=0 matrix_rows_per_step=0", &choice), VKRING_OK);
    const struct kernel_choice best = kernel_choice_best(&device, &halves);
    ck_assert(matrix_tiles_equal(forward, &best.matrices[SPIRV_FORWARD]));
}
END_TEST

/* As those of Intel, whose subgroups have so many lanes; matrices of f16 are 8 high, 16 deep, and as wide. */
static vkring_device gpu_of_few_registers(uint32_t lanes)
{
    vkring_device device = gpu_with_matrices();
    device.limits.lane_registers = 128;
    device.limits.subgroup_size = device.limits.min_subgroup_size = lanes;
    device.limits.shared_memory_bytes = 49152;
    device.limits.matrix_shapes[0] = (struct vkring_matrix_shape){8, lanes, 16};
    return device;
}

/* Forward of a head's dimensions, with rows that lanes find again at each step. */
static bool is_on_matrix_units(const vkring_device *device, const struct problem *of)
{
    const struct kernel_choice best = kernel_choice_best(device, of);
    const struct matrix_tiles *forward = kernel_choice_matrices(&best, SPIRV_FORWARD);
    ck_assert(!forward || forward->few_registers);
    return forward;
}

START_TEST(few_registers_hold_forward)
{
    const vkring_device narrow = gpu_of_few_registers(8), wide = gpu_of_few_registers(16);
    struct problem of = halves;
    of.backward = false;
    ck_assert(is_on_matrix_units(&wide, &of) && is_on_matrix_units(&narrow, &of));
    of.softcap = 30;
    ck_assert(is_on_matrix_units(&wide, &of) && is_on_matrix_units(&narrow, &of));
    of.value_dim = 256;
    ck_assert(is_on_matrix_units(&wide, &of) && is_on_matrix_units(&narrow, &of));
    of.softcap = 0;
    ck_assert(is_on_matrix_units(&wide, &of) && is_on_matrix_units(&narrow, &of));
}
END_TEST

START_TEST(few_registers_hold_gradients)
{
    const vkring_device narrow = gpu_of_few_registers(8), wide = gpu_of_few_registers(16);
    struct problem of = halves;
    of.type = _i == 0 ? VKRING_TYPE_F16 : VKRING_TYPE_BF16;
    of.head_dim = of.value_dim = 128;
    ck_assert(is_on_matrix_units(&wide, &of) && is_on_matrix_units(&narrow, &of));
    of.softcap = 30;
    of.dropout = 0.5;
    ck_assert(is_on_matrix_units(&wide, &of) && is_on_matrix_units(&narrow, &of));
    of.segment_ids = true;
    ck_assert(is_on_matrix_units(&wide, &of) && is_on_matrix_units(&narrow, &of));
    of.head_dim = of.value_dim = 256;
    ck_assert(is_on_matrix_units(&wide, &of) && is_on_matrix_units(&narrow, &of));
}
END_TEST

/* Of gradients with much to find of each score a lane has one quad of a step and row. */
START_TEST(costly_gradients_have_short_steps)
{
    const vkring_device device = gpu_of_few_registers(8);
    struct problem of = halves;
    const struct kernel_choice plain = kernel_choice_best(&device, &of);
    of.alibi = true;
    const struct kernel_choice costly = kernel_choice_best(&device, &of);
    ck_assert_uint_eq(plain.matrices[SPIRV_QUERY_GRADIENT].rows_per_step, 32);
    ck_assert_uint_eq(costly.matrices[SPIRV_QUERY_GRADIENT].rows_per_step, 16);
    ck_assert_uint_eq(costly.matrices[SPIRV_FORWARD].rows_per_step, 32);
}
END_TEST

static void check_lanes(const struct kernel_choice *choice, enum spirv_kernel which, uint32_t lanes)
{
    ck_assert(choice->matrix);
    ck_assert_uint_ge(choice->matrices[which].lanes_per_row, lanes);
}

/* Else few lanes would have all quads of a step, where rows are narrow. */
START_TEST(lanes_share_narrow_rows)
{
    for (uint32_t lanes = 8; lanes <= 16; lanes *= 2)
        for (uint64_t dim = 8; dim <= 32; dim *= 2) {
            const vkring_device device = gpu_of_few_registers(lanes);
            struct problem of = halves;
            of.head_dim = of.value_dim = dim;
            struct kernel_choice choice = kernel_choice_best(&device, &of);
            check_lanes(&choice, SPIRV_QUERY_GRADIENT, lanes == 8 ? 4 : 2);
            check_lanes(&choice, SPIRV_KEY_GRADIENT, lanes == 8 ? 4 : 2);
            of.softcap = 30;
            choice = kernel_choice_best(&device, &of);
            check_lanes(&choice, SPIRV_FORWARD, 4);
            check_lanes(&choice, SPIRV_QUERY_GRADIENT, 4);
            check_lanes(&choice, SPIRV_KEY_GRADIENT, 4);
        }
}
END_TEST

/* Each subgroup's sums of so many rows and columns are an eighth of its lanes' registers. */
START_TEST(subgroups_share_columns_where_registers_are_few)
{
    const vkring_device device = gpu_of_few_registers(16);
    struct problem of = halves;
    const uint32_t parts[][2] = {{32, 1}, {64, 2}, {128, 4}};
    for (int i = 0; i < 3; i++) {
        of.head_dim = of.value_dim = parts[i][0];
        const struct kernel_choice best = kernel_choice_best(&device, &of);
        ck_assert_uint_eq(best.matrices[SPIRV_FORWARD].column_parts, parts[i][1]);
        ck_assert_uint_eq(best.matrices[SPIRV_KEY_GRADIENT].column_parts, 2 * parts[i][1]);
        ck_assert(best.matrices[SPIRV_KEY_GRADIENT].separate_sums);
        ck_assert_uint_eq(matrix_tiles_row_tiles(&best.matrices[SPIRV_FORWARD]), 1);
        ck_assert_uint_eq(matrix_tiles_row_tiles(&best.matrices[SPIRV_KEY_GRADIENT]), 2);
        check_room(&device, &best);
    }
}
END_TEST

/* Rows are a subgroup's own then. */
START_TEST(narrow_subgroups_have_a_row_each)
{
    const vkring_device device = gpu_of_few_registers(8);
    struct problem of = halves;
    of.head_dim = of.value_dim = 128;
    const struct kernel_choice best = kernel_choice_best(&device, &of);
    const struct matrix_tiles *keys = &best.matrices[SPIRV_KEY_GRADIENT];
    ck_assert_uint_eq(keys->column_parts, 16);
    ck_assert_uint_eq(matrix_tiles_rows(keys), keys->subgroups);
    check_room(&device, &best);
}
END_TEST

static void check_parts(const struct kernel_choice *choice, enum spirv_kernel which, const struct problem *of, uint32_t rows,
                        uint32_t column_parts, uint32_t row_parts)
{
    const struct matrix_tiles *tiles = &choice->matrices[which];
    const uint32_t teams = tiles->subgroups / tiles->column_parts;
    ck_assert_msg(matrix_tiles_rows(tiles) == teams * rows && tiles->column_parts == column_parts && tiles->row_parts == row_parts,
                  "%u rows of %u teams, %u parts of columns and %u of rows", matrix_tiles_rows(tiles), teams, tiles->column_parts,
                  tiles->row_parts);
    ck_assert_uint_le(matrix_tiles_shared_bytes(which, tiles, of), 49152);
    ck_assert_uint_ge(tiles->rows_per_step, 4 * tiles->lanes_per_row);
}

/* Sums of wide rows go to more subgroups than rows have lanes for; on narrow ones, where segment ids are, half as many to each. */
START_TEST(some_subgroups_only_multiply)
{
    const vkring_device wide = gpu_of_few_registers(16), narrow = gpu_of_few_registers(8);
    struct problem of = halves;
    of.head_dim = of.value_dim = 256;
    struct kernel_choice choice = kernel_choice_best(&wide, &of);
    check_parts(&choice, SPIRV_FORWARD, &of, 8, 4, 4);
    check_parts(&choice, SPIRV_QUERY_GRADIENT, &of, 8, 8, 4);
    check_parts(&choice, SPIRV_KEY_GRADIENT, &of, 16, 16, 4);
    of.softcap = 30;
    choice = kernel_choice_best(&wide, &of);
    check_parts(&choice, SPIRV_FORWARD, &of, 8, 8, 4);
    of.head_dim = of.value_dim = 128;
    of.segment_ids = true;
    choice = kernel_choice_best(&narrow, &of);
    check_parts(&choice, SPIRV_QUERY_GRADIENT, &of, 8, 16, 8);
    check_parts(&choice, SPIRV_KEY_GRADIENT, &of, 8, 16, 8);
}
END_TEST

START_TEST(columns_are_shared_on_request)
{
    const vkring_device device = gpu_with_matrices();
    struct kernel_choice choice = kernel_choice_best(&device, &halves);
    const struct matrix_tiles *forward = &choice.matrices[SPIRV_FORWARD];
    ck_assert_uint_eq(forward->column_parts, 1);
    ck_assert_int_eq(choice_parse(&device, &halves, "matrix_column_parts=2", &choice), VKRING_OK);
    ck_assert_int_eq(choice_check(&device, &halves, &choice), VKRING_OK);
    ck_assert(forward->column_parts == 2 && forward->few_registers);
    ck_assert_uint_eq(forward->subgroups % 2, 0);
    ck_assert_uint_eq(matrix_tiles_rows(forward), forward->subgroups / 2 * forward->shape.m);
    check_room(&device, &choice);
    ck_assert_int_eq(choice_parse(&device, &halves, "matrix_subgroups=1", &choice), VKRING_OK);
    ck_assert_uint_eq(forward->column_parts, 1);
}
END_TEST

START_TEST(a_subgroup_has_a_row)
{
    vkring_device device = gpu_with_matrices();
    struct kernel_choice choice;
    device.limits.matrix_shapes[0] = (struct vkring_matrix_shape){4, 8, 8};
    choice = kernel_choice_best(&device, &halves);
    ck_assert_int_eq(choice_parse(&device, &halves, "matrix_column_parts=8", &choice), VKRING_OK);
    ck_assert_uint_eq(choice.matrices[SPIRV_FORWARD].column_parts, 8);
    ck_assert_uint_le(choice.matrices[SPIRV_FORWARD].row_parts, 4);
    check_room(&device, &choice);
}
END_TEST

START_TEST(bias_gradients_are_on_matrix_units)
{
    const vkring_device device = gpu_with_matrices();
    struct problem biased = halves;
    biased.bias.present = true;
    const struct kernel_choice without = kernel_choice_best(&device, &halves), with = kernel_choice_best(&device, &biased);
    ck_assert(!kernel_choice_matrices(&without, SPIRV_BIAS_GRADIENT));
    ck_assert(kernel_choice_matrices(&with, SPIRV_BIAS_GRADIENT));
    check_room(&device, &with);
}
END_TEST

/* Of forward, and of gradients if there are any. */
static int kernels_by_operations(const vkring_device *device, const struct problem *of)
{
    struct kernel_choice choice = kernel_choice_best(device, of);
    const struct matrix_tiles *gradients = &choice.matrices[SPIRV_KEY_GRADIENT];
    ck_assert(choice.matrix);
    ck_assert_int_eq(choice_check(device, of, &choice), VKRING_OK);
    ck_assert_int_eq(gradients->operations, choice.matrices[SPIRV_QUERY_GRADIENT].operations);
    check_room(device, &choice);
    return choice.matrices[SPIRV_FORWARD].operations + gradients->operations;
}

static vkring_device gpu_with_operations(void)
{
    vkring_device device = gpu_with_matrices();
    device.limits.matrix_operations = true;
    snprintf(device.info.driver, sizeof(device.info.driver), "NVIDIA 580.159.04");
    return device;
}

/* Of f16, but on NVIDIA's GPUs, and not for kernels by operations on matrices or with rows on their way ahead. Room is made for what it
 * takes. */
START_TEST(values_are_turned)
{
    vkring_device device = gpu_with_matrices();
    struct problem other = halves;
    const struct kernel_choice best = kernel_choice_best(&device, &halves);
    struct kernel_choice choice = best;
    ck_assert(best.matrices[SPIRV_FORWARD].turns_values && !best.matrices[SPIRV_KEY_GRADIENT].turns_values);
    ck_assert_int_eq(choice_parse(&device, &halves, "matrix_turns_values=0", &choice), VKRING_OK);
    ck_assert(!choice.matrices[SPIRV_FORWARD].turns_values);
    ck_assert_uint_lt(matrix_tiles_shared_bytes(SPIRV_FORWARD, &choice.matrices[SPIRV_FORWARD], &halves),
                      matrix_tiles_shared_bytes(SPIRV_FORWARD, &best.matrices[SPIRV_FORWARD], &halves));
    ck_assert_int_eq(choice_parse(&device, &halves, "matrix_turns_values=1 matrix_loads_ahead=1", &choice), VKRING_OK);
    ck_assert(choice.matrices[SPIRV_FORWARD].loads_ahead && !choice.matrices[SPIRV_FORWARD].turns_values);
    other.type = VKRING_TYPE_BF16;
    ck_assert(!kernel_choice_best(&device, &other).matrices[SPIRV_FORWARD].turns_values);
    device.info.vendor_id = VK_VENDOR_NVIDIA;
    ck_assert(!kernel_choice_best(&device, &halves).matrices[SPIRV_FORWARD].turns_values);
}
END_TEST

/* With NVIDIA's driver, without dropout, and of matrices that can be both sums and factors; gradients of scores that are dot products. */
START_TEST(operations_on_matrices_are_used)
{
    vkring_device device = gpu_with_operations(), without = gpu_with_matrices();
    struct problem other = halves;
    struct kernel_choice choice;
    ck_assert_int_eq(kernels_by_operations(&without, &halves), 0);
    without.limits.matrix_operations = true;
    ck_assert_int_eq(kernels_by_operations(&without, &halves), 0);
    ck_assert_int_eq(kernels_by_operations(&device, &halves), 2);
    choice = kernel_choice_best(&device, &halves);
    ck_assert(choice.matrices[SPIRV_FORWARD].loads_ahead);
    ck_assert_int_eq(choice_parse(&device, &halves, "matrix_operations=0", &choice), VKRING_OK);
    ck_assert(!choice.matrices[SPIRV_FORWARD].operations && !choice.matrices[SPIRV_KEY_GRADIENT].operations);
    other.softcap = 5;
    ck_assert_int_eq(kernels_by_operations(&device, &other), 1);
    other.dropout = 0.5;
    ck_assert_int_eq(kernels_by_operations(&device, &other), 0);
    other = halves;
    other.type = VKRING_TYPE_BF16;
    ck_assert_int_eq(kernels_by_operations(&device, &other), 0);
    ck_assert(!kernel_choice_best(&device, &other).matrices[SPIRV_FORWARD].loads_ahead);
    device.limits.bfloat16_shape = device.limits.matrix_shapes[0];
    ck_assert_int_eq(kernels_by_operations(&device, &other), 2);
    device.limits.matrix_shapes[0].n = 2 * device.limits.matrix_shapes[0].k;
    ck_assert_int_eq(kernels_by_operations(&device, &halves), 0);
}
END_TEST

static void check_tiles(const struct kernel_choice *choice, enum spirv_kernel which, uint32_t subgroups, uint32_t rows_per_step)
{
    const struct matrix_tiles *tiles = &choice->matrices[which];
    ck_assert_msg(tiles->subgroups == subgroups && tiles->rows_per_step == rows_per_step, "%s: %u subgroups, %u rows a step",
                  spirv_kernel_name(which), tiles->subgroups, tiles->rows_per_step);
}

/* Those that were fastest on an H200. */
START_TEST(operations_have_their_own_tiles)
{
    vkring_device device = gpu_with_operations();
    struct problem wide = halves;
    struct kernel_choice choice = kernel_choice_best(&device, &halves);
    check_tiles(&choice, SPIRV_FORWARD, 8, 64);
    check_tiles(&choice, SPIRV_QUERY_GRADIENT, 8, 64);
    check_tiles(&choice, SPIRV_KEY_GRADIENT, 8, 64);
    wide.head_dim = wide.value_dim = 128;
    device.limits.shared_memory_bytes = 49152;
    choice = kernel_choice_best(&device, &wide);
    check_tiles(&choice, SPIRV_FORWARD, 8, 64);
    check_tiles(&choice, SPIRV_QUERY_GRADIENT, 8, 32);
    check_tiles(&choice, SPIRV_KEY_GRADIENT, 8, 32);
}
END_TEST

/* Forward of f32: twice the rows to a lane, and the lanes to a row. */
START_TEST(nvidias_lanes_have_more_rows)
{
    const vkring_device device = gpu_with_operations(), other = gpu_with_matrices();
    struct problem floats = halves;
    struct kernel_choice choice, usual;
    floats.type = VKRING_TYPE_F32;
    floats.backward = false;
    choice = kernel_choice_best(&device, &floats);
    usual = kernel_choice_best(&other, &floats);
    ck_assert_uint_eq(choice.rows_per_lane, 2 * usual.rows_per_lane);
    ck_assert_uint_eq(choice.lanes_per_row, 2 * usual.lanes_per_row);
    ck_assert_int_eq(choice_check(&device, &floats, &choice), VKRING_OK);
    floats.backward = true;
    ck_assert_uint_eq(kernel_choice_best(&device, &floats).rows_per_lane, kernel_choice_best(&other, &floats).rows_per_lane);
}
END_TEST

/* Of one that goes through shared memory, and the other way round. */
START_TEST(operations_are_a_neighbour_where_there_are_any)
{
    struct kernel_choice neighbours[CHOICE_NEIGHBOURS];
    for (int i = 0; i < 2; i++) {
        const vkring_device device = i ? gpu_with_operations() : gpu_with_matrices();
        const struct kernel_choice choice = kernel_choice_best(&device, &halves);
        const uint32_t count = choice_neighbours(&device, &halves, &choice, neighbours);
        uint32_t with = 0, on_matrices = 0;
        for (uint32_t j = 0; j < count; j++) {
            with += neighbours[j].matrix && neighbours[j].matrices[SPIRV_FORWARD].operations;
            on_matrices += neighbours[j].matrix;
            check_room(&device, &neighbours[j]);
        }
        ck_assert_msg(i ? with > 0 && with < on_matrices : with == 0, "%u of %u neighbours", with, on_matrices);
    }
}
END_TEST

/* Whatever it differs in is of use: other tiles, or no matrix units. */
START_TEST(neighbours_on_matrix_units_have_other_tiles)
{
    const vkring_device device = gpu_with_matrices();
    const struct kernel_choice choice = kernel_choice_best(&device, &halves);
    struct kernel_choice neighbours[CHOICE_NEIGHBOURS];
    const uint32_t count = choice_neighbours(&device, &halves, &choice, neighbours);
    uint32_t without = 0, seen[3] = {0};
    for (uint32_t i = 0; i < count; i++) {
        const struct kernel_choice *other = &neighbours[i];
        const struct matrix_tiles *a = &choice.matrices[SPIRV_FORWARD], *b = &other->matrices[SPIRV_FORWARD];
        without += !other->matrix;
        seen[0] |= matrix_tiles_row_tiles(a) != matrix_tiles_row_tiles(b);
        seen[1] |= a->subgroups != b->subgroups;
        seen[2] |= a->rows_per_step != b->rows_per_step;
        check_room(&device, other);
        ck_assert_uint_eq(other->lanes_per_row, choice.lanes_per_row);
    }
    ck_assert_uint_eq(without, 1);
    ck_assert(seen[0] && seen[1] && seen[2]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("choices of kernels on matrix units");
    TCase *tcase = tcase_create("tiles");
    if (spirv_matrix_kernel(SPIRV_FORWARD, VKRING_TYPE_F16).code) {
        tcase_add_test(tcase, tiles_of_matrix_units_are_words);
        tcase_add_test(tcase, few_registers_hold_forward);
        tcase_add_loop_test(tcase, few_registers_hold_gradients, 0, 2);
        tcase_add_test(tcase, costly_gradients_have_short_steps);
        tcase_add_test(tcase, subgroups_share_columns_where_registers_are_few);
        tcase_add_test(tcase, narrow_subgroups_have_a_row_each);
        tcase_add_test(tcase, some_subgroups_only_multiply);
        tcase_add_test(tcase, lanes_share_narrow_rows);
        tcase_add_test(tcase, columns_are_shared_on_request);
        tcase_add_test(tcase, a_subgroup_has_a_row);
        tcase_add_test(tcase, bias_gradients_are_on_matrix_units);
        tcase_add_test(tcase, neighbours_on_matrix_units_have_other_tiles);
    }
    if (spirv_matrix_kernel_by_operations(SPIRV_FORWARD, VKRING_TYPE_F16).code) {
        tcase_add_test(tcase, values_are_turned);
        tcase_add_test(tcase, operations_on_matrices_are_used);
        tcase_add_test(tcase, operations_have_their_own_tiles);
        tcase_add_test(tcase, operations_are_a_neighbour_where_there_are_any);
    }
    tcase_add_test(tcase, nvidias_lanes_have_more_rows);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
