/* SPDX-License-Identifier: MIT */
/* Specialization constants that all attention kernels have. The host's copy is the array in kernel.c. */

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint HEAD_DIM = 64;
layout(constant_id = 2) const uint VALUE_DIM = 64;
layout(constant_id = 3) const uint LANES_PER_ROW = 1; /* a power of two, at most the subgroup's size; 1 with NO_SHUFFLE */
layout(constant_id = 4) const uint ROWS_PER_LANE = 1;
#ifdef MATRIX
layout(constant_id = 5) const uint WALK_STEP = 32;    /* how many of the other side are staged at a time: a multiple of the matrices' sides */
const uint STEP = 4;                                  /* how many a lane looks at at a time */
#else
layout(constant_id = 5) const uint STEP = 4;          /* how many of the other side are read at a time; a power of two */
const uint WALK_STEP = STEP;
#endif
layout(constant_id = 6) const bool ALIGNED = true;    /* dimensions are multiples of 4, all addresses and strides of a quad */
layout(constant_id = 7) const bool BAND = false;      /* causal, or a window */
layout(constant_id = 8) const bool STAIRS = false;    /* causal in blocks */
layout(constant_id = 9) const bool SEGMENTS = false;
layout(constant_id = 10) const bool SOFTCAP = false;
layout(constant_id = 11) const bool ALIBI = false;
layout(constant_id = 12) const bool BIAS = false;
layout(constant_id = 13) const bool BIAS_F32 = false;
layout(constant_id = 14) const bool BIAS_PER_QUERY = false;
layout(constant_id = 15) const bool SINKS = false;
layout(constant_id = 16) const bool DROPOUT = false;
layout(constant_id = 17) const bool BIAS_PER_BATCH = false;
layout(constant_id = 18) const bool BIAS_PER_HEAD = false;
layout(constant_id = 19) const bool PARTIAL = false;  /* gradients of keys are f32: sums that others add to */
layout(constant_id = 20) const bool STRIDED = false;  /* rows, or keys, lie apart in the sequence */
layout(constant_id = 21) const bool KEEPS_SCORE_GRADS = false; /* key_gradient leaves gradients of scores for query_sum */
layout(constant_id = 22) const bool FEW_REGISTERS = false; /* own rows are read again at each step, and nothing far ahead */
layout(constant_id = 23) const uint PACKED_HEADS = 1; /* query heads of a tile, those of a key/value head or several; 1 with BIAS_PER_HEAD */
layout(constant_id = 24) const bool SPLITS = false;   /* a tile's keys may be split over workgroups, for merge.comp to put together */
layout(constant_id = 25) const bool BROADCAST = false; /* lanes read rows of the other side together, and hand them around; a workgroup is a subgroup then */
layout(constant_id = 26) const bool SEPARATE_SUMS = false; /* key_gradient takes two turns, for keys and for values: both sums are more than registers hold */
layout(constant_id = 27) const uint KEY_HEADS = 1;      /* of a tile, each with rows and lanes of its own; 1 but with -DUNIFORM_LOADS */

#ifdef MATRIX
layout(constant_id = 28) const uint MATRIX_M = 16;    /* a product of matrices: M x K times K x N */
layout(constant_id = 29) const uint MATRIX_N = 16;
layout(constant_id = 30) const uint MATRIX_K = 16;
layout(constant_id = 31) const uint SUBGROUPS = 4;    /* of a workgroup; each owns as many rows as the others */
layout(constant_id = 32) const bool EXACT_WEIGHTS = false; /* forward does not round weights to f16: what backward makes of outputs cancels */
layout(constant_id = 33) const bool PARTS_APART = false;  /* matrices of sums are in branches of their own, where registers are few */
layout(constant_id = 34) const uint COLUMN_PARTS = 1; /* subgroups that own rows together, each a part of the columns of their sums; a power of two; 1 unless FEW_REGISTERS */
layout(constant_id = 35) const bool OCTETS = false;   /* ALIGNED, and dimensions are multiples of 8, addresses and strides of 16 bytes */
layout(constant_id = 36) const bool LOADS_AHEAD = false; /* a step's rows are on their way while the one before it is computed; OCTETS */
layout(constant_id = 37) const uint ROW_PARTS = 1;    /* of COLUMN_PARTS, those that also look at pairs, each at those of a part of the rows */
#ifdef MAY_TURN_VALUES
layout(constant_id = 38) const bool TURNS_VALUES = false; /* forward stages values with the rows of a column one after the other */
#endif
#else
const bool PARTS_APART = false;
#endif

const uint HEAD_QUADS = (HEAD_DIM + 3) / 4;
const uint VALUE_QUADS = (VALUE_DIM + 3) / 4;
const uint LANE_HEAD_QUADS = (HEAD_QUADS + LANES_PER_ROW - 1) / LANES_PER_ROW;
const uint LANE_VALUE_QUADS = (VALUE_QUADS + LANES_PER_ROW - 1) / LANES_PER_ROW;
#ifdef MATRIX
const uint ROW_LANES = gl_WorkGroupSize.x / COLUMN_PARTS * ROW_PARTS / LANES_PER_ROW; /* rows that are computed side by side */
#else
const uint ROW_LANES = gl_WorkGroupSize.x / LANES_PER_ROW;
#endif
const uint TILE_ROWS = ROW_LANES * ROWS_PER_LANE / PACKED_HEADS; /* of each head */

const float LOG2_E = 1.44269504088896340736;
const float LN_2 = 0.69314718055994530942;
