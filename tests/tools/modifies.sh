#!/bin/sh
# SPDX-License-Identifier: MIT
# vkring attend on one rank with all that changes scores and masks them, alone and together: results against the oracle.
# shellcheck source=tests/tools/tap.sh
. "$(dirname -- "$0")/tap.sh"
need_device

make_inputs f32
make_extras f32

# masks
attends "causal by blocks" 0 --causal-block 3
attends "a block longer than the keys" 0 --causal-block 18446744073709551615
attends "blocks, from the start" 0 --causal-block 4 --query-offset -2
attends "a window" 0 --window 2,1
attends "a window to the left" 0 --window 3,-1
attends "a window to the right" 0 --window -1,0
attends "a window of one key" 0 --window 0,0
attends "the longest window" 0 --window 9223372036854775807,9223372036854775807
attends "a window, causal" 0 --window 2,9 --causal
attends "a window off the keys" 0 --window 1,1 --query-offset 1000000
attends "segments" 0 --segment-ids s.npy --key-segment-ids t.npy
"$HELPER" make s9.npy documents 1 2,9
"$HELPER" make s7.npy documents 1 2,7
attends "documents of other lengths" 0 --segment-ids s7.npy --key-segment-ids s9.npy --causal
attends "segments that no key has" 0 --segment-ids s7.npy --key-segment-ids t.npy --query-offset 0
cp q.npy q7.npy
"$HELPER" make q.npy f32 1 2,9,4,8
attends "keys' segments as the queries'" 0 --segment-ids s9.npy --causal
attends "the same, named twice" 0 --segment-ids s9.npy --key-segment-ids s9.npy
mv q7.npy q.npy

# scores
attends "softcap" 0 --softcap 0.7
attends "alibi" 0 --alibi a.npy
attends "alibi, causal, from the start" 0 --alibi a.npy --causal --query-offset 0
attends "sinks" 0 --sinks n.npy
attends "sinks, nothing kept" 0 --sinks n.npy --causal --query-offset -100
attends "dropout" 0 --dropout 0.3 --seed 18446744073709551615
attends "dropout, another seed" 0 --dropout 0.3
attends "nearly all dropped" 0 --dropout 0.999999 --seed 1
attends "dropout, a negative position" 0 --dropout 0.5 --seed 7 --query-offset -3

# bias: what it repeats over
for shape in 2,4,7,9 1,4,7,9 2,1,7,9 1,1,7,9 2,4,1,9 1,4,1,9 2,1,1,9 1,1,1,9; do
    "$HELPER" make bias.npy f32 10 "$shape" 3 -inf 8 -inf
    attends "a bias of $shape" 0 --bias bias.npy
done
"$HELPER" make bias.npy f32 10 1,1,1,9 0 -inf 1 -inf 2 -inf 3 -inf 4 -inf 5 -inf 6 -inf 7 -inf 8 -inf
attends "a bias that masks all" 0 --bias bias.npy
attends "a bias that masks all, with sinks" 0 --bias bias.npy --sinks n.npy

# types
everything="--causal-block 4 --window 8,5 --segment-ids s.npy --key-segment-ids t.npy --bias b.npy --alibi a.npy --sinks n.npy"
everything="$everything --softcap 1.5 --dropout 0.2 --seed 99 --scale 0.4 --query-offset 1"
for files in f32 f16; do
    make_inputs "$files"
    make_extras "$files"
    for type in f32 f16 bf16; do
        # shellcheck disable=SC2086
        attends "everything, $files as $type" 0 --dtype "$type" $everything
    done
    "$HELPER" make b.npy f32 6 2,1,7,9 1 -inf
    # shellcheck disable=SC2086
    attends "everything, a bias of f32 with $files" 0 --report r.json $everything
done
complaint=
for word in '"causal_block": 4' '"segment_ids": true' '"softcap": 1.5' '"alibi": true' '"sinks": true' '"seed": "99"' \
    '"gradients": \[\]'; do
    grep -q "$word" r.json || complaint="no $word in the report"
done
report "the report tells the options" "$complaint"

# more than one tile, nothing that divides
"$HELPER" make q.npy f32 1 2,131,4,16
"$HELPER" make k.npy f32 2 2,203,2,16
"$HELPER" make v.npy f32 3 2,203,2,24
"$HELPER" make s.npy documents 1 2,131
"$HELPER" make t.npy documents 1 2,203
"$HELPER" make b.npy f32 6 1,4,131,203
"$HELPER" make a.npy f32 7 4 0 0.1 1 0.01 2 0 3 0.003
# shellcheck disable=SC2086
attends "many tiles" 0 $everything --window 60,-1
# shellcheck disable=SC2086
attends "many tiles, f16" 0 $everything --window -1,20 --dtype f16
"$HELPER" make t.npy i32 1 2,203
# shellcheck disable=SC2086
attends "many tiles, segments without order" 0 $everything --window 60,-1

# what is not there
make_inputs f32
make_extras f32
"$HELPER" make k.npy f32 1 2,0,2,8
"$HELPER" make v.npy f32 1 2,0,2,5
"$HELPER" make t.npy i32 1 2,0
"$HELPER" make b.npy f32 1 1,4,7,0
# shellcheck disable=SC2086
attends "everything but keys" 0 $everything
"$HELPER" make q.npy f32 1 2,0,4,8
"$HELPER" make s.npy i32 1 2,0
"$HELPER" make b.npy f32 1 1,4,0,0
# shellcheck disable=SC2086
attends "everything but queries and keys" 0 $everything

finish
