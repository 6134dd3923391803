/* SPDX-License-Identifier: MIT */
/*
 * Rows of the other side by loads of up to 64 bits whose addresses are the same in all lanes: lanes share own rows, and each keeps of what is
 * loaded for all of them the quad of its slice. For CPUs, where such a load is one instruction, and one from an address of each lane is one for
 * each lane and 32 bits, or a slow gather. With KEY_HEADS it is the rows of so many heads, which as a rule lie side by side.
 */

layout(buffer_reference, scalar, buffer_reference_align = 8) readonly buffer Longs {
    uint64_t at[];
};

const uint PARTS = LANES_PER_ROW * KEY_HEADS; /* the slices of a row of one head, then those of the next */

uint64_t part_masks[PARTS]; /* all ones in the lanes of the part, else 0 */

uvec2 between_heads; /* the stride of heads of what is loaded */

void find_part_masks()
{
    [[unroll]] for (uint part = 0; part < PARTS; part++)
        part_masks[part] = gl_LocalInvocationID.x % PARTS == part ? ~uint64_t(0) : uint64_t(0);
}

uvec2 part_address(uvec2 address, uint part)
{
    return KEY_HEADS > 1 ? address_advance(address, between_heads, part / LANES_PER_ROW) : address;
}

#ifdef INT8_KEYS
/* A float of each lane's head; between_heads is the stride of those. */
float load_of_heads(uvec2 address)
{
    uint each = 0;
    [[unroll]] for (uint part = 0; part < PARTS; part += LANES_PER_ROW)
        each |= key_head_of_lane() == part / LANES_PER_ROW ? floatBitsToUint(Floats(part_address(address, part)).at[0]) : 0;
    return uintBitsToFloat(each);
}
#else
/* The i-th so many elements of the `dim` at an address, one by one where these may lie at any. Past the last it repeats that one. */
uint64_t load_long(uvec2 address, uint i, uint dim)
{
    if (ALIGNED)
        return Longs(address).at[i];
    Elements from = Elements(address);
#ifdef TYPE_F32
    return packUint2x32(floatBitsToUint(vec2(from.at[min(2 * i, dim - 1)], from.at[min(2 * i + 1, dim - 1)])));
#else
    uvec4 each = uvec4(from.at[min(4 * i, dim - 1)], from.at[min(4 * i + 1, dim - 1)], from.at[min(4 * i + 2, dim - 1)],
                       from.at[min(4 * i + 3, dim - 1)]);
    return packUint2x32(each.xz | each.yw << 16);
#endif
}
#endif

/* Which quad of its head's row a part has, past the last that one. */
uint quad_of_part(uint d, uint part, uint dim)
{
    return min(d * LANES_PER_ROW + part % LANES_PER_ROW, (dim + 3) / 4 - 1);
}

/* Quad d of each lane's slice of its head's row. */
vec4 load_parts(uvec2 address, uint d, uint dim)
{
#if defined(INT8_KEYS)
    uint word = 0;
    [[unroll]] for (uint part = 0; part < PARTS; part++)
        word |= uint(Words(part_address(address, part)).at[quad_of_part(d, part, dim)]) & uint(part_masks[part]);
    return integers_decode(int(word));
#elif defined(TYPE_F32)
    uint64_t low = 0, high = 0;
    [[unroll]] for (uint part = 0; part < PARTS; part++) {
        uint quad = quad_of_part(d, part, dim);
        low |= load_long(part_address(address, part), 2 * quad, dim) & part_masks[part];
        high |= load_long(part_address(address, part), 2 * quad + 1, dim) & part_masks[part];
    }
    return uintBitsToFloat(uvec4(unpackUint2x32(low), unpackUint2x32(high)));
#else
    uint64_t quad = 0;
    [[unroll]] for (uint part = 0; part < PARTS; part++)
        quad |= load_long(part_address(address, part), quad_of_part(d, part, dim), dim) & part_masks[part];
    return quad_decode(unpackUint2x32(quad));
#endif
}
