/* SPDX-License-Identifier: MIT */
/*
 * The rows that a lane owns, in registers or with FEW_REGISTERS where they are, and their dot products with rows of the other side. Row slot r is in
 * quads [r · LANE_…_QUADS, …).
 */

vec4 own_head[ROWS_PER_LANE * LANE_HEAD_QUADS];   /* of head_dim: queries or keys */
vec4 own_value[ROWS_PER_LANE * LANE_VALUE_QUADS]; /* of value_dim: gradients of outputs, or values */

/* With FEW_REGISTERS: the tile, and the element at which row slot r begins. */
uvec2 own_head_tile, own_value_tile;
uint own_head_first[ROWS_PER_LANE], own_value_first[ROWS_PER_LANE];

float head_dot[ROWS_PER_LANE * STEP];
float value_dot[ROWS_PER_LANE * STEP];

vec4 load_own_head_quad(uint r, uint d)
{
    return load_own_quad(own_head_tile, own_head_first[r], d * LANES_PER_ROW + slice_of_lane(), HEAD_DIM);
}

vec4 load_own_value_quad(uint r, uint d)
{
    return load_own_quad(own_value_tile, own_value_first[r], d * LANES_PER_ROW + slice_of_lane(), VALUE_DIM);
}

void load_own_head(Rows rows, uint tile, uint last_row)
{
    own_head_tile = tile_address(rows, tile);
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
        own_head_first[r] = row_index(rows, packed_head_of(r), min(row_of(r), last_row), ELEMENT_BYTES);
        if (!FEW_REGISTERS) {
            [[unroll]] for (uint d = 0; d < LANE_HEAD_QUADS; d++)
                own_head[r * LANE_HEAD_QUADS + d] = load_own_head_quad(r, d);
        }
    }
}

void load_own_value(Rows rows, uint tile, uint last_row)
{
    uint stride = rows.row_stride.x / ELEMENT_BYTES;
    own_value_tile = tile_address(rows, tile);
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
        own_value_first[r] = min(row_of(r), last_row) * stride;
        if (!FEW_REGISTERS) {
            [[unroll]] for (uint d = 0; d < LANE_VALUE_QUADS; d++)
                own_value[r * LANE_VALUE_QUADS + d] = load_own_value_quad(r, d);
        }
    }
}

/* Fills head_dot[] for STEP rows from the address on, of which `left` are there. */
void dot_heads(uvec2 rows, uint stride, uint left)
{
    uvec2 address[STEP];
    [[unroll]] for (uint k = 0; k < STEP; k++)
        address[k] = row_address(rows, stride, k, left);
    [[unroll]] for (uint i = 0; i < ROWS_PER_LANE * STEP; i++)
        head_dot[i] = 0;
    [[unroll]] for (uint d = 0; d < LANE_HEAD_QUADS; d++) {
        if (apart()) {
            vec4 own[ROWS_PER_LANE];
            [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
                own[r] = FEW_REGISTERS ? load_own_head_quad(r, d) : own_head[r * LANE_HEAD_QUADS + d];
            [[unroll]] for (uint k = 0; k < STEP; k++) {
                vec4 other = load_other_quad(k, address[k], d, HEAD_DIM);
                [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
                    head_dot[r * STEP + k] = add_products(head_dot[r * STEP + k], own[r], other);
            }
        }
    }
#ifndef NO_SHUFFLE
    [[unroll]] for (uint apart = 1; apart < LANES_PER_ROW; apart *= 2)
        [[unroll]] for (uint i = 0; i < ROWS_PER_LANE * STEP; i++)
            head_dot[i] += subgroupShuffleXor(head_dot[i], apart);
#endif
}

/* The same for value_dot[]. */
void dot_values(uvec2 rows, uint stride, uint left)
{
    uvec2 address[STEP];
    [[unroll]] for (uint k = 0; k < STEP; k++)
        address[k] = row_address(rows, stride, k, left);
    [[unroll]] for (uint i = 0; i < ROWS_PER_LANE * STEP; i++)
        value_dot[i] = 0;
    [[unroll]] for (uint d = 0; d < LANE_VALUE_QUADS; d++) {
        if (apart()) {
            vec4 own[ROWS_PER_LANE];
            [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
                own[r] = FEW_REGISTERS ? load_own_value_quad(r, d) : own_value[r * LANE_VALUE_QUADS + d];
            [[unroll]] for (uint k = 0; k < STEP; k++) {
                vec4 other = load_other_quad(k, address[k], d, VALUE_DIM);
                [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
                    value_dot[r * STEP + k] = add_products(value_dot[r * STEP + k], own[r], other);
            }
        }
    }
#ifndef NO_SHUFFLE
    [[unroll]] for (uint apart = 1; apart < LANES_PER_ROW; apart *= 2)
        [[unroll]] for (uint i = 0; i < ROWS_PER_LANE * STEP; i++)
            value_dot[i] += subgroupShuffleXor(value_dot[i], apart);
#endif
}
