/* SPDX-License-Identifier: MIT */
/* The sums of a lane, in registers for a block of the other side and in memory between blocks and dispatches. SUM_QUADS: how many quads, of all row slots.
 * In memory those of TURNS lie one after the other. */

layout(buffer_reference, scalar, buffer_reference_align = 16) buffer StateQuads {
    vec4 at[];
};
layout(buffer_reference, scalar, buffer_reference_align = 8) buffer StatePairs {
    vec2 at[];
};

#ifndef TAKES_TURNS
const uint TURNS = 1;
const uint turn = 0;
#endif

vec4 sums[SUM_QUADS];

uint state_index(uint slot, uint slots)
{
    uint workgroup = gl_WorkGroupID.x + gl_NumWorkGroups.x * (gl_WorkGroupID.y + gl_NumWorkGroups.y * gl_WorkGroupID.z);
    return (workgroup * slots + slot) * gl_WorkGroupSize.x + gl_LocalInvocationID.x;
}

void clear_sums()
{
    [[unroll]] for (uint i = 0; i < SUM_QUADS; i++)
        sums[i] = vec4(0);
}

vec4 stored_sum(uint i)
{
    return StateQuads(arguments.state).at[state_index(turn * SUM_QUADS + i, TURNS * SUM_QUADS)];
}

void store_sum(uint i)
{
    StateQuads(arguments.state).at[state_index(turn * SUM_QUADS + i, TURNS * SUM_QUADS)] = sums[i];
}

void store_sums()
{
    [[unroll]] for (uint i = 0; i < SUM_QUADS; i++)
        store_sum(i);
}

/* One after the other: where all are loaded, and then all stored, compilers keep them twice. */
void meet_state_by_quads(bool continues, bool stores)
{
    [[unroll]] for (uint i = 0; i < SUM_QUADS; i++) {
        if (continues)
            sums[i] += stored_sum(i);
        if (stores)
            store_sum(i);
    }
}

/* At the end of a block: adds what the state holds from before, and stores the sums if they are needed again. */
void meet_state(bool continues, bool stores)
{
    if (FEW_REGISTERS) {
        meet_state_by_quads(continues, stores);
        return;
    }
    if (continues) {
        [[unroll]] for (uint i = 0; i < SUM_QUADS; i++)
            sums[i] += stored_sum(i);
    }
    if (stores)
        store_sums();
}

/* What follows the sums of all workgroups: a pair for each row slot of each lane. */
uvec2 state_pairs_after(uint workgroups)
{
    return address_advance(arguments.state, uvec2(16 * SUM_QUADS * gl_WorkGroupSize.x, 0), workgroups);
}

uint state_workgroups()
{
    return gl_NumWorkGroups.x * gl_NumWorkGroups.y * gl_NumWorkGroups.z;
}

uvec2 state_pairs()
{
    return state_pairs_after(state_workgroups());
}
