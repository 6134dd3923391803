/* SPDX-License-Identifier: MIT */
#include "gemm_tile.h"

#include "../attention/matrix_tiles.h"
#include "../base/checked.h"

/* Scalar ------------------------------------------------------------------------------------------------------------------ */

/* What reading a term of a row costs beside a product, in columns: on llvmpipe lanes gather it one by one. */
#define CPU_TERM_COLUMNS 40u
#define GPU_TERM_COLUMNS 16u /* a guess */

/* Of the widths up to the widest, and not above the columns if any is not, that which takes the least. */
static uint32_t choose_columns(uint32_t widest, uint32_t term_columns, uint64_t columns)
{
    static const uint32_t widths[] = {256, 128, 64, 32, 16, 4};
    uint64_t least = UINT64_MAX;
    uint32_t best = 4;
    for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++) {
        const uint64_t cost = divide_up(columns, widths[i]) * (widths[i] + term_columns);
        if (widths[i] <= widest && widths[i] <= columns && cost < least) {
            least = cost;
            best = widths[i];
        }
    }
    return best;
}

/*
 * On a CPU a tile's sums are spilled to its first cache and read from there as operands. There two rows a lane are better where what
 * columns are read from has to be converted, or lies across. On a GPU sums have to stay in registers.
 */
struct gemm_tile gemm_tile_scalar(const struct vk_limits *limits, bool is_cpu, const struct gemm_kind *kind)
{
    const bool converts = kind->type != VKRING_TYPE_F32 && !kind->right_f32;
    const bool two_rows = converts || kind->right_transposed;
    if (!is_cpu)
        return (struct gemm_tile){.workgroup_size = 64, .rows = 64, .columns = choose_columns(32, GPU_TERM_COLUMNS, kind->columns)};
    return (struct gemm_tile){
        .workgroup_size = limits->subgroup_size,
        .rows = limits->subgroup_size * (two_rows ? 2 : 1),
        .columns = choose_columns(two_rows ? 128 : 256, CPU_TERM_COLUMNS, kind->columns),
    };
}

/* On matrix units --------------------------------------------------------------------------------------------------------- */

/* Of a subgroup: what RADV and NVK have in registers without spilling, beside the quads of the next step. */
#define GPU_SUBGROUP_ROWS 64u
#define GPU_SUBGROUP_COLUMNS 32u
#define GPU_STEP_TERMS 32u
#define GPU_MANY_REGISTERS 256u
/* What ANV has beside them in fewer: quads of a step, of a lane. More lanes hold fewer each. */
#define GPU_FEW_LANE_QUADS 6u
#define GPU_FEW_LANES 256u

/* Nearly every device has them; more leaves fewer workgroups to a processor. */
#define PORTABLE_SHARED_BYTES 32768u

static bool scales_left(const struct gemm_kind *kind)
{
    return kind->type == VKRING_TYPE_BF16 || kind->left_f32;
}

static bool scales_right(const struct gemm_kind *kind)
{
    return kind->type == VKRING_TYPE_BF16 || kind->right_f32;
}

static uint64_t staged_bytes(uint64_t across_terms, uint64_t terms, bool terms_in_line)
{
    return terms_in_line ? across_terms * (2 * terms + 16) : terms * (2 * across_terms + 16);
}

uint64_t gemm_tile_shared_bytes(const struct gemm_tile *tile, const struct gemm_kind *kind)
{
    const struct gemm_matrices *matrices = &tile->matrices;
    const uint64_t shown = matrices->operations ? 0 : 4 * (uint64_t)matrices->subgroups * matrices->shape.m * matrices->shape.n;
    const uint64_t scales = scales_left(kind) || scales_right(kind) ? (uint64_t)tile->rows + tile->columns : 4;
    if (!matrices->shape.m)
        return 0;
    return staged_bytes(tile->rows, matrices->step_terms, !kind->left_transposed) +
           staged_bytes(tile->columns, matrices->step_terms, kind->right_transposed) + shown + 12 * scales + 16;
}

static void settle(struct gemm_tile *tile)
{
    const struct gemm_matrices *matrices = &tile->matrices;
    tile->workgroup_size = matrices->subgroups * matrices->subgroup_size;
    tile->rows = matrices->subgroups / matrices->across * matrices->row_tiles * matrices->shape.m;
    tile->columns = matrices->across * matrices->column_tiles * matrices->shape.n;
}

static uint32_t at_least_one(uint32_t count)
{
    return count ? count : 1;
}

static bool has_few_registers(const struct vk_limits *limits, bool is_cpu)
{
    return !is_cpu && limits->lane_registers < GPU_MANY_REGISTERS;
}

static struct gemm_matrices largest_matrices(const struct vk_limits *limits, struct vkring_matrix_shape shape, bool is_cpu)
{
    const uint32_t least_step = shape.k > 8 ? shape.k : 8;
    const bool few_registers = has_few_registers(limits, is_cpu);
    const uint32_t subgroups = is_cpu ? 4 : few_registers ? at_least_one(GPU_FEW_LANES / limits->min_subgroup_size) : 8;
    return (struct gemm_matrices){
        .shape = shape,
        .subgroup_size = limits->min_subgroup_size,
        .subgroups = subgroups,
        .across = (uint32_t)min_u64(subgroups, is_cpu ? 2 : 4),
        .row_tiles = is_cpu ? 2 : at_least_one(GPU_SUBGROUP_ROWS / shape.m),
        .column_tiles = is_cpu ? 2 : at_least_one(GPU_SUBGROUP_COLUMNS / shape.n),
        .step_terms = is_cpu || least_step > GPU_STEP_TERMS ? least_step : GPU_STEP_TERMS,
        .few_registers = few_registers,
    };
}

/* Half as many subgroups: beside each other if there are so many, else below. */
static void take_subgroups(struct gemm_tile *tile)
{
    tile->matrices.subgroups /= 2;
    if (tile->matrices.across > 1)
        tile->matrices.across /= 2;
    settle(tile);
}

/* Sums get a quarter of the registers. */
static bool holds_sums(const struct gemm_matrices *matrices, const struct vk_limits *limits)
{
    const uint32_t most = limits->lane_registers / 4 * matrices->subgroup_size;
    return matrices->row_tiles * matrices->shape.m * matrices->column_tiles * matrices->shape.n <= most;
}

static bool halve_tiles(struct gemm_matrices *matrices, bool rows_first)
{
    if (matrices->row_tiles > 1 && (rows_first || matrices->column_tiles == 1))
        matrices->row_tiles /= 2;
    else if (matrices->column_tiles > 1)
        matrices->column_tiles /= 2;
    else
        return false;
    return true;
}

/* As many rows as columns, about: the least is read then. */
static void keep_sums_in_registers(struct gemm_tile *tile, const struct vk_limits *limits)
{
    struct gemm_matrices *matrices = &tile->matrices;
    bool halved = true;
    while (halved && !holds_sums(matrices, limits))
        halved = halve_tiles(matrices, matrices->row_tiles * matrices->shape.m >= matrices->column_tiles * matrices->shape.n);
    settle(tile);
}

/* No more columns than a result of few has. */
static void narrow(struct gemm_tile *tile, uint64_t columns)
{
    while (tile->matrices.across > 1 && tile->columns / 2 >= columns)
        take_subgroups(tile);
    while (tile->matrices.column_tiles > 1 && tile->columns / 2 >= columns) {
        tile->matrices.column_tiles /= 2;
        settle(tile);
    }
}

static bool fits(const struct gemm_tile *tile, const struct gemm_kind *kind, const struct vk_limits *limits, uint64_t most_bytes)
{
    return tile->workgroup_size <= limits->max_workgroup_invocations && gemm_tile_shared_bytes(tile, kind) <= most_bytes;
}

static bool halve_step(struct gemm_matrices *matrices)
{
    if (matrices->step_terms <= matrices->shape.k || matrices->step_terms <= 8)
        return false;
    matrices->step_terms /= 2;
    return true;
}

/* Short steps before fewer subgroups before small tiles of each. */
static bool shrink(struct gemm_tile *tile, const struct gemm_kind *kind, const struct vk_limits *limits, uint64_t most_bytes)
{
    struct gemm_matrices *matrices = &tile->matrices;
    while (!fits(tile, kind, limits, most_bytes)) {
        if (tile->workgroup_size <= limits->max_workgroup_invocations && halve_step(matrices))
            continue;
        if (matrices->subgroups > 1)
            take_subgroups(tile);
        else if (!halve_tiles(matrices, true))
            return false;
        settle(tile);
    }
    return true;
}

static uint64_t lane_quads(const struct gemm_tile *tile)
{
    const uint64_t line_quads = tile->matrices.step_terms / 4;
    return divide_up(tile->rows * line_quads, tile->workgroup_size) + divide_up(tile->columns * line_quads, tile->workgroup_size);
}

static void keep_quads_in_registers(struct gemm_tile *tile)
{
    while (lane_quads(tile) > GPU_FEW_LANE_QUADS && (halve_step(&tile->matrices) || halve_tiles(&tile->matrices, true)))
        settle(tile);
}

struct gemm_tile gemm_tile_on_matrices(const struct vk_limits *limits, bool is_cpu, const struct gemm_wish *wish,
                                       const struct gemm_kind *kind)
{
    const struct vkring_matrix_shape shape = matrix_tiles_shape(limits);
    const struct gemm_tile none = {0};
    if (kind->type == VKRING_TYPE_F32 || shape.m < 8)
        return none;
    struct gemm_tile tile = {.matrices = largest_matrices(limits, shape, is_cpu)};
    tile.matrices.operations = wish->operations && limits->matrix_operations;
    settle(&tile);
    if (!is_cpu)
        keep_sums_in_registers(&tile, limits);
    while (wish->subgroups && tile.matrices.subgroups > wish->subgroups)
        take_subgroups(&tile);
    narrow(&tile, kind->columns);
    if (!shrink(&tile, kind, limits, min_u64(limits->shared_memory_bytes, PORTABLE_SHARED_BYTES)))
        return none;
    if (tile.matrices.few_registers)
        keep_quads_in_registers(&tile);
    return tile.matrices.few_registers && !holds_sums(&tile.matrices, limits) ? none : tile;
}
