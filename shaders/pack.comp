/* SPDX-License-Identifier: MIT */
#version 460
/*
 * Copies a strided [batch][rows][heads][dim] tensor into a packed one, unit by unit: a unit is a quad of elements if ALIGNED, else one element.
 * A workgroup (x: units of a row of all heads, y: row, z: batch entry) copies gl_WorkGroupSize.x units. No shared memory, no barrier.
 */
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require
#extension GL_EXT_scalar_block_layout : require
#if ELEMENT_BYTES == 2
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_explicit_arithmetic_types_int16 : enable
#endif
#extension GL_GOOGLE_include_directive : require

#include "address.glsl"

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

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const bool ALIGNED = true;

/* The host's copy is struct pack_arguments. */
layout(push_constant, scalar) uniform Push {
    uvec2 from;
    uvec2 to;
    uvec2 from_batch_stride, from_row_stride, from_head_stride; /* bytes, (low, high) */
    uvec2 to_batch_stride, to_row_stride;
    uint units_per_head;
    uint units_per_row;
};

void main()
{
    uint unit = gl_GlobalInvocationID.x;
    if (unit >= units_per_row)
        return;
    uvec2 source = address_advance(address_advance(from, from_batch_stride, gl_WorkGroupID.z), from_row_stride, gl_WorkGroupID.y);
    uvec2 target = address_advance(address_advance(to, to_batch_stride, gl_WorkGroupID.z), to_row_stride, gl_WorkGroupID.y);
    source = address_advance(source, from_head_stride, unit / units_per_head);
    if (ALIGNED)
        Quads(target).at[unit] = Quads(source).at[unit % units_per_head];
    else
        Elements(target).at[unit] = Elements(source).at[unit % units_per_head];
}
