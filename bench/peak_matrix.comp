/* SPDX-License-Identifier: MIT */
/*
 * How many multiplications with additions of f16, summed in f32, a device's matrix units do when nothing else is in the way.
 *
 * A subgroup holds ROWS by COLUMNS matrices of sums in registers, as a product of large matrices would, and adds to each the product of a left and a right
 * one, `rounds` times. No shared memory, no barrier. Elements all differ, left matrices are multiplied by 1 each time, which no compiler knows, and sums
 * are written only where they equal a value that they cannot have: so none leaves products out, or takes them from one round to the next.
 */
#version 460
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint M = 16;
layout(constant_id = 2) const uint N = 16;
layout(constant_id = 3) const uint K = 16;

layout(buffer_reference) writeonly buffer Sums { float sum[]; };

layout(push_constant) uniform Push {
    Sums sums;
    uint rounds;
    float factor;
    float addend; /* 1 */
    float impossible;
};

const uint ROWS = 2;
const uint COLUMNS = 4;

#define LEFT coopmat<float16_t, gl_ScopeSubgroup, M, K, gl_MatrixUseA>
#define RIGHT coopmat<float16_t, gl_ScopeSubgroup, K, N, gl_MatrixUseB>
#define SUMS coopmat<float, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator>

float16_t element(uint matrix, uint place)
{
    return float16_t(factor + float((matrix * 61 + place * 17 + gl_SubgroupInvocationID * 7) % 256) / 512.0);
}

void main()
{
    LEFT left[ROWS];
    RIGHT right[COLUMNS];
    SUMS products[ROWS * COLUMNS];
    [[unroll]] for (uint r = 0; r < ROWS; r++)
        [[unroll]] for (int i = 0; i < left[r].length(); i++)
            left[r][i] = element(r, i);
    [[unroll]] for (uint c = 0; c < COLUMNS; c++)
        [[unroll]] for (int i = 0; i < right[c].length(); i++)
            right[c][i] = element(ROWS + c, i);
    [[unroll]] for (uint i = 0; i < ROWS * COLUMNS; i++)
        products[i] = SUMS(addend);
    [[dont_unroll]] for (uint round = 0; round < rounds; round++)
        [[unroll]] for (uint r = 0; r < ROWS; r++) {
            left[r] = left[r] * float16_t(addend);
            [[unroll]] for (uint c = 0; c < COLUMNS; c++)
                products[r * COLUMNS + c] = coopMatMulAdd(left[r], right[c], products[r * COLUMNS + c]);
        }
    SUMS all = products[0];
    [[unroll]] for (uint i = 1; i < ROWS * COLUMNS; i++)
        all = all + products[i];
    if (all[0] == impossible)
        sums.sum[gl_LocalInvocationIndex] = all[0];
}
