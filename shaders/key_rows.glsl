/* SPDX-License-Identifier: MIT */
/*
 * Keys that a lane owns: which query rows keep them, and their scores. For kernels that walk over query rows (key_gradient, bias_gradient), one query
 * head of one batch entry at a time.
 */

/*
 * Of the lane's row slots, and of the query head and the batch entry at hand. With PARTS_APART, where registers are few, they are not kept but found
 * again each time, by the functions below.
 */
int kept_keys[ROWS_PER_LANE];                             /* in the dispatch */
int kept_firsts[ROWS_PER_LANE], kept_ends[ROWS_PER_LANE]; /* of a band, with BAND */
int kept_ids[ROWS_PER_LANE];                              /* with SEGMENTS */
uint query_head, query_batch;
float kept_slope;
uvec2 kept_bias, kept_query_ids, kept_stats;

void load_key_rows(uint tile, uint last_key)
{
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
        kept_keys[r] = int(tile * TILE_ROWS + min(row_of(r), last_key));
        kept_firsts[r] = BAND ? band_first(kept_keys[r], arguments.rows) : 0;
        kept_ends[r] = BAND ? band_end(kept_keys[r], arguments.rows) : 0;
    }
}

int key_of(uint r)
{
    if (PARTS_APART)
        return int(min(gl_WorkGroupID.x * TILE_ROWS + row_of(r) + unknown_zero(), arguments.keys - 1));
    return kept_keys[r];
}

int band_first_of(uint r)
{
    if (PARTS_APART)
        return band_first(key_of(r), arguments.rows);
    return kept_firsts[r];
}

int band_end_of(uint r)
{
    if (PARTS_APART)
        return band_end(key_of(r), arguments.rows);
    return kept_ends[r];
}

int id_of(uint r)
{
    if (PARTS_APART)
        return Ids(rows_address(arguments_anew().key_ids, query_batch, 0)).at[uint(key_of(r))];
    return kept_ids[r];
}

float head_slope()
{
    if (PARTS_APART)
        return score_slope(query_head + unknown_zero());
    return kept_slope;
}

uvec2 bias_address()
{
    if (PARTS_APART)
        return rows_address(arguments_anew().bias, query_batch, query_head);
    return kept_bias;
}

uvec2 query_ids_address()
{
    if (PARTS_APART)
        return rows_address(arguments_anew().query_ids, query_batch, 0);
    return kept_query_ids;
}

uvec2 stats_address()
{
    if (PARTS_APART)
        return rows_address(arguments_anew().row_stats, query_batch, query_head);
    return kept_stats;
}

/* head: of all query heads; batch: of the dispatch's entries. */
void choose_query_head(uint batch, uint head)
{
    query_head = head;
    query_batch = batch;
    kept_slope = score_slope(head);
    kept_bias = rows_address(arguments.bias, batch, head);
    kept_query_ids = rows_address(arguments.query_ids, batch, 0);
    kept_stats = rows_address(arguments.row_stats, batch, head);
    uvec2 key_ids = rows_address(arguments.key_ids, batch, 0);
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
        kept_ids[r] = SEGMENTS ? Ids(key_ids).at[uint(kept_keys[r])] : 0;
}

/* Row at + k, or the last of `left`. On matrix units there may be none: then the last of all. */
uint row_that_is_there(uint at, uint k, uint left)
{
#ifdef MATRIX
    return min(at + k, arguments.rows - 1);
#else
    return at + min(k, left - 1);
#endif
}

bool row_is_kept(uint r, uint at, uint k, uint left)
{
    int row = int(at + k);
    bool kept = k < left;
    if (BAND)
        kept = kept && row >= band_first_of(r) && row < band_end_of(r);
    if (SEGMENTS)
        kept = kept && Ids(query_ids_address()).at[row_that_is_there(at, k, left)] == id_of(r);
    return kept;
}

/* Whether the key of row slot r is dropped for a query row. */
bool row_is_dropped(uint r, uint row)
{
    uint place = arguments.key_phase + uint(key_place(key_of(r)));
    bvec4 dropped = dropout_quad(place / 4, uint(query_place(int(row))), query_head, query_batch);
    return (place & 2u) == 0 ? ((place & 1u) == 0 ? dropped.x : dropped.y) : ((place & 1u) == 0 ? dropped.z : dropped.w);
}

/* Of the gradients of a pair, all but the factors that belong to the query or the key. */
float pair_weight[ROWS_PER_LANE * STEP];   /* the probability, dropped and rescaled: for values */
float pair_gradient[ROWS_PER_LANE * STEP]; /* of the score, softcap undone: for keys, but for the scale */
float bias_gradient[ROWS_PER_LANE * STEP]; /* of the score: for the bias */

/* From head_dot[] and value_dot[] of rows from `at` on. whole: all pairs are kept, but for a bias. */
void find_pair_gradients(uint at, uint left, bool whole)
{
    [[unroll]] for (uint k = 0; k < STEP; k++) {
        if (part_apart(k)) {
            uint row = row_that_is_there(at, k, left);
            vec4 stats = RowStats(stats_address()).at[row];
            int position = ALIBI ? alibi_position(int(row)) : 0;
            uvec2 bias_row = BIAS ? address_advance(bias_address(), arguments.bias.row_stride, row) : uvec2(0);
            [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
                uint i = r * STEP + k;
                float bias = BIAS ? bias_load(bias_row, bias_column(uint(key_of(r)))) : 0.0;
                float derivative;
                float score = score_of(head_dot[i], head_slope(), ALIBI ? abs(position - key_place(key_of(r))) : 0, bias, derivative);
                bool kept = (whole || row_is_kept(r, at, k, left)) && !(BIAS && bias_masks(bias));
                float weight = kept ? pair_probability(score, stats) : 0.0;
                float keep = DROPOUT ? (row_is_dropped(r, row) ? 0.0 : arguments.dropout_scale) : 1.0;
                pair_weight[i] = DROPOUT ? weight * keep : weight;
                bias_gradient[i] = weight * ((DROPOUT ? value_dot[i] * keep : value_dot[i]) - stats.z);
                pair_gradient[i] = SOFTCAP ? bias_gradient[i] * derivative : bias_gradient[i];
            }
        }
    }
}
