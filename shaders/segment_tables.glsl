/* SPDX-License-Identifier: MIT */
/*
 * Tables of segment ids, one for each side and batch entry, so that whole blocks are skipped before anything of them is read:
 *
 *   ranges   the least and the greatest id of every FINE_RANGE rows
 *   ranges   the same of every COARSE_RANGE rows
 *   bounds   for every FINE_RANGE rows, where the rows of the other side begin and end whose ids may be theirs
 */

const uint FINE_RANGE = 16; /* the host's copies are in segments.h */
const uint COARSE_RANGE = 256;
const uint FINE_OF_COARSE = COARSE_RANGE / FINE_RANGE;

layout(buffer_reference, scalar, buffer_reference_align = 8) readonly buffer Ranges {
    ivec2 at[];
};

bool segment_apart(ivec2 a, ivec2 b)
{
    return a.y < b.x || b.y < a.x;
}
