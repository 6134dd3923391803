/* SPDX-License-Identifier: MIT */
/*
 * What a kernel is told that goes through the rows of one batch entry of strided tensors [rows][heads][dim]. The host's copy is struct rows_push.
 * A workgroup (x: units of a row, y: row, z: head) has gl_WorkGroupSize.x units: quads of elements if ALIGNED, else elements. Addresses are the same
 * in all of its lanes.
 */

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const bool ALIGNED = true;

layout(push_constant, scalar) uniform Push {
    uvec2 from, onto; /* onto lies as from does; address 0: all zeros */
    uvec2 to;
    uvec2 from_row_stride, from_head_stride; /* bytes, (low, high) */
    uvec2 to_row_stride, to_head_stride;
    uint units; /* of a row */
};

bool is_null(uvec2 address)
{
    return (address.x | address.y) == 0;
}

uvec2 source_row(uvec2 tensor)
{
    return address_advance(address_advance(tensor, from_row_stride, gl_WorkGroupID.y), from_head_stride, gl_WorkGroupID.z);
}

uvec2 target_row()
{
    return address_advance(address_advance(to, to_row_stride, gl_WorkGroupID.y), to_head_stride, gl_WorkGroupID.z);
}
