/* SPDX-License-Identifier: MIT */
#version 460
/* Writes the sum of two tensors of f32 to one of the element type, which may take the place of either if that is f32. No shared memory, no barrier. */
#extension GL_GOOGLE_include_directive : require
#include "extensions.glsl"
#include "address.glsl"
#include "element.glsl"
#include "rows_push.glsl"

layout(buffer_reference, scalar, buffer_reference_align = 4) readonly buffer Floats {
    float at[];
};
layout(buffer_reference, scalar, buffer_reference_align = 16) readonly buffer FloatQuads {
    vec4 at[];
};

vec4 quad_of(uvec2 tensor, uint unit)
{
    return is_null(tensor) ? vec4(0) : FloatQuads(source_row(tensor)).at[unit];
}

float element_of(uvec2 tensor, uint unit)
{
    return is_null(tensor) ? 0.0 : Floats(source_row(tensor)).at[unit];
}

void main()
{
    uint unit = gl_GlobalInvocationID.x;
    if (unit >= units)
        return;
    if (ALIGNED)
        OutQuads(target_row()).at[unit] = quad_encode(quad_of(from, unit) + quad_of(onto, unit));
    else
        OutElements(target_row()).at[unit] = element_encode(element_of(from, unit) + element_of(onto, unit));
}
