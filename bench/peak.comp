/* SPDX-License-Identifier: MIT */
/*
 * How many multiplications with additions of f32 a device does when nothing else is in the way.
 *
 * A lane holds 8 chains in registers, each link of which waits for the one before it: 8 * LINKS * rounds links in all. No shared memory, no
 * barrier. Sums are written only where they equal a value that they cannot have, so that no compiler leaves the chains out.
 */
#version 460
#extension GL_EXT_buffer_reference : require

layout(local_size_x = 256) in;

layout(buffer_reference) writeonly buffer Sums { float sum[]; };

layout(push_constant) uniform Push {
    Sums sums;
    uint rounds;
    float factor;
    float addend;
    float impossible;
};

const uint LINKS = 32;

void main()
{
    const float first = float(gl_LocalInvocationIndex);
    vec4 a = vec4(first, first + 1, first + 2, first + 3), b = a + 4;
    for (uint round = 0; round < rounds; round++)
        for (uint link = 0; link < LINKS; link++) {
            a = fma(a, vec4(factor), vec4(addend));
            b = fma(b, vec4(factor), vec4(addend));
        }
    const vec4 both = a + b;
    const float sum = both.x + both.y + both.z + both.w;
    if (sum == impossible)
        sums.sum[gl_LocalInvocationIndex] = sum;
}
