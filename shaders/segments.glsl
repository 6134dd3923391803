/* SPDX-License-Identifier: MIT */
/*
 * Segment ids: a pair is kept if both have the same. So that whole blocks are skipped before anything of them is read, segment_ranges.comp writes the
 * least and the greatest id of every FINE_RANGE rows and, after those, of every COARSE_RANGE rows.
 */

const uint FINE_RANGE = 16; /* the host's copies are in segments.h */
const uint COARSE_RANGE = 256;

layout(buffer_reference, scalar, buffer_reference_align = 4) readonly buffer Ids {
    int at[];
};
layout(buffer_reference, scalar, buffer_reference_align = 8) readonly buffer Ranges {
    ivec2 at[];
};

/* Ranges of one batch entry, at least one; row `first` of them is row 0 of the dispatch. */
struct SegmentSide {
    uvec2 address;
    uint fine_ranges;
    uint first;
};

SegmentSide segment_side(Rows ranges, uint fine_ranges, uint first)
{
    return SegmentSide(address_advance(ranges.address, ranges.batch_stride, gl_WorkGroupID.z), fine_ranges, first);
}

/* The ids of rows first … last. */
ivec2 segment_range(SegmentSide side, uint first, uint last)
{
    uint range = (side.first + first) / FINE_RANGE, end = (side.first + last) / FINE_RANGE;
    ivec2 ids = Ranges(side.address).at[range];
    do {
        ivec2 more = Ranges(side.address).at[min(range, end)];
        ids = ivec2(min(ids.x, more.x), max(ids.y, more.y));
        range++;
    } while (range <= end);
    return ids;
}

bool segment_apart(ivec2 a, ivec2 b)
{
    return a.y < b.x || b.y < a.x;
}

/* The first row from `at` on, before `end`, whose range meets `ids`; `end` if there is none. */
uint segment_find(SegmentSide side, ivec2 ids, uint at, uint end)
{
    bool found = false;
    do {
        /* in bounds also for lanes that are off in the loop's last round */
        uint fine = min((side.first + at) / FINE_RANGE, side.fine_ranges - 1);
        uint coarse = fine / (COARSE_RANGE / FINE_RANGE);
        if (segment_apart(Ranges(side.address).at[side.fine_ranges + coarse], ids))
            at = (coarse + 1) * COARSE_RANGE - side.first;
        else if (segment_apart(Ranges(side.address).at[fine], ids))
            at = (fine + 1) * FINE_RANGE - side.first;
        else
            found = true;
    } while (!found && at < end);
    return min(at, end);
}

/* Where the range of row `at` ends. */
uint segment_run_end(SegmentSide side, uint at)
{
    return ((side.first + at) / FINE_RANGE + 1) * FINE_RANGE - side.first;
}

/* Whether pairs of row `at`'s range and `ids` must be looked at one by one. */
bool segment_is_mixed(SegmentSide side, ivec2 ids, uint at)
{
    ivec2 here = Ranges(side.address).at[min((side.first + at) / FINE_RANGE, side.fine_ranges - 1)];
    return !(ids.x == ids.y && here == ids);
}
