/* SPDX-License-Identifier: MIT */
#version 460
/*
 * The least and the greatest segment id of every range_rows rows. An invocation (x: range, z: batch entry) looks at one range.
 */
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require
#extension GL_EXT_scalar_block_layout : require
#extension GL_GOOGLE_include_directive : require

#include "address.glsl"

layout(local_size_x_id = 0) in;

layout(buffer_reference, scalar, buffer_reference_align = 4) readonly buffer Ids {
    int at[];
};
layout(buffer_reference, scalar, buffer_reference_align = 8) writeonly buffer OutRanges {
    ivec2 at[];
};

/* The host's copy is struct range_arguments. */
layout(push_constant, scalar) uniform Push {
    uvec2 ids, ids_batch_stride;
    uvec2 ranges, ranges_batch_stride;
    uint rows;
    uint range_rows;
    uint first_range; /* of the rows, that range 0 here is */
    uint count;
};

void main()
{
    uint range = gl_GlobalInvocationID.x;
    if (range >= count)
        return;
    uvec2 from = address_advance(ids, ids_batch_stride, gl_WorkGroupID.z);
    uint first = (first_range + range) * range_rows;
    ivec2 least_and_greatest = ivec2(Ids(from).at[first]);
    for (uint i = 1; i < range_rows; i++) {
        int id = Ids(from).at[min(first + i, rows - 1)];
        least_and_greatest = ivec2(min(least_and_greatest.x, id), max(least_and_greatest.y, id));
    }
    OutRanges(address_advance(ranges, ranges_batch_stride, gl_WorkGroupID.z)).at[range] = least_and_greatest;
}
