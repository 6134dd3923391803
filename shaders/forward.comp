/* SPDX-License-Identifier: MIT */
#version 460
/*
 * Forward attention of a tile of query rows to a block of keys, with the running state (unnormalised output, maximum, sum) in f32.
 *
 * A workgroup (x: tile of rows, y: head, z: batch entry) computes gl_WorkGroupSize.x / LANES_PER_ROW · ROWS_PER_LANE rows. LANES_PER_ROW neighbouring lanes share
 * each row: lane `slice` of them holds every LANES_PER_ROW-th quad of the query and of the output in registers. KEYS_PER_STEP keys are read at a time, by
 * every lane from the same address (or from as many addresses as lanes share a row); scores are summed over the lanes of a row with shuffles.
 * Every BLOCK_KEYS keys the registers are added to the state in memory and start from zero again: sums of a million terms would lose digits in f32.
 * No shared memory, no barrier. Whole heads and rows are independent, so lanes past the last row compute that one again and write nothing.
 *
 * Loops over keys are tested at the bottom: on llvmpipe a loop tested at its top runs once more with all lanes off, and loads from an address that is the same in
 * all lanes are not masked there.
 */
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require
#extension GL_EXT_scalar_block_layout : require
#extension GL_EXT_control_flow_attributes : require
#ifndef TYPE_F32
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_explicit_arithmetic_types_int16 : enable
#endif
#ifndef NO_SHUFFLE
#extension GL_KHR_shader_subgroup_shuffle : require
#endif
#extension GL_GOOGLE_include_directive : require

#include "address.glsl"
#include "element.glsl"
#include "forward_arguments.glsl"
#include "softmax.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint HEAD_DIM = 64;
layout(constant_id = 2) const uint VALUE_DIM = 64;
layout(constant_id = 3) const uint LANES_PER_ROW = 1; /* a power of two, at most the subgroup's size; 1 with NO_SHUFFLE */
layout(constant_id = 4) const uint ROWS_PER_LANE = 1;
layout(constant_id = 5) const uint KEYS_PER_STEP = 4;
layout(constant_id = 6) const bool CAUSAL = false;
layout(constant_id = 7) const bool ALIGNED = true; /* dimensions are multiples of 4, all addresses and strides of a quad */

const uint BLOCK_KEYS = 1024; /* the host's copy is FORWARD_BLOCK_KEYS */

const uint HEAD_QUADS = (HEAD_DIM + 3) / 4;
const uint VALUE_QUADS = (VALUE_DIM + 3) / 4;
const uint LANE_HEAD_QUADS = (HEAD_QUADS + LANES_PER_ROW - 1) / LANES_PER_ROW;
const uint LANE_VALUE_QUADS = (VALUE_QUADS + LANES_PER_ROW - 1) / LANES_PER_ROW;
const uint ROW_LANES = gl_WorkGroupSize.x / LANES_PER_ROW; /* rows that are computed side by side */
const uint TILE_ROWS = ROW_LANES * ROWS_PER_LANE;

layout(buffer_reference, scalar, buffer_reference_align = 16) buffer StateQuads {
    vec4 at[];
};
layout(buffer_reference, scalar, buffer_reference_align = 8) buffer StatePairs {
    vec2 at[];
};
layout(buffer_reference, scalar, buffer_reference_align = 4) writeonly buffer Floats {
    float at[];
};

/* Registers of a lane: row r of it in quads [r · LANE_…_QUADS, …). */
vec4 query_quads[ROWS_PER_LANE * LANE_HEAD_QUADS];
vec4 output_quads[ROWS_PER_LANE * LANE_VALUE_QUADS];
float maximum[ROWS_PER_LANE];
float sum[ROWS_PER_LANE];
float score[ROWS_PER_LANE * KEYS_PER_STEP];

/*
 * Quad `quad` of the `dim` elements at index `first` (in elements) from the address. Past the last element it repeats that one.
 * Addresses are the same in all lanes, and lanes differ in 32-bit indices: cheaper everywhere, and llvmpipe with 512-bit vectors breaks on the other way.
 */
vec4 load_quad(uvec2 address, uint first, uint quad, uint dim)
{
    if (ALIGNED)
        return quad_decode(Quads(address).at[first / 4 + min(quad, dim / 4 - 1)]);
    Elements from = Elements(address);
    return vec4(element_decode(from.at[first + min(4 * quad + 0, dim - 1)]), element_decode(from.at[first + min(4 * quad + 1, dim - 1)]),
                element_decode(from.at[first + min(4 * quad + 2, dim - 1)]), element_decode(from.at[first + min(4 * quad + 3, dim - 1)]));
}

void store_quad(uvec2 address, uint first, uint quad, uint dim, vec4 values)
{
    if (ALIGNED) {
        if (quad < dim / 4)
            OutQuads(address).at[first / 4 + quad] = quad_encode(values);
        return;
    }
    OutElements to = OutElements(address);
    [[unroll]] for (uint c = 0; c < 4; c++)
        if (4 * quad + c < dim)
            to.at[first + 4 * quad + c] = element_encode(values[c]);
}

/* The row of the tile that slot r of this lane holds. */
uint row_of(uint r)
{
    return r * ROW_LANES + gl_LocalInvocationID.x / LANES_PER_ROW;
}

/* The first row of a tile in the workgroup's head and batch entry. */
uvec2 tile_address(uvec2 address, uvec2 batch_stride, uvec2 head_stride, uvec2 row_stride, uint tile)
{
    address = address_advance(address, batch_stride, gl_WorkGroupID.z);
    address = address_advance(address, head_stride, gl_WorkGroupID.y);
    return address_advance(address, row_stride, tile * TILE_ROWS);
}

void load_query(uint tile, uint last_row, uint slice)
{
    uvec2 address = tile_address(arguments.query, arguments.query_batch_stride, arguments.query_head_stride, arguments.query_row_stride, tile);
    uint stride = arguments.query_row_stride.x / ELEMENT_BYTES;
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
        [[unroll]] for (uint d = 0; d < LANE_HEAD_QUADS; d++) {
            uint quad = d * LANES_PER_ROW + slice;
            vec4 values = load_quad(address, min(row_of(r), last_row) * stride, quad, HEAD_DIM) * arguments.score_scale;
            /* zero past the end: products with what load_quad repeats vanish */
            query_quads[r * LANE_HEAD_QUADS + d] = mix(vec4(0), values, lessThan(uvec4(4 * quad) + uvec4(0, 1, 2, 3), uvec4(HEAD_DIM)));
        }
    }
}

uint state_index(uint slot, uint slots)
{
    uint workgroup = gl_WorkGroupID.x + gl_NumWorkGroups.x * (gl_WorkGroupID.y + gl_NumWorkGroups.y * gl_WorkGroupID.z);
    return (workgroup * slots + slot) * gl_WorkGroupSize.x + gl_LocalInvocationID.x;
}

/* The state of a dispatch: all its output quads, then all pairs (maximum, sum). */
uvec2 state_pairs()
{
    uint workgroups = gl_NumWorkGroups.x * gl_NumWorkGroups.y * gl_NumWorkGroups.z;
    return address_advance(arguments.state, uvec2(16 * ROWS_PER_LANE * LANE_VALUE_QUADS * gl_WorkGroupSize.x, 0), workgroups);
}

/* The state that this dispatch continues gives the first bound on scores; the rest of it is added at the end of a block. */
void load_maximum()
{
    uvec2 pairs = state_pairs();
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
        maximum[r] = arguments.first != 0 ? SCORE_NONE : StatePairs(pairs).at[state_index(r, ROWS_PER_LANE)].x;
}

void clear_block()
{
    [[unroll]] for (uint d = 0; d < ROWS_PER_LANE * LANE_VALUE_QUADS; d++)
        output_quads[d] = vec4(0);
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
        sum[r] = 0;
}

/* Adds the state of the blocks before to this one. */
void add_state()
{
    uvec2 pairs = state_pairs();
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
        vec2 before = StatePairs(pairs).at[state_index(r, ROWS_PER_LANE)];
        float shrink = exp2(before.x - maximum[r]);
        sum[r] = fma(before.y, shrink, sum[r]);
        [[unroll]] for (uint d = 0; d < LANE_VALUE_QUADS; d++) {
            uint i = r * LANE_VALUE_QUADS + d;
            output_quads[i] = fma(StateQuads(arguments.state).at[state_index(i, ROWS_PER_LANE * LANE_VALUE_QUADS)], vec4(shrink), output_quads[i]);
        }
    }
}

void store_state()
{
    [[unroll]] for (uint d = 0; d < ROWS_PER_LANE * LANE_VALUE_QUADS; d++)
        StateQuads(arguments.state).at[state_index(d, ROWS_PER_LANE * LANE_VALUE_QUADS)] = output_quads[d];
    uvec2 pairs = state_pairs();
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
        StatePairs(pairs).at[state_index(r, ROWS_PER_LANE)] = vec2(maximum[r], sum[r]);
}

void store_result(uint tile, uint last_row, uint slice)
{
    uvec2 address = tile_address(arguments.outputs, arguments.output_batch_stride, arguments.output_head_stride, arguments.output_row_stride, tile);
    uvec2 lse = tile_address(arguments.lse, arguments.lse_batch_stride, arguments.lse_head_stride, uvec2(4, 0), tile);
    uint stride = arguments.output_row_stride.x / ELEMENT_BYTES;
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
        uint row = row_of(r);
        if (row <= last_row) {
            float normaliser = softmax_normaliser(sum[r]);
            [[unroll]] for (uint d = 0; d < LANE_VALUE_QUADS; d++)
                store_quad(address, row * stride, d * LANES_PER_ROW + slice, VALUE_DIM, output_quads[r * LANE_VALUE_QUADS + d] * normaliser);
            if (slice == 0 && (arguments.lse.x | arguments.lse.y) != 0)
                Floats(lse).at[row] = softmax_lse(maximum[r], sum[r]);
        }
    }
}

/* Row k of the rows from `first` on; past the first `left` it repeats the last of those. Computed once for each key, so that loads add only constants. */
uvec2 row_address(uvec2 first, uint stride_bytes, uint k, uint left)
{
    return address_add(first, min(k, left - 1) * stride_bytes);
}

/* Fills score[] with the dot products with KEYS_PER_STEP keys. */
void score_keys(uvec2 keys, uint left, uint slice)
{
    uvec2 address[KEYS_PER_STEP];
    [[unroll]] for (uint k = 0; k < KEYS_PER_STEP; k++)
        address[k] = row_address(keys, arguments.key_row_stride.x, k, left);
    [[unroll]] for (uint i = 0; i < ROWS_PER_LANE * KEYS_PER_STEP; i++)
        score[i] = 0;
    [[unroll]] for (uint d = 0; d < LANE_HEAD_QUADS; d++) {
        [[unroll]] for (uint k = 0; k < KEYS_PER_STEP; k++) {
            vec4 key = load_quad(address[k], 0, d * LANES_PER_ROW + slice, HEAD_DIM);
            [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
                vec4 query = query_quads[r * LANE_HEAD_QUADS + d];
                float s = score[r * KEYS_PER_STEP + k];
                s = fma(query.x, key.x, s);
                s = fma(query.y, key.y, s);
                s = fma(query.z, key.z, s);
                score[r * KEYS_PER_STEP + k] = fma(query.w, key.w, s);
            }
        }
    }
#ifndef NO_SHUFFLE
    [[unroll]] for (uint apart = 1; apart < LANES_PER_ROW; apart *= 2)
        [[unroll]] for (uint i = 0; i < ROWS_PER_LANE * KEYS_PER_STEP; i++)
            score[i] += subgroupShuffleXor(score[i], apart);
#endif
}

/* Turns the scores of row slot r into weights exp2(score - maximum), rescaling the state when the maximum grows; keys from `kept` on weigh nothing. */
void weigh_keys(uint r, uint kept)
{
    float highest = SCORE_NONE;
    [[unroll]] for (uint k = 0; k < KEYS_PER_STEP; k++)
        highest = max(highest, k < kept ? score[r * KEYS_PER_STEP + k] : SCORE_NONE);
    if (highest > maximum[r] + softmax_slack) {
        float shrink = exp2(maximum[r] - highest);
        maximum[r] = highest;
        sum[r] *= shrink;
        [[unroll]] for (uint d = 0; d < LANE_VALUE_QUADS; d++)
            output_quads[r * LANE_VALUE_QUADS + d] *= shrink;
    }
    /* in the order in which add_values adds: where all values are 1, output and sum are the same to the bit */
    [[unroll]] for (uint k = 0; k < KEYS_PER_STEP; k++) {
        float weight = k < kept ? exp2(score[r * KEYS_PER_STEP + k] - maximum[r]) : 0.0;
        score[r * KEYS_PER_STEP + k] = weight;
        sum[r] += weight;
    }
}

void add_values(uvec2 values, uint left, uint slice)
{
    uvec2 address[KEYS_PER_STEP];
    [[unroll]] for (uint k = 0; k < KEYS_PER_STEP; k++)
        address[k] = row_address(values, arguments.value_row_stride.x, k, left);
    [[unroll]] for (uint d = 0; d < LANE_VALUE_QUADS; d++) {
        [[unroll]] for (uint k = 0; k < KEYS_PER_STEP; k++) {
            vec4 value = load_quad(address[k], 0, d * LANES_PER_ROW + slice, VALUE_DIM);
            [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
                output_quads[r * LANE_VALUE_QUADS + d] =
                    fma(vec4(score[r * KEYS_PER_STEP + k]), value, output_quads[r * LANE_VALUE_QUADS + d]);
        }
    }
}

void main()
{
    uint slice = gl_LocalInvocationID.x % LANES_PER_ROW;
    /* causal: the tiles with the most keys start first, so that they don't run alone at the end */
    uint tile = CAUSAL ? gl_NumWorkGroups.x - 1 - gl_WorkGroupID.x : gl_WorkGroupID.x;
    uint kv_head = (arguments.first_head + gl_WorkGroupID.y) / arguments.heads_per_kv_head;
    uvec2 keys = address_advance(address_advance(arguments.key, arguments.key_batch_stride, gl_WorkGroupID.z), arguments.key_head_stride, kv_head);
    uvec2 values = address_advance(address_advance(arguments.value, arguments.value_batch_stride, gl_WorkGroupID.z), arguments.value_head_stride, kv_head);

    /* of the tile; those of the last tile may end early */
    uint last_row = min(TILE_ROWS, arguments.rows - tile * TILE_ROWS) - 1;
    load_query(tile, last_row, slice);
    load_maximum();

    /* keys that any row of the tile keeps, and that all rows keep */
    uint end = arguments.keys;
    uint full = arguments.keys;
    int diagonal = int(tile * TILE_ROWS) + arguments.diagonal;
    if (CAUSAL) {
        end = uint(clamp(int(last_row) + diagonal + 1, 0, int(arguments.keys)));
        full = uint(clamp(diagonal + 1, 0, int(arguments.keys)));
    }

    uint at = 0;
    bool continues = arguments.first == 0;
    do {
        uint block_end = min(at + BLOCK_KEYS, end);
        clear_block();
        if (at < block_end) {
            do {
                uint left = block_end - at;
                score_keys(keys, left, slice);
                [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
                    uint kept = left;
                    if (CAUSAL && at + KEYS_PER_STEP > full)
                        kept = uint(clamp(int(min(row_of(r), last_row)) + diagonal + 1 - int(at), 0, int(left)));
                    weigh_keys(r, kept);
                }
                add_values(values, left, slice);
                keys = address_add(keys, KEYS_PER_STEP * arguments.key_row_stride.x);
                values = address_add(values, KEYS_PER_STEP * arguments.value_row_stride.x);
                at += KEYS_PER_STEP;
            } while (at < block_end);
        }
        if (continues)
            add_state();
        continues = true;
        if (at < end || arguments.last == 0)
            store_state();
    } while (at < end);

    if (arguments.last != 0)
        store_result(tile, last_row, slice);
}
