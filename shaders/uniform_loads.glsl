/* SPDX-License-Identifier: MIT */
/*
 * A row of the other side by loads of up to 64 bits whose addresses are the same in all lanes: lanes share own rows, and each keeps of what is
 * loaded for all of them the quad of its slice. For CPUs, where such a load is one instruction, and one from an address of each lane is one for
 * each lane and 32 bits, or a slow gather.
 */

layout(buffer_reference, scalar, buffer_reference_align = 8) readonly buffer Longs {
    uint64_t at[];
};

uint64_t slice_masks[LANES_PER_ROW]; /* all ones in the lanes of the slice, else 0 */

void find_slice_masks()
{
    [[unroll]] for (uint slice = 0; slice < LANES_PER_ROW; slice++)
        slice_masks[slice] = slice_of_lane() == slice ? ~uint64_t(0) : uint64_t(0);
}

/* Quad d of each lane's slice. Past the last it repeats that one. */
vec4 load_slices(uvec2 address, uint d, uint dim)
{
    uint last = (dim + 3) / 4 - 1;
#if defined(INT8_KEYS)
    uint word = 0;
    [[unroll]] for (uint slice = 0; slice < LANES_PER_ROW; slice++)
        word |= uint(Words(address).at[min(d * LANES_PER_ROW + slice, last)]) & uint(slice_masks[slice]);
    return integers_decode(int(word));
#elif defined(TYPE_F32)
    uint64_t low = 0, high = 0;
    [[unroll]] for (uint slice = 0; slice < LANES_PER_ROW; slice++) {
        uint quad = min(d * LANES_PER_ROW + slice, last);
        low |= Longs(address).at[2 * quad] & slice_masks[slice];
        high |= Longs(address).at[2 * quad + 1] & slice_masks[slice];
    }
    return uintBitsToFloat(uvec4(unpackUint2x32(low), unpackUint2x32(high)));
#else
    uint64_t quad = 0;
    [[unroll]] for (uint slice = 0; slice < LANES_PER_ROW; slice++)
        quad |= Longs(address).at[min(d * LANES_PER_ROW + slice, last)] & slice_masks[slice];
    return quad_decode(unpackUint2x32(quad));
#endif
}
