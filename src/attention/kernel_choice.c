/* SPDX-License-Identifier: MIT */
#include "kernel_choice.h"

#include <stdlib.h>
#include <string.h>

#include "../base/checked.h"

/* With fewer, lanes spend more on adding up what they share than on products. */
#define GPU_LEAST_QUADS_PER_LANE 2u
#define GPU_WORKGROUP_SIZE 128u
#define GPU_MANY_REGISTERS 256u
/* Of forward: 2.4 times as fast as 2 on an H200, f32 with head_dim 128; with twice the lanes to a row 1.09 times as fast again. */
#define NVIDIA_ROWS_PER_LANE 4u
/* Of a narrow tile: keys are read from memory, and several on their way at a time hide how long that takes. */
#define GPU_NARROW_KEYS_PER_STEP 4u
#define GPU_NARROW_ROWS_PER_LANE 8u
/* Of a vector, and of one that is not full: reading keys then takes longer than computing with them, and fewer at a time come a third
 * faster. */
#define CPU_KEYS_PER_STEP 8u
#define CPU_NARROW_KEYS_PER_STEP 4u
/* Most rows that lanes share, and most lanes: of 16 each 64-bit integer takes two vectors. */
#define CPU_SHARED_ROWS 4u
#define CPU_SHARING_LANES 8u
#define CPU_WIDE_DIM 96u
/* Most key heads whose rows they have, and quads of keys that a lane meets at a step. */
#define CPU_KEY_HEADS 4u
#define CPU_QUADS_PER_STEP 16u
/* Copying takes about as long as 100 rows do; what it saves is a sixth to a third. */
#define CPU_ROWS_WORTH_COPY 1024u

/* Gathers and scatters: 23 to 65 pairs were measured in forward (head_dim 16 to 256), 10 to 66 in backward. */
#define LLVMPIPE_ROW_PAIRS 32
/* Row by row and element by element: 1.4 to 1.6 ns were measured where attention goes through 60 GFLOP/s. */
#define LLVMPIPE_ACCESS_FLOP 64

/* Of rows that lanes have whole, on drivers whose compilers take up to minutes for more. */
#define BROADCAST_QUADS 64u
/* How much work is worth a minute or less of compiling: two keys a step and lanes with whole rows, and more rows to a lane. */
#define BROADCAST_FLOP 1e10
#define BROADCAST_MORE_FLOP 5e10
/* Sums are loaded, masked and stored once a step: of two keys a sixth to a half more work is done in the same time, of more no more. */
#define LONG_KEYS_PER_STEP 2u

static bool is_cpu(const vkring_device *device)
{
    return device->info.kind == VKRING_DEVICE_CPU;
}

/* Their own driver, not Mesa's. */
static bool is_nvidias(const vkring_device *device)
{
    return strncmp(device->info.driver, "NVIDIA ", strlen("NVIDIA ")) == 0;
}

/* llvmpipe reads an address that is the same in all lanes once since Mesa 26; before, and elsewhere as far as known, once for each lane. */
static bool loads_uniform_addresses_once(const vkring_device *device)
{
    const char *mesa = strstr(device->info.driver, "Mesa ");
    return strstr(device->info.driver, "llvmpipe") && mesa && strtoul(mesa + strlen("Mesa "), NULL, 10) >= 26;
}

static bool has_short_elements(const struct problem *problem)
{
    return problem->type != VKRING_TYPE_F32 || problem->int8_keys;
}

/*
 * Key heads whose rows lanes have beside each other: as many as divide those there are, and fit registers with the rows of each. Integers
 * of 8 bits with their scales took up to 1.6 times as long so.
 */
static uint32_t key_heads_beside(const struct problem *problem, uint64_t rows, uint32_t lanes)
{
    const uint32_t most = rows <= CPU_SHARED_ROWS / 2 ? CPU_KEY_HEADS : problem->type != VKRING_TYPE_F32 ? CPU_KEY_HEADS / 2 : 1;
    uint32_t heads = problem_has_bias_of_heads(problem) || problem->int8_keys ? 1 : (uint32_t)min_u64(most, lanes / 2);
    while (problem->kv_heads % heads != 0)
        heads /= 2;
    return heads;
}

/* Of as many quads as a lane has of a row; short ones come by one load, not two. */
static uint32_t cpu_keys_per_step(const struct problem *problem, uint64_t lane_quads)
{
    const uint64_t quads = has_short_elements(problem) ? 2 * CPU_QUADS_PER_STEP : CPU_QUADS_PER_STEP;
    uint32_t keys = CPU_KEYS_PER_STEP;
    while (keys > 1 && keys * lane_quads > quads)
        keys /= 2;
    return keys;
}

/*
 * Fewer rows than lanes: lanes share them, and what of a key is loaded once goes to those that share. Wide rows are then in registers,
 * where one lane would not hold them; of narrow ones with elements of 32 bits, more than two, lanes that compute the same cost less than
 * taking loads apart. Rows of several key heads at a time, since the keys of heads as a rule lie side by side, and what softmax takes is
 * then for all of them. Measured on llvmpipe with vectors of 8 lanes: a quarter to three quarters of the time.
 */
static void share_rows(const vkring_device *device, const struct problem *problem, struct kernel_choice *choice)
{
    const uint64_t rows = kernel_choice_group(problem) * problem->q_len;
    const uint64_t dim = max_u64(problem->head_dim, problem->value_dim);
    const uint32_t lanes = device->limits.subgroup_size;
    const bool can_share = !problem->backward && device->limits.integers_64bit && device->limits.subgroup_shuffle &&
                           lanes >= CPU_SHARED_ROWS && lanes <= CPU_SHARING_LANES;
    if (!can_share || rows > (dim >= CPU_WIDE_DIM || has_short_elements(problem) ? CPU_SHARED_ROWS : CPU_SHARED_ROWS / 2))
        return;
    const uint32_t key_heads = key_heads_beside(problem, rows, lanes);
    const bool by_halves = rows > 2 && dim < CPU_WIDE_DIM && key_heads == 1;
    choice->uniform_loads = choice->shuffle = true;
    choice->lanes_per_row = by_halves ? lanes / 2 : lanes / key_heads;
    choice->rows_per_lane = by_halves || rows == 2 ? 2 : rows == 1 ? 1 : CPU_SHARED_ROWS;
    choice->keys_per_step = cpu_keys_per_step(problem, divide_up(divide_up(dim, 4), choice->lanes_per_row));
    choice->keys_per_step_general = choice->keys_per_step;
}

/* Where most rows meet most keys, and a head's keys don't follow each other as they are. Of 16-bit elements little is gained. */
static uint32_t rows_worth_copy(const struct problem *problem)
{
    const bool meets_most = !problem->segment_ids && problem->window_left < 0 && problem->window_right < 0;
    return problem->type == VKRING_TYPE_F32 && problem->kv_heads > 1 && meets_most ? CPU_ROWS_WORTH_COPY : 0;
}

/* A workgroup is one vector: a lane is a row, and keys come from one address for all lanes. */
static struct kernel_choice choose_for_cpu(const vkring_device *device, const struct problem *problem)
{
    const bool narrow = !problem->backward && kernel_choice_group(problem) * problem->q_len <= device->limits.subgroup_size;
    struct kernel_choice choice = {
        .workgroup_size = device->limits.subgroup_size,
        .lanes_per_row = 1,
        .rows_per_lane = 1,
        .keys_per_step = narrow ? CPU_NARROW_KEYS_PER_STEP : CPU_KEYS_PER_STEP,
        .keys_per_step_general = 2,
        /* of one key head at a time, query_sum takes all query heads */
        .keeps_score_grads = problem->heads / problem->kv_heads <= device->limits.max_workgroup_count[1],
        .copy_worth_rows = rows_worth_copy(problem),
        .row_pairs = LLVMPIPE_ROW_PAIRS,
        .access_flop = LLVMPIPE_ACCESS_FLOP,
    };
    share_rows(device, problem, &choice);
    return choice;
}

static double forward_flop(const struct problem *problem)
{
    return 4.0 * (double)problem->batch * (double)problem->heads * (double)problem->q_len * (double)problem->kv_len *
           (double)problem->head_dim;
}

/*
 * All lanes share a row, so that each element of a key is read once for all rows. Few quads a lane keep the code short: these compilers
 * take minutes over what unrolls to thousands of loads.
 */
static struct kernel_choice choose_for_cpu_with_gathers(const vkring_device *device, const struct problem *problem)
{
    const uint32_t lanes = device->limits.subgroup_size;
    const uint32_t lane_quads = (uint32_t)divide_up(divide_up(max_u64(problem->head_dim, problem->value_dim), 4), lanes);
    const struct kernel_choice choice = {
        .shuffle = true,
        .workgroup_size = lanes,
        .lanes_per_row = lanes,
        .rows_per_lane = (uint32_t)max_u64(min_u64(8, 32 / lane_quads), 1),
        .keys_per_step = forward_flop(problem) >= BROADCAST_FLOP ? LONG_KEYS_PER_STEP : 1,
        .keys_per_step_general = 1,
    };
    return choice;
}

/* Of the rows of a lane. */
static uint32_t quads_worth_compiling(const struct problem *problem)
{
    if (problem->backward)
        return BROADCAST_QUADS / 2;
    return forward_flop(problem) >= BROADCAST_MORE_FLOP ? BROADCAST_QUADS * 2 : BROADCAST_QUADS;
}

/*
 * A lane has whole rows, and each lane reads a part of a key for all: 2 to 3 times as fast as all lanes sharing a row, as far as several
 * rows go to a lane, for which compilers take longer. No gain beyond those dimensions.
 */
static struct kernel_choice choose_for_cpu_by_broadcast(const vkring_device *device, const struct problem *problem)
{
    struct kernel_choice choice = choose_for_cpu_with_gathers(device, problem);
    const uint64_t quads = divide_up(max_u64(problem->head_dim, problem->value_dim), 4);
    choice.lanes_per_row = 1;
    choice.broadcast = true;
    choice.rows_per_lane = quads_worth_compiling(problem) / quads >= 4 ? 4 : 2;
    choice.keeps_score_grads = problem->heads / problem->kv_heads <= device->limits.max_workgroup_count[1];
    return choice;
}

/* Where what is computed takes longer than compiling for it. */
static bool pays_broadcast(const vkring_device *device, const struct problem *problem)
{
    const uint64_t quads = divide_up(max_u64(problem->head_dim, problem->value_dim), 4);
    return is_cpu(device) && !loads_uniform_addresses_once(device) && device->limits.subgroup_shuffle &&
           problem_alignment(problem) != ALIGNED_ELEMENTS && quads <= BROADCAST_QUADS / 2 && forward_flop(problem) >= BROADCAST_FLOP;
}

/* Registers that a lane fills with own rows and sums in the kernel that has most of them: forward, or that of key gradients. */
static uint64_t state_registers(const struct kernel_choice *choice, const struct problem *problem)
{
    const uint64_t head = divide_up(divide_up(problem->head_dim, 4), choice->lanes_per_row);
    const uint64_t value = divide_up(divide_up(problem->value_dim, 4), choice->lanes_per_row);
    const uint64_t sums = problem->backward ? head + value : value;
    const uint64_t own = problem->backward ? head + value : head;
    return 4 * choice->rows_per_lane * (sums + (choice->few_registers ? 0 : own));
}

/* Each key of a step has registers of its own. */
static uint32_t gpu_keys_per_step(const struct vk_limits *limits, const struct problem *problem, bool state_fits)
{
    if (limits->lane_registers >= GPU_MANY_REGISTERS)
        return 4;
    return state_fits && !problem_has_costly_scores(problem) ? 2 : 1;
}

/*
 * The state of rows gets a quarter of the registers, which is what compilers of GPUs manage without spilling: two rows a lane, so that each
 * key is read once for both, if they fit; else one; else what can be read again is not kept. Where even sums don't fit beside scores that
 * take many, those of keys and of values take turns.
 */
static struct kernel_choice choose_for_gpu(const vkring_device *device, const struct problem *problem)
{
    const struct vk_limits *limits = &device->limits;
    const uint64_t quads = divide_up(max_u64(problem->head_dim, problem->value_dim), 4), room = limits->lane_registers / 4;
    struct kernel_choice choice = {
        .shuffle = true,
        .subgroup_size = limits->subgroup_size_control ? limits->min_subgroup_size : 0,
        .workgroup_size = (uint32_t)max_u64(min_u64(GPU_WORKGROUP_SIZE, limits->max_workgroup_invocations), limits->subgroup_size),
        .lanes_per_row = 1,
        .rows_per_lane = 2,
        .keys_per_step_general = 1,
    };
    while (state_registers(&choice, problem) > room && divide_up(quads, choice.lanes_per_row) > GPU_LEAST_QUADS_PER_LANE &&
           choice.lanes_per_row < limits->min_subgroup_size)
        choice.lanes_per_row *= 2;
    if (state_registers(&choice, problem) > room)
        choice.rows_per_lane = 1;
    choice.few_registers = state_registers(&choice, problem) > room;
    if (is_nvidias(device) && choice.rows_per_lane == 2 && !problem->backward && !problem_has_costly_scores(problem)) {
        choice.rows_per_lane = NVIDIA_ROWS_PER_LANE;
        if (divide_up(quads, choice.lanes_per_row) >= 2 * GPU_LEAST_QUADS_PER_LANE)
            choice.lanes_per_row *= 2;
    }
    choice.keys_per_step = gpu_keys_per_step(limits, problem, state_registers(&choice, problem) <= room);
    choice.separate_sums = problem->backward && limits->lane_registers < GPU_MANY_REGISTERS && problem_has_costly_scores(problem) &&
                           state_registers(&choice, problem) > room;
    return choice;
}

/* A subgroup to a tile, and a row over as many lanes as it has quads; one row a lane, and a key at a time, where registers are few. */
static void narrow_for_gpu(const struct vk_limits *limits, const struct problem *problem, struct kernel_choice *choice)
{
    const uint64_t quads = divide_up(max_u64(problem->head_dim, problem->value_dim), 4);
    choice->workgroup_size = choice->subgroup_size ? choice->subgroup_size : limits->subgroup_size;
    const bool many = limits->lane_registers >= GPU_MANY_REGISTERS;
    choice->rows_per_lane = many ? GPU_NARROW_ROWS_PER_LANE : 1;
    choice->keys_per_step = many ? GPU_NARROW_KEYS_PER_STEP : 1;
    while (2 * choice->lanes_per_row <= min_u64(quads, limits->min_subgroup_size))
        choice->lanes_per_row *= 2;
}

/* Lanes that would own rows which are not there share those that are. Not with backward, where lanes also own keys. */
static void narrow(const vkring_device *device, const struct problem *problem, struct kernel_choice *choice)
{
    const uint64_t rows = kernel_choice_group(problem) * problem->q_len;
    const uint64_t room = is_cpu(device) ? UINT64_MAX : device->limits.lane_registers / 4;
    if (problem->backward || rows >= kernel_choice_tile_rows(choice))
        return;
    if (!is_cpu(device))
        narrow_for_gpu(&device->limits, problem, choice);
    choice->few_registers = false;
    while (choice->rows_per_lane > 1 && (kernel_choice_tile_rows(choice) / 2 >= rows || state_registers(choice, problem) > room))
        choice->rows_per_lane /= 2;
    choice->few_registers = state_registers(choice, problem) > room;
}

struct kernel_choice kernel_choice_portable(const vkring_device *device)
{
    const struct kernel_choice choice = {
        .workgroup_size = (uint32_t)min_u64(64, device->limits.max_workgroup_invocations),
        .lanes_per_row = 1,
        .rows_per_lane = 1,
        .keys_per_step = 2,
        .keys_per_step_general = 1,
    };
    return choice;
}

uint64_t kernel_choice_group(const struct problem *problem)
{
    return problem_has_bias_of_heads(problem) ? 1 : problem->heads / problem->kv_heads;
}

uint32_t kernel_choice_packed_heads(const struct kernel_choice *choice)
{
    return choice->packed_heads ? choice->packed_heads : 1;
}

uint32_t kernel_choice_key_heads(const struct kernel_choice *choice)
{
    return choice->key_heads ? choice->key_heads : 1;
}

static struct kernel_choice choose_scalar(const vkring_device *device, const struct problem *problem)
{
    if (is_cpu(device) && loads_uniform_addresses_once(device))
        return choose_for_cpu(device, problem);
    if (!device->limits.subgroup_shuffle)
        return kernel_choice_portable(device);
    struct kernel_choice choice = is_cpu(device) ? choose_for_cpu_with_gathers(device, problem) : choose_for_gpu(device, problem);
    narrow(device, problem, &choice);
    return choice;
}

const struct matrix_tiles *kernel_choice_matrices(const struct kernel_choice *choice, enum spirv_kernel which)
{
    return choice->matrix && choice->matrices[which].shape.m ? &choice->matrices[which] : NULL;
}

/* All kernels that find scores, or none: backward needs the bits that forward had. */
static void find_matrices(const vkring_device *device, const struct problem *problem, struct kernel_choice *choice)
{
    struct matrix_tiles tiles[SPIRV_KERNELS] = {0};
    for (enum spirv_kernel which = 0; which < SPIRV_KERNELS && device->limits.subgroup_shuffle; which++)
        tiles[which] = matrix_tiles_choose(which, &device->limits, is_cpu(device), &choice->matrix_wish, problem);
    if (problem->backward && !(tiles[SPIRV_QUERY_GRADIENT].shape.m && tiles[SPIRV_KEY_GRADIENT].shape.m))
        memset(tiles, 0, sizeof(tiles));
    memcpy(choice->matrices, tiles, sizeof(tiles));
}

/* Those on matrix units keep no gradients of scores. */
void kernel_choice_settle(const vkring_device *device, const struct problem *problem, struct kernel_choice *choice)
{
    choice->shuffle = choice->lanes_per_row > 1 || choice->broadcast;
    find_matrices(device, problem, choice);
    if (kernel_choice_matrices(choice, SPIRV_KEY_GRADIENT))
        choice->keeps_score_grads = false;
}

bool kernel_choice_suits_matrices(const vkring_device *device)
{
    return !is_cpu(device) && device->limits.lane_registers >= GPU_MANY_REGISTERS;
}

/* Whether kernels on matrix units spill nothing on a GPU whose lanes have few registers, as the driver farm sees it: gradients take most,
 * and scores of which much is asked. */
static bool hold_in_few_registers(const vkring_device *device, const struct problem *problem, const struct kernel_choice *choice)
{
    const struct vk_limits *limits = &device->limits;
    if (is_cpu(device) || (problem_has_costly_scores(problem) &&
                           !matrix_tiles_fit_registers(SPIRV_FORWARD, limits, &choice->matrices[SPIRV_FORWARD], problem)))
        return false;
    return !problem->backward ||
           (matrix_tiles_fit_registers(SPIRV_QUERY_GRADIENT, limits, &choice->matrices[SPIRV_QUERY_GRADIENT], problem) &&
            matrix_tiles_fit_registers(SPIRV_KEY_GRADIENT, limits, &choice->matrices[SPIRV_KEY_GRADIENT], problem));
}

/*
 * By operations on matrices where they were measured to gain: with NVIDIA's driver. CPUs lose, and RADV has them only for those who ask.
 * RADV and ANV load what lies down a column of a matrix element by element, where NVIDIA's GPUs have an instruction for it.
 */
static struct matrix_wish usual_wish(const vkring_device *device)
{
    const bool operations = device->limits.matrix_operations && is_nvidias(device);
    return (struct matrix_wish){
        .operations = operations,
        .loads_ahead = operations,
        .turns_values = !is_cpu(device) && device->info.vendor_id != VK_VENDOR_NVIDIA,
    };
}

/* Of few query rows scalar kernels split the keys. */
enum kernel_family kernel_choice_best_family(const vkring_device *device, const struct problem *problem)
{
    struct kernel_choice choice = {.matrix_wish = usual_wish(device)};
    find_matrices(device, problem, &choice);
    const struct matrix_tiles *forward = &choice.matrices[SPIRV_FORWARD];
    const bool few = !problem->backward && forward->shape.m && kernel_choice_group(problem) * problem->q_len < matrix_tiles_rows(forward);
    if (forward->shape.m && !few && (kernel_choice_suits_matrices(device) || hold_in_few_registers(device, problem, &choice)))
        return KERNELS_MATRIX;
    return pays_broadcast(device, problem) ? KERNELS_BROADCAST : KERNELS_SCALAR;
}

struct kernel_choice kernel_choice_of_family(const vkring_device *device, const struct problem *problem, enum kernel_family family)
{
    struct kernel_choice choice = family == KERNELS_PORTABLE    ? kernel_choice_portable(device)
                                  : family == KERNELS_BROADCAST ? choose_for_cpu_by_broadcast(device, problem)
                                                                : choose_scalar(device, problem);
    choice.matrix_wish = usual_wish(device);
    find_matrices(device, problem, &choice);
    choice.matrix = family == KERNELS_MATRIX;
    if (choice.matrix && choice.matrices[SPIRV_KEY_GRADIENT].shape.m)
        choice.keeps_score_grads = false;
    return choice;
}

struct kernel_choice kernel_choice_best(const vkring_device *device, const struct problem *problem)
{
    return kernel_choice_of_family(device, problem, kernel_choice_best_family(device, problem));
}

uint32_t kernel_choice_rows_of(const struct kernel_choice *choice, enum spirv_kernel which)
{
    const struct matrix_tiles *matrices = kernel_choice_matrices(choice, which);
    return matrices ? matrix_tiles_rows(matrices) : kernel_choice_tile_rows(choice);
}

static uint32_t step_of(const struct kernel_choice *choice, enum spirv_kernel which)
{
    const struct matrix_tiles *matrices = kernel_choice_matrices(choice, which);
    return matrices ? matrices->rows_per_step : choice->keys_per_step;
}

uint32_t kernel_choice_tile_rows(const struct kernel_choice *choice)
{
    return choice->workgroup_size / choice->lanes_per_row * choice->rows_per_lane / kernel_choice_packed_heads(choice);
}

static double whole_pairs(const struct kernel_choice *choice, const struct problem *problem, const struct mask_block *block,
                          const struct mask_cell *cell, uint64_t own_rows)
{
    const double visited = mask_visited_pairs(problem, block, cell);
    return visited > 0 ? visited + choice->row_pairs * (double)own_rows : 0;
}

double kernel_choice_pairs(const struct kernel_choice *choice, enum spirv_kernel which, const struct problem *problem,
                           const struct mask_block *block)
{
    const struct mask_cell cell = {kernel_choice_rows_of(choice, which), step_of(choice, which)};
    return whole_pairs(choice, problem, block, &cell, block->rows);
}

double kernel_choice_pairs_of_keys(const struct kernel_choice *choice, enum spirv_kernel which, const struct problem *problem,
                                   const struct mask_block *block)
{
    const struct mask_cell cell = {step_of(choice, which), kernel_choice_rows_of(choice, which)};
    return whole_pairs(choice, problem, block, &cell, block->keys);
}

uint64_t kernel_choice_score_rows(const struct kernel_choice *choice, uint64_t rows)
{
    const uint64_t tile = kernel_choice_tile_rows(choice);
    return divide_up(rows + choice->keys_per_step - 1, tile) * tile;
}

uint64_t kernel_enough_workgroups(const vkring_device *device)
{
    return device->info.kind == VKRING_DEVICE_CPU ? 64 : 1024;
}
