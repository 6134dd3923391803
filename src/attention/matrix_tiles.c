/* SPDX-License-Identifier: MIT */
#include "matrix_tiles.h"

#include "../base/checked.h"

/* Nearly every device has them; more leaves fewer workgroups to a processor. */
#define PORTABLE_SHARED_BYTES 32768u

/* What RADV and NVK can have in registers, of own rows and their sums, without spilling. */
#define MOST_COLUMNS_IN_REGISTERS 256u
/* Gradients of a bias have those of pairs besides. */
#define MOST_COLUMNS_OF_BIAS 128u
/* And NVIDIA's driver, where pairs stay in matrices: of two tensors of 128 columns. */
#define MOST_COLUMNS_OF_GRADIENTS 512u
/* Of queries and values together. */
#define NARROW_COLUMNS 128u
/* Of a lane's registers what ANV can fill with sums where there are few, own rows in shared memory. */
#define FEW_LANE_REGISTERS 128u
#define SHARE_OF_SUMS 8u
/* That share a row, where subgroups share columns: each takes a quad of a step. */
#define MOST_LANES_OF_PART 8u
/* And at least so many where much is asked of scores, or of gradients where subgroups are narrow; half as many of others. */
#define LEAST_LANES_OF_PART 4u
#define WIDE_SUBGROUP 16u

/* Each part of columns is whole matrices. */
static uint64_t padded(uint64_t dim, const struct matrix_tiles *tiles)
{
    const uint64_t unit = max_u64((uint64_t)tiles->shape.n * tiles->column_parts, tiles->shape.k);
    return divide_up(dim, unit) * unit;
}

uint32_t matrix_tiles_workgroup_size(const struct matrix_tiles *tiles)
{
    return tiles->subgroup_size * tiles->subgroups;
}

uint32_t matrix_tiles_rows(const struct matrix_tiles *tiles)
{
    return matrix_tiles_workgroup_size(tiles) / tiles->column_parts * tiles->row_parts / tiles->lanes_per_row * tiles->rows_per_lane;
}

static bool owns_keys(enum spirv_kernel which)
{
    return which == SPIRV_KEY_GRADIENT || which == SPIRV_BIAS_GRADIENT;
}

uint64_t matrix_tiles_shared_bytes(enum spirv_kernel which, const struct matrix_tiles *tiles, const struct problem *problem)
{
    const uint64_t head_bytes = 2 * padded(problem->head_dim, tiles) + 16;
    const uint64_t value_bytes = 2 * padded(problem->value_dim, tiles) + 16;
    const uint64_t rows = matrix_tiles_rows(tiles), step = tiles->rows_per_step;
    const uint64_t own_bytes = head_bytes + (which == SPIRV_FORWARD ? 0 : value_bytes);
    const uint64_t magnitude_bytes = problem->type == VKRING_TYPE_BF16 && !tiles->operations ? 8 : 0;
    const uint64_t own_magnitude_bytes = tiles->parts_apart ? magnitude_bytes : 0;
    const uint64_t words = 1 + (tiles->column_parts > 1 ? tiles->subgroups : 1);
    const uint64_t shown_columns = tiles->operations ? tiles->shape.n : step;
    const uint64_t mask_bytes = tiles->operations ? 4 * step + 8 * rows : 0;
    const uint64_t stats_rows = !tiles->operations || which == SPIRV_FORWARD ? 0 : owns_keys(which) ? step : rows;
    const uint64_t staged_value_bytes = tiles->turns_values ? padded(problem->value_dim, tiles) * (2 * step + 16) : step * value_bytes;
    return step * (head_bytes + magnitude_bytes) + staged_value_bytes + rows * (4 * shown_columns + 16 + own_magnitude_bytes + 4) +
           4 * words + mask_bytes + 12 * stats_rows + (tiles->few_registers ? rows * own_bytes : 0);
}

uint64_t matrix_tiles_state_bytes(enum spirv_kernel which, const struct matrix_tiles *tiles, const struct problem *problem)
{
    if (which == SPIRV_BIAS_GRADIENT)
        return 0;
    const uint64_t head = padded(problem->head_dim, tiles), value = padded(problem->value_dim, tiles);
    const uint64_t both = tiles->separate_sums ? 2 * max_u64(head, value) : head + value;
    const uint64_t columns = which == SPIRV_FORWARD ? value : which == SPIRV_QUERY_GRADIENT ? head : both;
    return matrix_tiles_rows(tiles) * (4 * columns + 8);
}

/* Of the sums of rows, and of own rows beside them. Gradients of a bias have no such sums, but as much of pairs. */
static uint64_t columns_of(enum spirv_kernel which, const struct problem *problem)
{
    const uint64_t head = problem->head_dim, value = problem->value_dim;
    return which == SPIRV_FORWARD ? value + head : which == SPIRV_QUERY_GRADIENT ? 2 * head + value : 2 * (head + value);
}

/* Or tests say so. */
static bool has_few_registers(const struct vk_limits *limits, bool is_cpu)
{
    return limits->matrix_columns || (!is_cpu && limits->lane_registers <= FEW_LANE_REGISTERS);
}

static uint64_t sum_columns(enum spirv_kernel which, const struct problem *problem)
{
    const uint64_t head = problem->head_dim, value = problem->value_dim;
    return which == SPIRV_FORWARD ? value : which == SPIRV_QUERY_GRADIENT ? head : max_u64(head, value);
}

/* Floats of a subgroup. On narrow ones what is found of segment ids beside gradients takes half of it. */
static uint64_t room_of_sums(enum spirv_kernel which, const struct vk_limits *limits, const struct problem *problem)
{
    const bool half = which != SPIRV_FORWARD && limits->min_subgroup_size < WIDE_SUBGROUP && problem->segment_ids;
    return (uint64_t)limits->lane_registers / SHARE_OF_SUMS * limits->min_subgroup_size / (half ? 2 : 1);
}

/* Subgroups of so many that own rows together which can look at pairs of a part of the rows each, so that few lanes share a row. */
static uint32_t fitting_row_parts(const struct vk_limits *limits, uint64_t rows, uint32_t column_parts)
{
    uint32_t parts = column_parts;
    while (parts > 1 && rows * MOST_LANES_OF_PART < (uint64_t)limits->min_subgroup_size * parts)
        parts /= 2;
    return parts;
}

/* That share a row: narrow rows would leave a lane many quads of a step. */
static uint64_t least_lanes(enum spirv_kernel which, const struct vk_limits *limits, bool costly)
{
    if (costly)
        return LEAST_LANES_OF_PART;
    if (which != SPIRV_QUERY_GRADIENT && which != SPIRV_KEY_GRADIENT)
        return 1;
    return limits->min_subgroup_size < WIDE_SUBGROUP ? LEAST_LANES_OF_PART : LEAST_LANES_OF_PART / 2;
}

/* Subgroups that share the sums of so many rows, so that registers of lanes hold each one's part, and what is asked of scores. */
static uint32_t fitting_column_parts(enum spirv_kernel which, const struct vk_limits *limits, const struct problem *problem, uint64_t rows)
{
    const bool costly = which != SPIRV_BIAS_GRADIENT && problem_has_costly_scores(problem);
    const bool all_look = which == SPIRV_BIAS_GRADIENT || (which == SPIRV_FORWARD && !costly);
    uint32_t parts = 1;
    while (parts < MATRIX_MOST_COLUMN_PARTS &&
           (rows * sum_columns(which, problem) > room_of_sums(which, limits, problem) * parts ||
            limits->min_subgroup_size * parts < rows * least_lanes(which, limits, costly)) &&
           (!all_look || fitting_row_parts(limits, rows, 2 * parts) == 2 * parts))
        parts *= 2;
    return parts;
}

static uint32_t greatest(const struct vkring_matrix_shape *shape)
{
    const uint32_t side = shape->m > shape->n ? shape->m : shape->n;
    return side > shape->k ? side : shape->k;
}

/* Sides are powers of two, and quads. */
static bool is_regular(const struct vkring_matrix_shape *shape)
{
    const uint32_t sides[] = {shape->m, shape->n, shape->k};
    for (int i = 0; i < 3; i++)
        if (sides[i] < 4 || sides[i] > 64 || (sides[i] & (sides[i] - 1)))
            return false;
    return shape->n >= 8 && shape->k >= 8;
}

struct vkring_matrix_shape matrix_tiles_shape(const struct vk_limits *limits)
{
    struct vkring_matrix_shape best = {0};
    for (uint32_t i = 0; i < limits->matrix_shape_count; i++) {
        const struct vkring_matrix_shape *shape = &limits->matrix_shapes[i];
        if (is_regular(shape) && shape->m * shape->n * shape->k > best.m * best.n * best.k)
            best = *shape;
    }
    return best;
}

/* Lanes of a subgroup share its rows, each at least a quad of a step. */
static void share_rows(struct matrix_tiles *tiles, uint32_t rows)
{
    tiles->lanes_per_row = tiles->subgroup_size > rows ? tiles->subgroup_size / rows : 1;
    tiles->rows_per_lane = rows / (tiles->subgroup_size / tiles->lanes_per_row);
}

static uint32_t least_step(const struct matrix_tiles *tiles)
{
    return (uint32_t)max_u64(greatest(&tiles->shape), 4 * tiles->lanes_per_row);
}

static bool fits(enum spirv_kernel which, const struct matrix_tiles *tiles, const struct problem *problem, uint64_t most_bytes)
{
    return matrix_tiles_shared_bytes(which, tiles, problem) <= most_bytes;
}

/* Short steps before fewer subgroups: a step costs barriers, but a subgroup less reads all of the other side more often. */
static bool shrink(enum spirv_kernel which, struct matrix_tiles *tiles, const struct problem *problem, uint64_t most_bytes,
                   uint32_t least_teams)
{
    while (!fits(which, tiles, problem, most_bytes) && tiles->rows_per_step > least_step(tiles))
        tiles->rows_per_step /= 2;
    while (!fits(which, tiles, problem, most_bytes) && tiles->subgroups > least_teams * tiles->column_parts)
        tiles->subgroups /= 2;
    return fits(which, tiles, problem, most_bytes);
}

static bool shrink_to_room(enum spirv_kernel which, const struct vk_limits *limits, const struct problem *problem,
                           struct matrix_tiles *tiles)
{
    const uint32_t team_rows = matrix_tiles_rows(tiles) * tiles->column_parts / tiles->subgroups;
    const struct matrix_tiles large = *tiles;
    if (!tiles->operations && shrink(which, tiles, problem, min_u64(limits->shared_memory_bytes, PORTABLE_SHARED_BYTES), 2))
        return true;
    *tiles = large;
    /* at last shorter steps, of which fewer lanes have a quad */
    while (!shrink(which, tiles, problem, limits->shared_memory_bytes, 1)) {
        if (!tiles->parts_apart || tiles->row_parts == 1 || least_step(tiles) <= greatest(&tiles->shape))
            return false;
        tiles->row_parts /= 2;
        share_rows(tiles, team_rows / tiles->row_parts);
    }
    return true;
}

/* What is asked for, or else the default; past the greatest, that. */
static uint32_t wished(uint32_t value, uint32_t most, uint32_t otherwise)
{
    return value ? (uint32_t)min_u64(value, most) : otherwise;
}

/* A sum becomes a factor as it is. Dropout looks at quads of keys; gradients have scores that are their dot products times a number. */
static bool has_operations(enum spirv_kernel which, const struct vk_limits *limits, const struct vkring_matrix_shape *shape,
                           const struct problem *problem)
{
    const bool plain = problem->softcap == 0 && !problem->alibi && !problem->bias.present && !problem->segment_ids;
    const struct vkring_matrix_shape *bfloat16 = &limits->bfloat16_shape;
    const bool has_elements =
        problem->type != VKRING_TYPE_BF16 || (shape->m == bfloat16->m && shape->n == bfloat16->n && shape->k == bfloat16->k);
    return limits->matrix_operations && has_elements && shape->n == shape->k && problem->dropout == 0 &&
           (plain || which == SPIRV_FORWARD) && spirv_matrix_kernel_by_operations(which, problem->type).code;
}

/* By operations, with rows on their way ahead, as measured on an NVIDIA H200: more subgroups share what is staged. */
static bool has_large_steps(const struct matrix_tiles *tiles)
{
    return tiles->operations && tiles->loads_ahead;
}

static uint32_t most_columns(enum spirv_kernel which, bool operations)
{
    if (which == SPIRV_BIAS_GRADIENT)
        return MOST_COLUMNS_OF_BIAS;
    return operations && which != SPIRV_FORWARD ? MOST_COLUMNS_OF_GRADIENTS : MOST_COLUMNS_IN_REGISTERS;
}

/* Rows of bf16 that become f16 are looked at as a whole first; gradients of a bias go from head to head. */
static bool can_load_ahead(enum spirv_kernel which, bool operations, const struct problem *problem)
{
    return which != SPIRV_BIAS_GRADIENT && (operations || problem->type != VKRING_TYPE_BF16);
}

/* Rows of bf16 likewise; gradients need other rows both ways. Octets that were loaded ahead are of one row. */
static bool can_turn_values(enum spirv_kernel which, bool operations, bool loads_ahead, const struct problem *problem)
{
    return which == SPIRV_FORWARD && problem->type == VKRING_TYPE_F16 && !operations && !loads_ahead;
}

/* Where registers are few lanes look at one quad of pairs of a row at a time, if much is asked of its score. */
static uint32_t usual_step(enum spirv_kernel which, const struct matrix_tiles *tiles, bool is_cpu, const struct problem *problem)
{
    if (is_cpu)
        return 2 * least_step(tiles);
    if (has_large_steps(tiles))
        return which == SPIRV_FORWARD || problem->head_dim + problem->value_dim <= NARROW_COLUMNS ? 64 : 32;
    return tiles->parts_apart && which != SPIRV_FORWARD && problem_has_costly_scores(problem) ? least_step(tiles) : 32;
}

static struct matrix_tiles tiles_of(enum spirv_kernel which, const struct vk_limits *limits, bool is_cpu, const struct matrix_wish *wish,
                                    const struct problem *problem, uint32_t row_tiles, bool least)
{
    const struct vkring_matrix_shape shape = matrix_tiles_shape(limits);
    const bool operations = wish->operations && has_operations(which, limits, &shape, problem);
    const bool loads_ahead = wish->loads_ahead && can_load_ahead(which, operations, problem);
    const uint32_t columns = limits->matrix_columns ? limits->matrix_columns : most_columns(which, operations);
    const bool few = has_few_registers(limits, is_cpu);
    struct matrix_tiles tiles = {
        .shape = shape,
        .operations = operations,
        .loads_ahead = loads_ahead,
        .turns_values = wish->turns_values && can_turn_values(which, operations, loads_ahead, problem),
        .subgroup_size = limits->min_subgroup_size,
        .separate_sums = which == SPIRV_KEY_GRADIENT && (few || row_tiles * (problem->head_dim + problem->value_dim) > columns),
        .parts_apart = few,
        .few_registers = wish->column_parts > 1 || few || row_tiles * columns_of(which, problem) > columns,
    };
    const uint32_t least_rows = !owns_keys(which) ? tiles.shape.m : least ? (uint32_t)max_u64(shape.m, shape.n) : greatest(&shape);
    const uint32_t rows = (uint32_t)max_u64(least_rows, (uint64_t)row_tiles * tiles.shape.m);
    const uint32_t parts = few && !is_cpu ? fitting_column_parts(which, limits, problem, rows) : 1;
    tiles.column_parts = tiles.operations ? 1 : wished(wish->column_parts, MATRIX_MOST_COLUMN_PARTS, parts);
    tiles.subgroups = wished(wish->subgroups, MATRIX_MOST_SUBGROUPS, (has_large_steps(&tiles) ? 8 : 4) * tiles.column_parts);
    tiles.column_parts = (uint32_t)min_u64(tiles.column_parts, tiles.subgroups);
    tiles.row_parts = fitting_row_parts(limits, rows, tiles.column_parts);
    if (which == SPIRV_BIAS_GRADIENT)
        tiles.column_parts = tiles.row_parts;
    share_rows(&tiles, rows / tiles.row_parts);
    tiles.rows_per_step = wished(wish->rows_per_step, MATRIX_MOST_ROWS_PER_STEP, usual_step(which, &tiles, is_cpu, problem));
    tiles.rows_per_step = (uint32_t)max_u64(tiles.rows_per_step, least_step(&tiles));
    while (tiles.subgroups > tiles.column_parts && matrix_tiles_workgroup_size(&tiles) > limits->max_workgroup_invocations)
        tiles.subgroups /= 2;
    return tiles;
}

struct matrix_tiles matrix_tiles_choose(enum spirv_kernel which, const struct vk_limits *limits, bool is_cpu,
                                        const struct matrix_wish *wish, const struct problem *problem)
{
    const bool needed = which != SPIRV_BIAS_GRADIENT || (problem->backward && problem->bias.present);
    if (!needed || !spirv_matrix_kernel(which, problem->type).code || !matrix_tiles_shape(limits).m)
        return (struct matrix_tiles){0};
    for (uint32_t row_tiles = wished(wish->row_tiles, MATRIX_MOST_ROW_TILES, 1); row_tiles > 0; row_tiles /= 2) {
        /* fewer keys, if a smaller matrix allows it, where sums of more do not fit */
        for (int least = 0; least < 2; least++) {
            struct matrix_tiles tiles = tiles_of(which, limits, is_cpu, wish, problem, row_tiles, least);
            const bool fit = is_cpu || !tiles.parts_apart || matrix_tiles_fit_registers(which, limits, &tiles, problem);
            if (shrink_to_room(which, limits, problem, &tiles) && (fit || least))
                return tiles;
        }
    }
    return (struct matrix_tiles){0};
}

bool matrix_tiles_fit_registers(enum spirv_kernel which, const struct vk_limits *limits, const struct matrix_tiles *tiles,
                                const struct problem *problem)
{
    const uint64_t columns = padded(sum_columns(which, problem), tiles);
    return matrix_tiles_rows(tiles) * columns <= room_of_sums(which, limits, problem) * tiles->subgroups;
}

bool matrix_tiles_equal(const struct matrix_tiles *a, const struct matrix_tiles *b)
{
    return a->shape.m == b->shape.m && a->shape.n == b->shape.n && a->shape.k == b->shape.k && a->subgroup_size == b->subgroup_size &&
           a->subgroups == b->subgroups && a->lanes_per_row == b->lanes_per_row && a->rows_per_lane == b->rows_per_lane &&
           a->rows_per_step == b->rows_per_step && a->column_parts == b->column_parts && a->row_parts == b->row_parts &&
           a->separate_sums == b->separate_sums && a->few_registers == b->few_registers && a->parts_apart == b->parts_apart &&
           a->operations == b->operations && a->loads_ahead == b->loads_ahead && a->turns_values == b->turns_values;
}

uint32_t matrix_tiles_row_tiles(const struct matrix_tiles *tiles)
{
    return tiles->shape.m ? matrix_tiles_rows(tiles) * tiles->column_parts / tiles->subgroups / tiles->shape.m : 0;
}
