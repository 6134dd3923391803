/* SPDX-License-Identifier: MIT */
/*
 * Causal and window masks: what a row of the own side keeps of the other side is one interval, whose ends never fall from row to row.
 * Own row `own` keeps own + lower … own + upper, and not past a stair that follows `own` in causal blocks: queries (own) stop at the end of their block
 * of keys; keys (OWN_IS_KEY) start at the first query of their block.
 */

int stair_of(int own)
{
    uint block = arguments.causal_block;
    return arguments.stair + int((uint(own) + arguments.stair_phase) / block * block);
}

int band_first(int own, uint others)
{
    int first = own + arguments.lower;
#ifdef OWN_IS_KEY
    if (STAIRS)
        first = max(first, stair_of(own));
#endif
    return clamp(first, 0, int(others));
}

int band_end(int own, uint others)
{
    int last = own + arguments.upper;
#ifndef OWN_IS_KEY
    if (STAIRS)
        last = min(last, stair_of(own));
#endif
    return clamp(last + 1, 0, int(others));
}
