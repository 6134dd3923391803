/* SPDX-License-Identifier: MIT */
/*
 * Causal and window masks: what a row of the own side keeps of the other side is one interval, whose ends never fall from row to row.
 * By positions, counted from row 0 of each side, an own row at p keeps p + lower … p + upper, and not past a stair that follows p in causal blocks:
 * queries (own) stop at the end of their block of keys; keys (OWN_IS_KEY) start at the first query of their block.
 */

int own_place(int own)
{
#ifdef OWN_IS_KEY
    return key_place(own);
#else
    return query_place(own);
#endif
}

uint other_stride()
{
#ifdef OWN_IS_KEY
    return arguments.query_stride;
#else
    return arguments.key_stride;
#endif
}

/* The first row of the other side at a place or after it. */
int other_from(int place)
{
    return STRIDED ? int((uint(max(place, 0)) + other_stride() - 1) / other_stride()) : place;
}

int stair_of(int place)
{
    uint block = arguments.causal_block;
    return arguments.stair + int((uint(place) + arguments.stair_phase) / block * block);
}

int band_first(int own, uint others)
{
    int first = own_place(own) + arguments.lower;
#ifdef OWN_IS_KEY
    if (STAIRS)
        first = max(first, stair_of(own_place(own)));
#endif
    return clamp(other_from(first), 0, int(others));
}

int band_end(int own, uint others)
{
    int last = own_place(own) + arguments.upper;
#ifndef OWN_IS_KEY
    if (STAIRS)
        last = min(last, stair_of(own_place(own)));
#endif
    return clamp(other_from(last + 1), 0, int(others));
}
