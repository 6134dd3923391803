/* SPDX-License-Identifier: MIT */
#version 460
/*
 * For every FINE_RANGE rows of one side, where the rows of the other side begin and end whose segment ids may be theirs.
 * An invocation (x: fine range, z: batch entry) finds one pair, in rows at multiples of FINE_RANGE; begin is the end where there are none.
 */
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require
#extension GL_EXT_scalar_block_layout : require
#extension GL_GOOGLE_include_directive : require

#include "address.glsl"
#include "segment_tables.glsl"

layout(local_size_x_id = 0) in;

layout(buffer_reference, scalar, buffer_reference_align = 8) writeonly buffer Bounds {
    uvec2 at[];
};

/* The host's copy is struct bound_arguments. */
layout(push_constant, scalar) uniform Push {
    uvec2 own, own_batch_stride;
    uvec2 bounds; /* of the first fine range of the own side */
    uvec2 other, other_batch_stride;
    uint own_ranges;
    uint other_ranges;
};

/* The first (forward) or the last fine range of the other side that meets the ids; other_ranges if there is none. */
uint find(uvec2 table, ivec2 ids, bool forward)
{
    int at = forward ? 0 : int(other_ranges) - 1;
    uint found = other_ranges;
    while (found == other_ranges && at >= 0 && at < int(other_ranges)) {
        uint coarse = uint(at) / FINE_OF_COARSE;
        if (segment_apart(Ranges(table).at[other_ranges + coarse], ids))
            at = forward ? int((coarse + 1) * FINE_OF_COARSE) : int(coarse * FINE_OF_COARSE) - 1;
        else if (segment_apart(Ranges(table).at[uint(at)], ids))
            at += forward ? 1 : -1;
        else
            found = uint(at);
    }
    return found;
}

void main()
{
    uint range = gl_GlobalInvocationID.x;
    if (range >= own_ranges)
        return;
    ivec2 ids = Ranges(address_advance(own, own_batch_stride, gl_WorkGroupID.z)).at[range];
    uvec2 table = address_advance(other, other_batch_stride, gl_WorkGroupID.z);
    uint first = find(table, ids, true);
    uint end = first == other_ranges ? first : find(table, ids, false) + 1;
    Bounds(address_advance(bounds, own_batch_stride, gl_WorkGroupID.z)).at[range] = uvec2(first, end) * FINE_RANGE;
}
