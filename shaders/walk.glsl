/* SPDX-License-Identifier: MIT */
/*
 * A tile's walk over the other side: from row to row of two of its tensors, WALK_STEP at a time, past what no row of the tile keeps.
 *
 * Sums start from zero every BLOCK_ROWS rows and meet what came before in the state: sums of a million terms would lose digits in f32.
 * Loops are tested at the bottom: on llvmpipe a loop tested at its top runs once more with all lanes off, and loads from an address that is the same
 * in all lanes are not masked there.
 */

#ifdef MATRIX
const uint BLOCK_ROWS = 4096; /* products of f16 lose more */
#else
const uint BLOCK_ROWS = 1024; /* the host's copy is KERNEL_BLOCK_ROWS */
#endif

/* What the other side is, and the part of it that a tile may keep. */
struct Walk {
    uvec2 a, a_stride, b, b_stride; /* the two tensors: row 0, and the stride of rows */
    uint first, end;                /* rows that any row of the tile keeps by position */
    uint full_first, full_end;      /* rows that all keep by position */
    ivec2 ids;                      /* of the tile's rows */
};

/* Where the walk is: row `at` of the two tensors; and bytes from row to row. */
uvec2 walk_a, walk_b;
uint walk_a_stride, walk_b_stride;
uint walk_left; /* rows from there to the end of the run: see walk_run */

/* How many rows from `at` on may be one step; all unless a kernel's steps must fall on certain rows. */
uint walk_limit(uint at);
/* At most `left` rows from `at` on; whole: WALK_STEP of them, and all pairs are kept. */
void walk_step(uint at, uint left, bool whole);
/* continues: the state holds what came before; stores: it is needed again. */
void walk_begin_block();
#ifdef MATRIX
/* Before the first step of a run, from row `at` on. */
void walk_begin_run(uint at);
#endif
void walk_end_block(bool continues, bool stores);

/* Of the other side. With PARTS_APART it is found anew each time. */
SegmentSide walk_side()
{
    Arguments now = arguments_anew();
#ifdef OWN_IS_KEY
    return segment_side(now.query_segments, now.query_fine_ranges, now.first_row);
#else
    return segment_side(now.key_segments, now.key_fine_ranges, now.first_key);
#endif
}

/* Rows whose segment ids may be those of own rows first … last. */
void walk_narrow(inout Walk w, SegmentSide own, uint first, uint last)
{
    uint first_other = walk_side().first;
    uvec2 bounds = segment_bounds(own, first, last);
    w.ids = segment_range(own, first, last);
    w.end = min(w.end, max(bounds.y, first_other) - first_other);
    w.first = min(max(w.first, max(bounds.x, first_other) - first_other), w.end);
}

/* What a tile of `rows` own rows walks over; the tensors are for the kernel to say. */
Walk walk_of_tile(uint tile, uint rows)
{
    Walk w;
    uint first = tile * TILE_ROWS, last = first + rows - 1;
#ifdef OWN_IS_KEY
    uint others = arguments.rows;
    SegmentSide own = segment_side(arguments.key_segments, arguments.key_fine_ranges, arguments.first_key);
#else
    uint others = arguments.keys;
    SegmentSide own = segment_side(arguments.query_segments, arguments.query_fine_ranges, arguments.first_row);
#endif
    w.end = BAND ? uint(band_end(int(last), others)) : others;
    w.first = BAND ? min(uint(band_first(int(first), others)), w.end) : 0;
    w.full_first = BAND ? uint(band_first(int(last), others)) : 0;
    w.full_end = BAND ? uint(band_end(int(first), others)) : others;
    if (SEGMENTS)
        walk_narrow(w, own, first, last);
    return w;
}

/* Of what a tile walks over, the split that is this workgroup's; those past the end are empty. */
void walk_take_split(inout Walk w)
{
    if (SPLITS) {
        uint splits = arguments.splits;
        uint rows = max((w.end - w.first + splits - 1) / splits, arguments.split_keys);
        rows = (rows + STEP - 1) / STEP * STEP;
        w.first = min(w.first + split_of_keys() * rows, w.end);
        w.end = min(w.first + rows, w.end);
    }
}

/* So many rows further. */
void walk_on(uint rows)
{
    walk_a = address_advance(walk_a, uvec2(walk_a_stride, 0), rows);
    walk_b = address_advance(walk_b, uvec2(walk_b_stride, 0), rows);
}

/* Whether the step from row `at` on is one that all rows of the tile keep by position. Keys' kernels have most to keep in registers. */
bool walk_is_full(Walk w, uint at)
{
#ifdef OWN_IS_KEY
    if (PARTS_APART) {
        uint first = (gl_WorkGroupID.x + unknown_zero()) * TILE_ROWS, last = min(first + TILE_ROWS, arguments.keys) - 1;
        w.full_first = uint(band_first(int(last), arguments.rows));
        w.full_end = uint(band_end(int(first), arguments.rows));
    }
#endif
    return at >= w.full_first && at + WALK_STEP <= w.full_end;
}

/* To the end of a run: rows of one segment range, or all before run_end. */
uint walk_run(Walk w, uint at, uint run_end, bool mixed)
{
    walk_left = run_end - at;
#ifdef MATRIX
    walk_begin_run(at);
#endif
    do {
        uint left = run_end - at;
        walk_left = left;
        if (DROPOUT)
            left = min(left, walk_limit(at));
        walk_step(at, left, left >= WALK_STEP && !mixed && (!BAND || walk_is_full(w, at)));
        left = min(left, WALK_STEP);
        walk_a = address_add(walk_a, left * w.a_stride.x);
        walk_b = address_add(walk_b, left * w.b_stride.x);
        at += left;
    } while (at < run_end);
    return at;
}

void walk(Walk w, bool continues, bool stores)
{
    uint at = w.first;
    walk_a_stride = w.a_stride.x;
    walk_b_stride = w.b_stride.x;
    if (SEGMENTS)
        at = segment_find(walk_side(), w.ids, at, w.end);
    walk_a = w.a;
    walk_b = w.b;
    walk_on(at);
    do {
        uint block_end = min(at + BLOCK_ROWS, w.end);
        walk_begin_block();
        if (at < block_end) {
            do {
                if (SEGMENTS) {
                    bool mixed;
                    uint run_end = segment_run_end(walk_side(), w.ids, at, mixed);
                    run_end = mixed && WALK_STEP > FINE_RANGE ? max(run_end, at + WALK_STEP) : run_end;
                    at = walk_run(w, at, min(run_end, block_end), mixed);
                    uint found = segment_find(walk_side(), w.ids, at, w.end);
                    walk_on(found - at);
                    at = found;
                } else {
                    at = walk_run(w, at, block_end, false);
                }
            } while (SEGMENTS && at < block_end);
        }
        walk_end_block(continues, stores || at < w.end);
        continues = true;
    } while (at < w.end);
}
