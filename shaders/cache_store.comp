/* SPDX-License-Identifier: MIT */
#version 460
/*
 * Stores rows of keys or of values where a table says: as they are, or if INT8 as integers from -127 to 127 with a scale for each head of a
 * row, its largest magnitude over 127, and 0 for zeros. What is not finite makes the scale, and with it all that is read of the head, not
 * finite.
 *
 * A workgroup (x: head, y: row) stores a head. A lane has the elements of one quad; only where a head is not stored in quads they are dealt
 * one by one. No shared memory, no barrier.
 */
#extension GL_GOOGLE_include_directive : require
#include "extensions.glsl"
#include "address.glsl"
#include "element.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const bool ALIGNED = true;
layout(constant_id = 2) const bool INT8 = false;

/* The host's copy is struct store_push. */
layout(push_constant, scalar) uniform Push {
    uvec2 from, to;
    uvec2 scales; /* [sequences][heads][slots] */
    uvec2 table;  /* where each row goes, in rows of the shard: of its first head */
    uvec2 from_row_stride, from_head_stride; /* bytes, (low, high) */
    uvec2 to_head_stride, scale_head_stride; /* the same */
    uint to_row_bytes;
    uint dim;
};

/* Elements that are only moved travel as integers of their size: no bit of them changes. */
#ifdef TYPE_F32
#define MOVED uint
#define MOVED_QUAD uvec4
#else
#define MOVED ELEMENT
#define MOVED_QUAD QUAD
#endif
layout(buffer_reference, scalar, buffer_reference_align = ELEMENT_BYTES) buffer Moved {
    MOVED at[];
};
layout(buffer_reference, scalar, buffer_reference_align = 4 * ELEMENT_BYTES) buffer MovedQuads {
    MOVED_QUAD at[];
};
layout(buffer_reference, scalar, buffer_reference_align = 4) writeonly buffer Words {
    uint at[];
};
layout(buffer_reference, scalar, buffer_reference_align = 4) writeonly buffer Scale {
    float value;
};
layout(buffer_reference, scalar, buffer_reference_align = 8) readonly buffer Table {
    uvec2 at[];
};

void move(uvec2 source, uvec2 target)
{
    uint lane = gl_LocalInvocationIndex;
    if (ALIGNED) {
        if (4 * lane < dim)
            MovedQuads(target).at[lane] = MovedQuads(source).at[lane];
    } else {
        for (uint i = lane; i < dim; i += gl_WorkGroupSize.x)
            Moved(target).at[i] = Moved(source).at[i];
    }
}

/* The lane's quad; zeros beyond the head. */
vec4 read_quad(uvec2 source)
{
    uint lane = gl_LocalInvocationIndex;
    vec4 quad = vec4(0);
    if (ALIGNED) {
        if (4 * lane < dim)
            quad = quad_decode(Quads(source).at[lane]);
    } else {
        for (uint i = 0; i < 4; i++)
            if (4 * lane + i < dim)
                quad[i] = element_decode(Elements(source).at[4 * lane + i]);
    }
    return quad;
}

/*
 * Magnitudes are compared as integers: in this order a NaN is above infinity. Every lane reads the whole head, from the caches, and none waits for
 * another: barriers took llvmpipe ten times as long. The loops are tested at the bottom, as it reads what is the same in all lanes even with all off.
 */
float find_scale(uvec2 source)
{
    uint largest = 0, i = 0;
    if (ALIGNED) {
        uvec4 most = uvec4(0);
        do {
            most = max(most, floatBitsToUint(quad_decode(Quads(source).at[i])) & 0x7fffffffu);
        } while (++i < dim / 4);
        largest = max(max(most.x, most.y), max(most.z, most.w));
    } else {
        do {
            largest = max(largest, floatBitsToUint(element_decode(Elements(source).at[i])) & 0x7fffffffu);
        } while (++i < dim);
    }
    return uintBitsToFloat(largest) / 127.0;
}

void store_integers(uvec2 source, uvec2 target, uvec2 scale_target)
{
    uint lane = gl_LocalInvocationIndex;
    vec4 quad = read_quad(source);
    float scale = find_scale(source);
    uvec4 bytes = scale > 0.0 ? uvec4(ivec4(clamp(roundEven(quad / scale), -127.0, 127.0))) & 0xffu : uvec4(0);
    if (4 * lane < dim)
        Words(target).at[lane] = bytes.x | (bytes.y << 8) | (bytes.z << 16) | (bytes.w << 24);
    if (lane == 0)
        Scale(scale_target).value = scale;
}

void main()
{
    uint head = gl_WorkGroupID.x, row = gl_WorkGroupID.y;
    uvec2 shard_row = Table(table).at[row];
    uvec2 source = address_advance(address_advance(from, from_row_stride, row), from_head_stride, head);
    uvec2 target = address_advance(address_advance(to, shard_row, to_row_bytes), to_head_stride, head);
    if (INT8)
        store_integers(source, target, address_advance(address_advance(scales, shard_row, 4), scale_head_stride, head));
    else
        move(source, target);
}
