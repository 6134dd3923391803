/* SPDX-License-Identifier: MIT */
/*
 * What kernels on matrix units have in common: matrices of f16 (of bfloat16 with -DMATRICES_OF_BFLOAT16, by as_bfloat16) and their sums, of MATRIX_M x MATRIX_K times MATRIX_K x MATRIX_N, and how numbers get
 * into f16 that have more range than it has.
 */

#define ROWS_MATRIX coopmat<float16_t, gl_ScopeSubgroup, MATRIX_M, MATRIX_K, gl_MatrixUseA>
#define COLUMNS_MATRIX coopmat<float16_t, gl_ScopeSubgroup, MATRIX_K, MATRIX_N, gl_MatrixUseB>
#define SUMS_MATRIX coopmat<float, gl_ScopeSubgroup, MATRIX_M, MATRIX_N, gl_MatrixUseAccumulator>

/* subgroupBarrier() would be a fence of all memory under Vulkan's memory model, for which some compilers empty caches. */
void meet_subgroup()
{
    controlBarrier(gl_ScopeSubgroup, gl_ScopeSubgroup, gl_StorageSemanticsShared, gl_SemanticsAcquireRelease);
}

/* Quad `quad` of the 16-bit elements at index `first` from the address, zeros past the last. */
uvec2 load_bits(uvec2 address, uint first, uint quad, uint dim)
{
    if (ALIGNED) {
        uvec2 bits = Quads(address).at[first / 4 + min(quad, dim / 4 - 1)];
        return quad < dim / 4 ? bits : uvec2(0);
    }
    Elements from = Elements(address);
    uvec4 each;
    [[unroll]] for (uint c = 0; c < 4; c++) {
        uint element = uint(from.at[first + min(4 * quad + c, dim - 1)]);
        each[c] = 4 * quad + c < dim ? element : 0;
    }
    return each.xz | (each.yw << 16);
}

/* Of four of bf16, without its sign. */
uint greatest_of(uvec2 bits)
{
    uvec2 greater = max(bits & 0x7fff0000u, (bits << 16) & 0x7fff0000u);
    return max(greater.x, greater.y);
}

/*
 * The exponent, as f32 has it, of the power of two that puts a number between 2^15 and 2^16; at most 2^126. Times it, elements down to 2^-32 of a row's
 * greatest stay what they are in bf16, and smaller ones change by 2^-40 of it at most. That of its inverse is 254 less it.
 */
uint fitting_exponent(uint greatest)
{
    return min(269u - (greatest >> 23), 253u);
}
