/* SPDX-License-Identifier: MIT */
/* Query rows that a lane owns: what of the keys each keeps, and its scores. For kernels that walk over keys (forward, query_gradient). */

struct QueryRow {
    int band_first, band_end; /* with BAND */
    int id;                   /* with SEGMENTS */
    int alibi;                /* with ALIBI */
    uint bias;                /* with BIAS: where the row begins */
    uint place;               /* with DROPOUT */
    uint head;                /* of all query heads */
    float slope;              /* with ALIBI */
};

QueryRow query_rows[ROWS_PER_LANE]; /* of the lane's row slots */
uvec2 bias_address;
uvec2 key_ids_address;

/* Of a tile, the last that is there. */
uint last_query_row(uint tile)
{
    return min(TILE_ROWS, arguments.rows - tile * TILE_ROWS) - 1;
}

/* Of a tile: a row that is there, in one of the heads that are packed. */
QueryRow query_row(uint tile, uint row, uint packed_head)
{
    QueryRow q;
    int own = int(tile * TILE_ROWS + row);
    q.head = arguments.first_head + own_head_index() + packed_head;
    q.slope = score_slope(q.head);
    q.band_first = BAND ? band_first(own, arguments.keys) : 0;
    q.band_end = BAND ? band_end(own, arguments.keys) : 0;
    q.id = SEGMENTS ? Ids(head_address(arguments.query_ids, 0)).at[uint(own)] : 0;
    q.alibi = ALIBI ? alibi_position(own) : 0;
    q.bias = row_index(arguments.bias, packed_head, row, BIAS_F32 ? 4 : ELEMENT_BYTES);
    q.place = uint(query_place(own));
    return q;
}

void load_query_rows(uint tile, uint last_row)
{
    bias_address = BIAS ? tile_address(arguments.bias, tile) : uvec2(0);
    key_ids_address = head_address(arguments.key_ids, 0);
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
        query_rows[r] = query_row(tile, min(row_of(r), last_row), packed_head_of(r));
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

/* Whether a row drops the key at a place. */
bool key_is_dropped(QueryRow q, uint place)
{
    uint word = arguments.key_phase + place;
    return dropout_quad(word / 4, q.place, q.head, batch_entry())[word % 4];
}

/* Bit k: row slot r drops key at + k. */
uint dropped_keys(uint r, uint at)
{
    if (STRIDED) {
        uint each = 0;
        [[unroll]] for (uint k = 0; k < STEP; k++)
            each |= (key_is_dropped(query_rows[r], uint(key_place(int(at + k)))) ? 1u : 0u) << k;
        return each;
    }
    uint first = (arguments.key_phase + at) / DROPOUT_WINDOW * DROPOUT_WINDOW, bits = 0;
    [[unroll]] for (uint quad = 0; quad < DROPOUT_WINDOW / 4; quad++) {
        bvec4 dropped = dropout_quad(first / 4 + quad, query_rows[r].place, query_rows[r].head, batch_entry());
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

/* Bias of a row for key at + k, of which `left` are there. */
float bias_of_key(QueryRow q, uint at, uint k, uint left)
{
    uint key = key_that_is_there(at, k, left);
    return bias_load(bias_address, BIAS_PER_QUERY ? q.bias + bias_column(key) : key);
}

bool key_is_kept(QueryRow q, uint at, uint k, uint left)
{
    int key = int(at + k);
    bool kept = k < left;
    if (BAND)
        kept = kept && key >= q.band_first && key < q.band_end;
    if (SEGMENTS)
        kept = kept && Ids(key_ids_address).at[key_that_is_there(at, k, left)] == q.id;
    return kept;
}

/* The score of a row with key at + k, of which `left` are there, as if it were kept; but for a bias that masks. */
float score_of_key(QueryRow q, float dot, uint at, uint k, uint left, out float derivative)
{
    float bias = BIAS ? bias_of_key(q, at, k, left) : 0.0;
    int distance = ALIBI ? abs(q.alibi - key_place(int(at + k))) : 0;
    float score = score_of(dot, q.slope, distance, bias, derivative);
    return BIAS && bias_masks(bias) ? SCORE_MASKED : score;
}

/* Turns head_dot[] of row slot r into scores; those of pairs that are not kept into SCORE_MASKED. whole: all STEP are kept, but for a bias. */
void finish_scores(uint r, uint at, uint left, bool whole, out float derivatives[STEP])
{
    [[unroll]] for (uint k = 0; k < STEP; k++)
        head_dot[r * STEP + k] = score_of_key(query_rows[r], head_dot[r * STEP + k], at, k, left, derivatives[k]);
    if (!whole) {
        [[unroll]] for (uint k = 0; k < STEP; k++)
            head_dot[r * STEP + k] = key_is_kept(query_rows[r], at, k, left) ? head_dot[r * STEP + k] : SCORE_MASKED;
    }
}
