#!/bin/sh
# SPDX-License-Identifier: MIT
# vkring attend with gradients, on one rank: results against the oracle, and what becomes of files.
# shellcheck source=tests/tools/tap.sh
. "$(dirname -- "$0")/tap.sh"
need_device

# shellcheck disable=SC2086,SC2154
differentiates()
{
    name=$1
    shift
    attends "$name" 0 $gradients "$@"
}

make_inputs f32
make_extras f32
differentiates "full"
differentiates "causal" --causal
differentiates "rows with nothing kept" --causal --query-offset -4
differentiates "blocks" --causal-block 3
differentiates "a window" --window 2,1
differentiates "segments" --segment-ids s.npy --key-segment-ids t.npy
differentiates "softcap" --softcap 0.7
differentiates "alibi" --alibi a.npy
differentiates "dropout" --dropout 0.3 --seed 12345678901234567890
differentiates "sinks, without their gradient" --sinks n.npy
differentiates "sinks" --sinks n.npy --sink-grad gs.npy
differentiates "sinks, nothing kept" --sinks n.npy --sink-grad gs.npy --causal --query-offset -100
differentiates "a scale" --scale -0.3
for shape in 2,4,7,9 1,4,7,9 2,1,7,9 1,1,7,9 2,4,1,9 1,4,1,9 2,1,1,9 1,1,1,9; do
    "$HELPER" make bias.npy f32 10 "$shape" 3 -inf 8 -inf
    differentiates "a bias of $shape" --bias bias.npy --bias-grad gb.npy
done

# each alone
for one in "query-grad gq" "key-grad gk" "value-grad gv" "bias-grad gb" "sink-grad gs"; do
    # shellcheck disable=SC2086
    attends "--${one% *} alone" 0 --output-grad d.npy --bias b.npy --sinks n.npy --${one% *} ${one#* }.npy
    complaint=
    [ "$(echo g?.npy)" = "${one#* }.npy" ] || complaint="there are: $(echo g?.npy)"
    report "--${one% *} alone: no other file" "$complaint"
done

# Rows keep many keys here: where few are, gradients are small differences of products with an output that was rounded.
make_longer()
{
    "$HELPER" make q.npy "$1" 1 2,33,4,8
    "$HELPER" make k.npy "$1" 2 2,65,2,8
    "$HELPER" make v.npy "$1" 3 2,65,2,5
    "$HELPER" make d.npy "$1" 9 2,33,4,5
    "$HELPER" make s.npy documents 1 2,33
    "$HELPER" make t.npy documents 1 2,65
    "$HELPER" make b.npy "$1" 6 2,4,33,65 5 -inf
}

everything="--causal-block 4 --window 50,20 --segment-ids s.npy --key-segment-ids t.npy --bias b.npy --alibi a.npy --sinks n.npy"
everything="$everything --softcap 1.5 --dropout 0.2 --seed 99 --scale 0.4 --bias-grad gb.npy --sink-grad gs.npy"
for files in f32 f16; do
    make_longer "$files"
    for type in f32 f16 bf16; do
        # shellcheck disable=SC2086
        differentiates "everything, $files as $type" --dtype "$type" $everything
    done
    "$HELPER" make b.npy f32 6 2,1,33,65 1 -inf
    # shellcheck disable=SC2086
    differentiates "everything, a bias of f32 with $files" --report r.json $everything
done
complaint=
tr -d '\n' <r.json | grep -q '"gradients": \[ *"query", *"key", *"value", *"bias", *"sinks" *\]' || complaint="no gradients in the report"
tr -d '\n' <r.json | grep -q '"backward": { *"seconds": { *"run": [0-9]' || complaint="no seconds of backward in the report"
report "the report tells of gradients" "$complaint"

# the output and the lse are those without gradients
make_inputs f32
make_extras f32
attends "forward alone" 0 --causal
mv o.npy forward.npy
mv l.npy lse.npy
differentiates "the same with gradients" --causal
complaint=
cmp -s o.npy forward.npy && cmp -s l.npy lse.npy || complaint="they differ"
report "gradients leave output and lse alone" "$complaint"
# shellcheck disable=SC2086
succeeds 0 "$VKRING" attend -q q.npy -k k.npy -v v.npy -o o.npy --causal $gradients
[ -z "$complaint" ] && cmp -s o.npy forward.npy || complaint="${complaint:-the output differs}"
report "gradients without --lse" "$complaint"

# more than one tile, nothing that divides
"$HELPER" make q.npy f32 1 2,131,4,16
"$HELPER" make k.npy f32 2 2,203,2,16
"$HELPER" make v.npy f32 3 2,203,2,24
"$HELPER" make d.npy f32 9 2,131,4,24
"$HELPER" make s.npy documents 1 2,131
"$HELPER" make t.npy documents 1 2,203
"$HELPER" make b.npy f32 6 1,4,131,203
"$HELPER" make a.npy f32 7 4 0 0.1 1 0.01 2 0 3 0.003
# shellcheck disable=SC2086
differentiates "many tiles" $everything --window 60,-1
# shellcheck disable=SC2086
differentiates "many tiles, f16" $everything --window -1,20 --dtype f16

# what is not there
make_inputs f32
make_extras f32
"$HELPER" make k.npy f32 1 2,0,2,8
"$HELPER" make v.npy f32 1 2,0,2,5
"$HELPER" make b.npy f32 1 1,4,1,0
differentiates "no keys" --bias b.npy --bias-grad gb.npy --sinks n.npy --sink-grad gs.npy
make_inputs f32
"$HELPER" make q.npy f32 1 2,0,4,8
"$HELPER" make d.npy f32 1 2,0,4,5
"$HELPER" make b.npy f32 1 1,4,1,9
differentiates "no queries" --bias b.npy --bias-grad gb.npy --sinks n.npy --sink-grad gs.npy
"$HELPER" make q.npy f32 1 0,7,4,8
"$HELPER" make k.npy f32 1 0,9,2,8
"$HELPER" make v.npy f32 1 0,9,2,5
"$HELPER" make d.npy f32 1 0,7,4,5
differentiates "no batch" --bias b.npy --bias-grad gb.npy --sinks n.npy --sink-grad gs.npy

finish
