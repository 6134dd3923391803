/* SPDX-License-Identifier: MIT */
/* Segment ids: a pair is kept if both have the same. What a tile walks over, by the tables of segment_tables.glsl. */

#include "segment_tables.glsl"

layout(buffer_reference, scalar, buffer_reference_align = 4) readonly buffer Ids {
    int at[];
};

/* The tables of one batch entry, of at least one range; row `first` of them is row 0 of the dispatch. */
struct SegmentSide {
    uvec2 address;
    uint fine_ranges;
    uint first;
};

SegmentSide segment_side(Rows ranges, uint fine_ranges, uint first)
{
    return SegmentSide(address_advance(ranges.address, ranges.batch_stride, batch_entry()), fine_ranges, first);
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

/* Where the other side begins and ends for rows first … last: rows of its tables. */
uvec2 segment_bounds(SegmentSide side, uint first, uint last)
{
    uint tables = side.fine_ranges + (side.fine_ranges + FINE_OF_COARSE - 1) / FINE_OF_COARSE;
    uint range = (side.first + first) / FINE_RANGE, end = (side.first + last) / FINE_RANGE;
    uvec2 bounds = uvec2(0xffffffffu, 0);
    do {
        uvec2 more = uvec2(Ranges(side.address).at[tables + min(range, end)]);
        bounds = more.x < more.y ? uvec2(min(bounds.x, more.x), max(bounds.y, more.y)) : bounds;
        range++;
    } while (range <= end);
    return bounds;
}

/* The first row from `at` on, before `end`, whose range meets `ids`; `end` if there is none. */
uint segment_find(SegmentSide side, ivec2 ids, uint at, uint end)
{
    bool found = false;
    do {
        /* in bounds also for lanes that are off in the loop's last round */
        uint fine = min((side.first + at) / FINE_RANGE, side.fine_ranges - 1);
        uint coarse = fine / FINE_OF_COARSE;
        if (segment_apart(Ranges(side.address).at[side.fine_ranges + coarse], ids))
            at = (coarse + 1) * COARSE_RANGE - side.first;
        else if (segment_apart(Ranges(side.address).at[fine], ids))
            at = (fine + 1) * FINE_RANGE - side.first;
        else
            found = true;
    } while (!found && at < end);
    return min(at, end);
}

/*
 * How far rows from `at` on are alike: to the end of their coarse range if all of it has the one id of the tile, else of their fine range.
 * mixed: their pairs must be looked at one by one.
 */
uint segment_run_end(SegmentSide side, ivec2 ids, uint at, out bool mixed)
{
    uint fine = min((side.first + at) / FINE_RANGE, side.fine_ranges - 1);
    uint coarse = fine / FINE_OF_COARSE;
    bool alike = ids.x == ids.y && Ranges(side.address).at[side.fine_ranges + coarse] == ids;
    mixed = !(ids.x == ids.y && Ranges(side.address).at[fine] == ids);
    return (alike ? (coarse + 1) * COARSE_RANGE : (fine + 1) * FINE_RANGE) - side.first;
}
