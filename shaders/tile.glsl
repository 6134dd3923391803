/* SPDX-License-Identifier: MIT */
/*
 * A workgroup's tile of rows, and quads of elements in the registers of its lanes.
 *
 * A workgroup (x: tile of rows, y: head, z: batch entry) owns TILE_ROWS rows. LANES_PER_ROW neighbouring lanes share each row: lane `slice` of them
 * holds every LANES_PER_ROW-th quad in registers. Lanes past the last row compute that one again and write nothing.
 * With PACKED_HEADS y stands for so many heads, and a tile has the rows of each: row by row, and of a row head by head. With KEY_HEADS these share so
 * many key/value heads, and each of those has lanes of its own: LANES_PER_ROW for a row, then as many of the next key head. With SPLITS z also counts
 * splits, batch entry by batch entry of each: neighbours read the same keys of other heads.
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

/* Always true, with PARTS_APART by a condition that is each part's own: compilers join ifs of the same one, and keep the sums of all parts in an if twice. */
bool part_apart(uint i)
{
    return !PARTS_APART || arguments.causal_block != ~i;
}

#ifdef MATRIX
const uint ROW_SUBGROUPS = SUBGROUPS / COLUMN_PARTS * ROW_PARTS; /* that look at pairs */
const uint SUBGROUP_ROWS = TILE_ROWS / ROW_SUBGROUPS;

/*
 * With PARTS_APART what follows from a lane's place is found anew each time, by a zero that compilers don't know: they would keep all that they can make
 * of it in registers.
 */
shared uint zero;

void hide_zero()
{
    if (PARTS_APART) {
        zero = 0;
        barrier();
    }
}

uint unknown_zero()
{
    return PARTS_APART ? zero : 0;
}

/* As arguments; with PARTS_APART they are read again. */
Arguments arguments_anew()
{
    return Arguments(address_add(uvec2(arguments), unknown_zero()));
}

uint slice_of_lane()
{
    return (gl_SubgroupInvocationID + unknown_zero()) % LANES_PER_ROW;
}

/* Whether the subgroup looks at pairs of its rows; if not they are those of another, which does. */
bool looks_at_pairs()
{
    return ROW_PARTS < COLUMN_PARTS ? (gl_SubgroupID + unknown_zero()) % COLUMN_PARTS < ROW_PARTS : true;
}

/* Whether the lane is the one that tells of its rows. */
bool tells_of_rows()
{
    return looks_at_pairs() && slice_of_lane() == 0;
}

/* Among subgroups that look at pairs. */
uint subgroup_of_rows()
{
    return ROW_PARTS < COLUMN_PARTS ? gl_SubgroupID / COLUMN_PARTS * ROW_PARTS + gl_SubgroupID % ROW_PARTS : gl_SubgroupID;
}

/* The row of the tile that slot r of this lane holds: those of a subgroup follow each other. No heads are packed. */
uint slot_of(uint r)
{
    return subgroup_of_rows() * SUBGROUP_ROWS + r * (ROW_LANES / ROW_SUBGROUPS) + gl_SubgroupInvocationID / LANES_PER_ROW;
}
#else
uint unknown_zero()
{
    return 0;
}

Arguments arguments_anew()
{
    return arguments;
}

uint slice_of_lane()
{
    return gl_LocalInvocationID.x % LANES_PER_ROW;
}

/* What slot r of this lane holds: a row of the tile, and a head of those that share its key head. */
uint slot_of(uint r)
{
    return r * (ROW_LANES / KEY_HEADS) + gl_LocalInvocationID.x / (LANES_PER_ROW * KEY_HEADS);
}
#endif

const uint HEADS_OF_KEYS = PACKED_HEADS / KEY_HEADS; /* that are packed, of each key head */

/* Of the workgroup's. */
uint key_head_of_lane()
{
    return KEY_HEADS > 1 ? gl_LocalInvocationID.x / LANES_PER_ROW % KEY_HEADS : 0;
}

uint row_of(uint r)
{
    return slot_of(r) / HEADS_OF_KEYS;
}

uint packed_head_of(uint r)
{
    return key_head_of_lane() * HEADS_OF_KEYS + slot_of(r) % HEADS_OF_KEYS;
}

/* Of the heads of the dispatch, the workgroup's first. */
uint own_head_index()
{
    return gl_WorkGroupID.y * PACKED_HEADS;
}

uint batch_entry()
{
    return SPLITS ? gl_WorkGroupID.z % arguments.entries : gl_WorkGroupID.z;
}

uint split_of_keys()
{
    return SPLITS ? gl_WorkGroupID.z / arguments.entries : 0;
}

/* With a band the tiles with the most keys start first, so that they don't run alone at the end. */
uint query_tile()
{
    return BAND ? gl_NumWorkGroups.x - 1 - gl_WorkGroupID.x : gl_WorkGroupID.x;
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
    return rows_address(rows, batch_entry(), head);
}

/* The first row of a tile in the workgroup's first head and its batch entry. */
uvec2 tile_address(Rows rows, uint tile)
{
    return address_advance(head_address(rows, own_head_index()), rows.row_stride, tile * TILE_ROWS);
}

/* From there, in elements, to a row of the tile in one of the heads that are packed. */
uint row_index(Rows rows, uint packed_head, uint row, uint element_bytes)
{
    uint index = row * (rows.row_stride.x / element_bytes);
    return PACKED_HEADS > 1 ? index + packed_head * (rows.head_stride.x / element_bytes) : index;
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

/* Of sums that others add to, if PARTIAL. */
void store_partial(uvec2 address, uint first, uint quad, uint dim, vec4 sum)
{
    if (PARTIAL)
        store_floats(address, first, quad, dim, sum);
    else
        store_quad(address, first, quad, dim, sum);
}

/* Adds to floats. */
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

#ifdef INT8_KEYS
layout(buffer_reference, scalar, buffer_reference_align = 4) readonly buffer Words {
    int at[];
};

/* Four integers of 8 bits. */
vec4 integers_decode(int word)
{
    return vec4(ivec4(word << 24, word << 16, word << 8, word) >> 24);
}

/* Elements past the last are zeros. */
vec4 load_walked_quad(uvec2 address, uint quad, uint dim)
{
    return integers_decode(Words(address).at[min(quad, (dim + 3) / 4 - 1)]);
}
#else
vec4 load_walked_quad(uvec2 address, uint quad, uint dim)
{
    return load_quad(address, 0, quad, dim);
}
#endif

#ifdef UNIFORM_LOADS
#include "uniform_loads.glsl"
#endif

/*
 * Quad d of the lane's slice of a row of the other side, by row k of the step; d goes up from 0. With BROADCAST the row is the same in all lanes:
 * each lane reads a quad of it, once for as many quads as there are lanes. Drivers that read an address once for each lane, even if all lanes have
 * the same, read a row once for all lanes so.
 */
#if !defined(NO_SHUFFLE) && !defined(UNIFORM_LOADS)
vec4 read_together[STEP];
#endif

vec4 load_other_quad(uint k, uvec2 address, uint d, uint dim)
{
#ifdef UNIFORM_LOADS
    return load_parts(address, d, dim);
#else
#ifndef NO_SHUFFLE
    if (BROADCAST) {
        uint lane = d % gl_WorkGroupSize.x;
        if (lane == 0)
            read_together[k] = load_walked_quad(address, d + gl_LocalInvocationID.x, dim);
        return subgroupShuffle(read_together[k], lane);
    }
#endif
    return load_walked_quad(address, d * LANES_PER_ROW + slice_of_lane(), dim);
#endif
}
