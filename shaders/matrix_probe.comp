/* SPDX-License-Identifier: MIT */
#version 460
/* Compiles where glslang knows what kernels on matrix units take. */
#extension GL_GOOGLE_include_directive : require
#include "extensions.glsl"

layout(local_size_x = 32) in;
layout(constant_id = 0) const uint SIDE = 16;

float greater_of(const in float a, const in float b)
{
    return max(a, b);
}

void main()
{
    coopmat<float, gl_ScopeSubgroup, SIDE, SIDE, gl_MatrixUseAccumulator> sums;
    sums = coopmat<float, gl_ScopeSubgroup, SIDE, SIDE, gl_MatrixUseAccumulator>(0.0);
#ifdef MATRIX_OPERATIONS
    coopMatReduceNV(sums, sums, gl_CooperativeMatrixReduceRowNV, greater_of);
#endif
}
