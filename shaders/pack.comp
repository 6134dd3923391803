/* SPDX-License-Identifier: MIT */
#version 460
/* Copies a tensor. No shared memory, no barrier. */
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require
#extension GL_EXT_scalar_block_layout : require
#if ELEMENT_BYTES == 2
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_explicit_arithmetic_types_int16 : enable
#endif
#extension GL_GOOGLE_include_directive : require

#include "address.glsl"
#include "rows_push.glsl"

/* Elements travel as integers of their size: no bit of them changes. */
#if ELEMENT_BYTES == 2
#define ELEMENT uint16_t
#define QUAD uvec2
#else
#define ELEMENT uint
#define QUAD uvec4
#endif

layout(buffer_reference, scalar, buffer_reference_align = ELEMENT_BYTES) buffer Elements {
    ELEMENT at[];
};
layout(buffer_reference, scalar, buffer_reference_align = 4 * ELEMENT_BYTES) buffer Quads {
    QUAD at[];
};

void main()
{
    uint unit = gl_GlobalInvocationID.x;
    if (unit >= units)
        return;
    uvec2 source = source_row(from), target = target_row();
    if (ALIGNED)
        Quads(target).at[unit] = Quads(source).at[unit];
    else
        Elements(target).at[unit] = Elements(source).at[unit];
}
