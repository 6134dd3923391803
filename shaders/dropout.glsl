/* SPDX-License-Identifier: MIT */
/* Dropout as a function of position: Philox4x32-10 (Salmon, Moraes, Dror & Shaw 2011). */

uvec4 philox_round(uvec4 counter, uvec2 key)
{
    uvec2 high, low;
    umulExtended(uvec2(0xD2511F53u, 0xCD9E8D57u), counter.xz, high, low);
    return uvec4(high.y ^ counter.y ^ key.x, low.y, high.x ^ counter.w ^ key.y, low.x);
}

const uvec2 PHILOX_WEYL = uvec2(0x9E3779B9u, 0xBB67AE85u);

/* With PARTS_APART round by round: compilers would hold the keys of all rounds. */
uvec4 philox(uvec4 counter, uvec2 key)
{
    if (PARTS_APART) {
        int i = 0;
        [[dont_unroll]] do {
            counter = philox_round(counter, key);
            key += PHILOX_WEYL;
            i++;
        } while (i < 10);
        return counter;
    }
    [[unroll]] for (int i = 0; i < 10; i++) {
        counter = philox_round(counter, key);
        key += PHILOX_WEYL;
    }
    return counter;
}

/* Which of the four keys of a quad are dropped for a query row at a place. Quads are counted from that of key 0, batch entries from the dispatch's first. */
bvec4 dropout_quad(uint quad, uint place, uint head, uint batch)
{
    uvec4 counter = uvec4(arguments.key_quad + quad, arguments.query_position + place, head, arguments.first_batch + batch);
    return lessThan(philox(counter, arguments.seed), uvec4(arguments.dropout_threshold));
}
