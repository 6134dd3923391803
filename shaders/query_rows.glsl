/* SPDX-License-Identifier: MIT */
/* Query rows that a lane owns: what of the keys each keeps, and its scores. For kernels that walk over keys (forward, query_gradient). */

int band_first_of[ROWS_PER_LANE], band_end_of[ROWS_PER_LANE]; /* with BAND */
int id_of[ROWS_PER_LANE];                                     /* with SEGMENTS */
int alibi_of[ROWS_PER_LANE];                                  /* with ALIBI */
uint bias_of[ROWS_PER_LANE];                                  /* with BIAS: where the row begins */
uint place_of[ROWS_PER_LANE];                                 /* with DROPOUT */
uint head_of[ROWS_PER_LANE];                                  /* of all query heads */
float slope_of[ROWS_PER_LANE];                                /* with ALIBI */
uvec2 bias_address;
uvec2 key_ids_address;

void load_query_rows(uint tile, uint last_row)
{
    bias_address = BIAS ? tile_address(arguments.bias, tile) : uvec2(0);
    key_ids_address = head_address(arguments.key_ids, 0);
    uvec2 ids = head_address(arguments.query_ids, 0);
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
        uint row = min(row_of(r), last_row);
        head_of[r] = arguments.first_head + own_head_index() + packed_head_of(r);
        slope_of[r] = score_slope(head_of[r]);
        int own = int(tile * TILE_ROWS + row);
        band_first_of[r] = BAND ? band_first(own, arguments.keys) : 0;
        band_end_of[r] = BAND ? band_end(own, arguments.keys) : 0;
        id_of[r] = SEGMENTS ? Ids(ids).at[uint(own)] : 0;
        alibi_of[r] = ALIBI ? alibi_position(own) : 0;
        bias_of[r] = row_index(arguments.bias, r, row, BIAS_F32 ? 4 : ELEMENT_BYTES);
        place_of[r] = uint(query_place(own));
    }
}

Walk walk_of_queries(uint tile, uint last_row)
{
    uint kv_head = (arguments.first_head + own_head_index()) / arguments.heads_per_kv_head;
    Walk w = walk_of_tile(tile, last_row + 1);
    w.a = head_address(arguments.key, kv_head);
    w.b = head_address(arguments.value, kv_head);
    w.a_stride = arguments.key.row_stride;
    w.b_stride = arguments.value.row_stride;
    walk_take_split(w);
    return w;
}

/* Dropout looks at keys in quads, if they follow each other: a step must not leave the quads that one mask of dropped_keys covers. */
const uint DROPOUT_WINDOW = STEP < 4 ? 4 : STEP;

uint walk_limit(uint at)
{
    uint past = (arguments.key_phase + at) % DROPOUT_WINDOW;
    return STRIDED || (past == 0 && WALK_STEP > DROPOUT_WINDOW) ? WALK_STEP : DROPOUT_WINDOW - past;
}

/* Whether row slot r drops the key at a place. */
bool key_is_dropped(uint r, uint place)
{
    uint word = arguments.key_phase + place;
    return dropout_quad(word / 4, place_of[r], head_of[r], batch_entry())[word % 4];
}

/* Bit k: row slot r drops key at + k. */
uint dropped_keys(uint r, uint at)
{
    if (STRIDED) {
        uint each = 0;
        [[unroll]] for (uint k = 0; k < STEP; k++)
            each |= (key_is_dropped(r, uint(key_place(int(at + k)))) ? 1u : 0u) << k;
        return each;
    }
    uint first = (arguments.key_phase + at) / DROPOUT_WINDOW * DROPOUT_WINDOW, bits = 0;
    [[unroll]] for (uint quad = 0; quad < DROPOUT_WINDOW / 4; quad++) {
        bvec4 dropped = dropout_quad(first / 4 + quad, place_of[r], head_of[r], batch_entry());
        [[unroll]] for (uint c = 0; c < 4; c++)
            bits |= (dropped[c] ? 1u : 0u) << (4 * quad + c);
    }
    return bits >> ((arguments.key_phase + at) - first);
}

/* Key at + k, or the last of `left`. On matrix units there may be none: then the last of all. */
uint key_that_is_there(uint at, uint k, uint left)
{
#ifdef MATRIX
    return min(at + k, arguments.keys - 1);
#else
    return at + min(k, left - 1);
#endif
}

/* Bias of row slot r for key at + k, of which `left` are there. */
float bias_of_key(uint r, uint at, uint k, uint left)
{
    uint key = key_that_is_there(at, k, left);
    return bias_load(bias_address, BIAS_PER_QUERY ? bias_of[r] + bias_column(key) : key);
}

bool key_is_kept(uint r, uint at, uint k, uint left)
{
    int key = int(at + k);
    bool kept = k < left;
    if (BAND)
        kept = kept && key >= band_first_of[r] && key < band_end_of[r];
    if (SEGMENTS)
        kept = kept && Ids(key_ids_address).at[key_that_is_there(at, k, left)] == id_of[r];
    return kept;
}

/* Turns head_dot[] of row slot r into scores; those of pairs that are not kept into SCORE_MASKED. whole: all STEP are kept, but for a bias. */
void finish_scores(uint r, uint at, uint left, bool whole, out float derivatives[STEP])
{
    [[unroll]] for (uint k = 0; k < STEP; k++) {
        float bias = BIAS ? bias_of_key(r, at, k, left) : 0.0;
        int distance = ALIBI ? abs(alibi_of[r] - key_place(int(at + k))) : 0;
        float score = score_of(head_dot[r * STEP + k], slope_of[r], distance, bias, derivatives[k]);
        head_dot[r * STEP + k] = BIAS && bias_masks(bias) ? SCORE_MASKED : score;
    }
    if (!whole) {
        [[unroll]] for (uint k = 0; k < STEP; k++)
            head_dot[r * STEP + k] = key_is_kept(r, at, k, left) ? head_dot[r * STEP + k] : SCORE_MASKED;
    }
}
