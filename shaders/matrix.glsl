/* SPDX-License-Identifier: MIT */
/*
 * Products of matrices of f16, summed in f32, by the subgroups of a workgroup (VK_KHR_cooperative_matrix).
 *
 * A team of COLUMN_PARTS subgroups owns TEAM_ROWS rows, and each of it a part of the columns of their sums. ROW_PARTS of them look at pairs, each at those of a part of the rows: lanes of all others only multiply. All of them walk together: WALK_STEP rows of the other side's two tensors are staged in shared memory for all
 * subgroups: see matrix_stage.glsl. What lanes do with each pair goes through shared memory that only the team of the pair's row touches: `products`, written by products of matrices and read by lanes, and
 * what they make of them: see matrix_factors.glsl. Or it is done in matrices, with MATRIX_OPERATIONS (VK_NV_cooperative_matrix2).
 *
 * Barriers of the workgroup are around what changes `staged`; those of the team, between matrices and lanes.
 */

#include "matrix_units.glsl"

const uint TEAM_ROWS = SUBGROUP_ROWS * ROW_PARTS;
const uint ROW_TILES = TEAM_ROWS / MATRIX_M;
const uint DIM_UNIT = MATRIX_N * COLUMN_PARTS > MATRIX_K ? MATRIX_N * COLUMN_PARTS : MATRIX_K;
const uint PADDED_HEAD = (HEAD_DIM + DIM_UNIT - 1) / DIM_UNIT * DIM_UNIT;
const uint PADDED_VALUE = (VALUE_DIM + DIM_UNIT - 1) / DIM_UNIT * DIM_UNIT;
const uint STEP_QUADS = WALK_STEP / 4;
const uint LANE_STEPS = STEP_QUADS / LANES_PER_ROW; /* quads of a step and a row that a lane looks at */
const uint LANE_QUADS = ROWS_PER_LANE * LANE_STEPS;  /* and of all its rows */

/*
 * What matrices of f16 are loaded from is an array of octets, eight elements in 16 bytes: compilers then know that they may load as much at a time.
 * Strides of it in octets; one more than what rows hold keeps them on different banks.
 */
const uint HEAD_STRIDE = PADDED_HEAD / 8 + 1;
const uint VALUE_STRIDE = PADDED_VALUE / 8 + 1;

/* How many columns lanes are shown at a time: a step, or with operations on matrices one matrix, when all is done. */
#ifdef MATRIX_OPERATIONS
const uint SHOWN_COLUMNS = MATRIX_N;
#else
const uint SHOWN_COLUMNS = WALK_STEP;
#endif
const uint LANE_SHOWN = SHOWN_COLUMNS / 4 / LANES_PER_ROW;
const uint PRODUCT_STRIDE = SHOWN_COLUMNS / 4 + 1; /* in quads */

/* Where the tensor of head_dim is staged, that of value_dim, and with FEW_REGISTERS own rows of both. */
const uint STAGED_HEAD = 0;
const uint STAGED_VALUE = WALK_STEP * HEAD_STRIDE;
#ifdef MAY_TURN_VALUES
const uint TURNED_STRIDE = WALK_STEP / 8 + 1; /* of a column, turned, in octets */
const uint STAGED_OWN_HEAD = STAGED_VALUE + (TURNS_VALUES ? PADDED_VALUE * TURNED_STRIDE : WALK_STEP * VALUE_STRIDE);
#else
const uint STAGED_OWN_HEAD = STAGED_VALUE + WALK_STEP * VALUE_STRIDE;
#endif
const uint STAGED_OWN_VALUE = STAGED_OWN_HEAD + TILE_ROWS * HEAD_STRIDE;

/* Of factors that are scaled by powers of two. */
const float LARGEST_FACTOR = 32768.0;
const float FACTOR_EXPONENT = 9.0; /* of the largest of a step that sets a scale: later ones may be larger */
const float FIRST_SCALE = 8.507059173023462e37; /* 2^126: only what f16 could not hold changes it */

shared uvec4 staged[STAGED_OWN_HEAD + (FEW_REGISTERS ? OWN_STAGED : 0)];
shared vec4 products[TILE_ROWS * PRODUCT_STRIDE];
shared float row_factors[TILE_ROWS];
shared bool told_by[COLUMN_PARTS > 1 ? SUBGROUPS : 1];

/* Row slot r of a lane: what it is at for a quad of the other side. */
float head_dot[ROWS_PER_LANE * STEP];
float value_dot[ROWS_PER_LANE * STEP];

/* Those that an element of matrices holds, but for the range of f16. Cut by integers, since compilers take rounding to f16 and back for nothing. */
#ifdef MATRICES_OF_BFLOAT16
const uint LEADING_BITS = 0xffff0000u;
const bool ELEMENTS_ARE_SHORT = true; /* eight bits of a weight are too few */
#else
const uint LEADING_BITS = 0xffffe000u;
const bool ELEMENTS_ARE_SHORT = false;
#endif

vec4 leading_bits(vec4 a)
{
    return uintBitsToFloat(floatBitsToUint(a) & LEADING_BITS);
}

/* The subgroup, among the workgroup's. */
uint subgroup()
{
    return gl_SubgroupID + unknown_zero();
}

/* The first of the team's rows. */
uint team_row()
{
    return subgroup() / COLUMN_PARTS * TEAM_ROWS;
}

/* Which part of columns is the subgroup's. */
uint column_part()
{
    return subgroup() % COLUMN_PARTS;
}

void meet_team()
{
    if (COLUMN_PARTS > 1)
        barrier();
    else
        meet_subgroup();
}

/* The same, and whether it is so on any lane of the team. */
bool meet_and_ask(bool is_so)
{
    bool any = subgroupAny(is_so);
    if (COLUMN_PARTS > 1 && subgroupElect())
        told_by[gl_SubgroupID] = any;
    meet_team();
    [[unroll]] for (uint i = 1; i < COLUMN_PARTS; i++)
        any = any || told_by[gl_SubgroupID ^ i];
    return any;
}

/* How many of `left` rows from the beginning of a step on are left from its quad on. */
uint left_from(uint quad, uint left)
{
    return left - min(4 * quad, left);
}

/* The product of row slot r with a quad of the step. */
vec4 product_of(uint r, uint quad)
{
    return products[row_of(r) * PRODUCT_STRIDE + quad];
}
