/* SPDX-License-Identifier: MIT */
/*
 * A workgroup's tile of rows, and quads of elements in the registers of its lanes.
 *
 * A workgroup (x: tile of rows, y: head, z: batch entry) owns TILE_ROWS rows. LANES_PER_ROW neighbouring lanes share each row: lane `slice` of them
 * holds every LANES_PER_ROW-th quad in registers. Lanes past the last row compute that one again and write nothing.
 */

layout(buffer_reference, scalar, buffer_reference_align = 4) buffer Floats {
    float at[];
};
layout(buffer_reference, scalar, buffer_reference_align = 16) buffer FloatQuads {
    vec4 at[];
};

/*
 * Always true, which compilers don't know. LLVM spills most registers where more than about a thousand multiply-adds follow each other without a
 * branch: what sums of products come after each other stand in ifs of their own, but for the last, twice as fast on llvmpipe.
 */
bool always()
{
    return arguments.causal_block != 0;
}

/* The same, but for a quad of many rows: with FEW_REGISTERS compilers are kept from loading several ahead. */
bool apart()
{
    return !FEW_REGISTERS || always();
}

uint slice_of_lane()
{
    return gl_LocalInvocationID.x % LANES_PER_ROW;
}

/* The row of the tile that slot r of this lane holds. */
uint row_of(uint r)
{
    return r * ROW_LANES + gl_LocalInvocationID.x / LANES_PER_ROW;
}

bool is_there(Rows rows)
{
    return (rows.address.x | rows.address.y) != 0;
}

uvec2 rows_address(Rows rows, uint batch, uint head)
{
    return address_advance(address_advance(rows.address, rows.batch_stride, batch), rows.head_stride, head);
}

uvec2 head_address(Rows rows, uint head)
{
    return rows_address(rows, gl_WorkGroupID.z, head);
}

/* The first row of a tile in the workgroup's head and batch entry. */
uvec2 tile_address(Rows rows, uint tile)
{
    return address_advance(head_address(rows, gl_WorkGroupID.y), rows.row_stride, tile * TILE_ROWS);
}

/*
 * Quad `quad` of the `dim` elements at index `first` (in elements) from the address. Past the last element it repeats that one.
 * Addresses are the same in all lanes, and lanes differ in 32-bit indices: cheaper everywhere, and llvmpipe with 512-bit vectors breaks on the other way.
 */
vec4 load_quad(uvec2 address, uint first, uint quad, uint dim)
{
    if (ALIGNED)
        return quad_decode(Quads(address).at[first / 4 + min(quad, dim / 4 - 1)]);
    Elements from = Elements(address);
    return vec4(element_decode(from.at[first + min(4 * quad + 0, dim - 1)]), element_decode(from.at[first + min(4 * quad + 1, dim - 1)]),
                element_decode(from.at[first + min(4 * quad + 2, dim - 1)]), element_decode(from.at[first + min(4 * quad + 3, dim - 1)]));
}

/* The same with zeros past the last element: products with what load_quad repeats vanish. */
vec4 load_own_quad(uvec2 address, uint first, uint quad, uint dim)
{
    return mix(vec4(0), load_quad(address, first, quad, dim), lessThan(uvec4(4 * quad) + uvec4(0, 1, 2, 3), uvec4(dim)));
}

/*
 * Fused multiply-adds in one order, whichever side is in registers: backward needs the bits that forward had, since exp of a large score shows the last;
 * and where a row keeps one key, delta is to be its product with the gradient of the output to the bit.
 */
float add_products(float sum, vec4 a, vec4 b)
{
    sum = fma(a.x, b.x, sum);
    sum = fma(a.y, b.y, sum);
    sum = fma(a.z, b.z, sum);
    return fma(a.w, b.w, sum);
}

void store_quad(uvec2 address, uint first, uint quad, uint dim, vec4 values)
{
    if (ALIGNED) {
        if (quad < dim / 4)
            OutQuads(address).at[first / 4 + quad] = quad_encode(values);
        return;
    }
    OutElements to = OutElements(address);
    [[unroll]] for (uint c = 0; c < 4; c++)
        if (4 * quad + c < dim)
            to.at[first + 4 * quad + c] = element_encode(values[c]);
}

/* The same for a tensor of f32, whatever the elements are. */
void store_floats(uvec2 address, uint first, uint quad, uint dim, vec4 values)
{
    if (ALIGNED) {
        if (quad < dim / 4)
            FloatQuads(address).at[first / 4 + quad] = values;
        return;
    }
    [[unroll]] for (uint c = 0; c < 4; c++)
        if (4 * quad + c < dim)
            Floats(address).at[first + 4 * quad + c] = values[c];
}

/* Adds to them. */
void add_to_floats(uvec2 address, uint first, uint quad, uint dim, vec4 values)
{
    if (ALIGNED) {
        if (quad < dim / 4)
            FloatQuads(address).at[first / 4 + quad] += values;
        return;
    }
    [[unroll]] for (uint c = 0; c < 4; c++)
        if (4 * quad + c < dim)
            Floats(address).at[first + 4 * quad + c] += values[c];
}

/* Row k of the rows from `first` on; past the first `left` it repeats the last of those. Computed once for each row, so that loads add only constants. */
uvec2 row_address(uvec2 first, uint stride_bytes, uint k, uint left)
{
    return address_add(first, min(k, left - 1) * stride_bytes);
}
