/* SPDX-License-Identifier: MIT */
#version 460
/*
 * The gradient of a head's sink: a workgroup (y: head) sums over the rows of all batch entries, each lane every gl_WorkGroupSize.x-th row. A dispatch that
 * is not the first adds to what is there.
 */
#extension GL_GOOGLE_include_directive : require
#include "extensions.glsl"
#include "address.glsl"
#include "element.glsl"
#include "arguments.glsl"
#include "constants.glsl"
#include "positions.glsl"
#include "tile.glsl"
#include "score.glsl"
#include "row_stats.glsl"

shared float partial[gl_WorkGroupSize.x];

float gradient_of_row(uvec2 stats_address, uint row, uint head)
{
    float beyond = ALIBI ? score_slope(head) * alibi_beyond(int(row)) : 0.0;
    vec4 stats = RowStats(stats_address).at[row];
    float weight = pair_probability(fma(Floats(arguments.sinks).at[head], LOG2_E, beyond), stats);
    return -weight * stats.z;
}

void main()
{
    uint head = arguments.first_head + gl_WorkGroupID.y, lane = gl_LocalInvocationID.x;
    float sum = 0;
    for (uint batch = 0; batch < arguments.batches; batch++) {
        uvec2 stats_address = rows_address(arguments.row_stats, batch, head);
        float entry = 0;
        for (uint row = lane; row < arguments.rows; row += gl_WorkGroupSize.x)
            entry += gradient_of_row(stats_address, row, head);
        sum += entry;
    }
    partial[lane] = sum;
    barrier();
    if (lane == 0) {
        float total = arguments.first != 0 ? 0.0 : Floats(arguments.sink_grad).at[head];
        for (uint i = 0; i < gl_WorkGroupSize.x; i++)
            total += partial[i];
        Floats(arguments.sink_grad).at[head] = total;
    }
}
