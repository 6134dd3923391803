#!/bin/sh
# SPDX-License-Identifier: MIT
# vkring on several ranks: results against the oracle, and one line and one status when a rank fails.
# shellcheck source=tests/tools/tap.sh
. "$(dirname -- "$0")/tap.sh"

# attend NAME STATUS PATTERN OPTION...: refused by all three ranks together.
attend()
{
    name=$1 status=$2 pattern=$3
    shift 3
    refuses "$name" "$status" "$pattern" 3 "$VKRING" attend -q q.npy -k k.npy -v v.npy -o o.npy "$@"
}

# apart NAME STATUS PATTERN OPTIONS0 OPTIONS1: two ranks, each with options of its own. (The launcher's own way of starting several
# commands crashes in Open MPI 5.0.7.)
apart()
{
    # shellcheck disable=SC2016
    refuses "$1" "$2" "$3" 2 sh -c '
        options=$1
        [ "${OMPI_COMM_WORLD_RANK:-$PMI_RANK}" = 0 ] || options=$2
        shift 2
        exec "$@" $options' sh "$4" "$5" "$VKRING" attend -q q.npy -k k.npy -v v.npy -o o.npy
}

make_inputs f32
make_extras f32

# all find the same: no rank is named
refuses "unknown command" 2 "^unknown command frobnicate" 3 "$VKRING" frobnicate
attend "unknown option" 2 "^unknown option --frob" --frob
attend "trace in no folder" 1 "^cannot write none/t.json" --trace none/t.json
attend "shares of another number of ranks" 2 "^--shares has 2 numbers for 3 ranks" --shares 1,1
attend "missing input" 1 "^cannot open none.npy" -k none.npy
attend "output in no folder" 1 "^cannot write none/o.npy" -o none/o.npy

# one finds it
"$HELPER" make k.npy f32 2 2,9,2,8 143 nan
attend "NaN in the rows of the last rank" 2 "^rank 2: k.npy: element \[0, 8, 1, 7\] is NaN"
make_inputs f32
"$HELPER" make q.npy f32 1 2,7,4,8 300 inf
attend "infinite in the rows of another rank" 2 "^rank 0: q.npy: element \[1, 2, 1, 4\] is infinite" --shares 3,0,1
make_inputs f32
"$HELPER" make b.npy f32 6 2,4,7,9 499 nan
attend "NaN in the queries' bias of the last rank" 2 "^rank 2: b.npy: element \[1, 3, 6, 4\] is NaN" --bias b.npy
"$HELPER" make b.npy f32 6 2,4,1,9 4 inf
attend "infinite in the keys' bias of another rank" 2 "^rank 1: b.npy: element \[0, 0, 0, 4\] is infinite" --bias b.npy
make_extras f32
apart "an option of one rank alone" 2 "^rank 1: unknown option --frob" "" "--frob"
apart "help for one rank alone" 2 "^ranks disagree: --help of rank 1" "" "--help"
apart "help for the others alone" 2 "^ranks disagree: --help of rank 1" "--help" ""
# shellcheck disable=SC2016
refuses "help for one rank of decode alone" 2 "^ranks disagree: --help of rank 1" 2 sh -c '
    [ "${OMPI_COMM_WORLD_RANK:-$PMI_RANK}" = 0 ] || set -- "$@" --help
    exec "$@"' sh "$VKRING" decode -q q.npy -k k.npy -v v.npy -o o.npy
apart "a value of one rank alone" 2 "^ranks disagree: --scale of rank 1" "" "--scale 2"
apart "another seed" 2 "^ranks disagree: --seed of rank 1" "--dropout 0.5" "--dropout 0.5 --seed 1"
apart "another window" 2 "^ranks disagree: --window of rank 1" "--window 1,2" "--window 1,3"
apart "another block" 2 "^ranks disagree: --causal-block of rank 1" "--causal" "--causal-block 2"
apart "shares measured by one rank alone" 2 "^ranks disagree: --shares of rank 1" "" "--shares measured"
apart "another layout" 2 "^ranks disagree: --layout of rank 1" "--layout contiguous" "--layout zigzag"
apart "another softcap" 2 "^ranks disagree: --softcap of rank 1" "--softcap 1" "--softcap 1.5"
apart "another dropout" 2 "^ranks disagree: --dropout of rank 1" "--dropout 0.25" "--dropout 0.5"
apart "a bias on one rank alone" 2 "^ranks disagree: --bias of rank 1" "" "--bias b.npy"
apart "sinks on one rank alone" 2 "^ranks disagree: --sinks of rank 1" "--sinks n.npy" ""
"$HELPER" make other.npy f32 6 1,4,7,9
apart "a bias of another shape" 2 "^ranks disagree: the batch of --bias of rank 1" "--bias b.npy" "--bias other.npy"
apart "an output of one rank's own" 2 "^ranks disagree: --output of rank 1" "" "-o p.npy"
apart "an input of one rank's own" 1 "^rank 1: cannot open none.npy" "" "-q none.npy"
"$HELPER" make other.npy f32 1 2,6,4,8
apart "an input of another length" 2 "^ranks disagree: q_len of rank 1" "" "-q other.npy"

"$VKRING" devices >/dev/null 2>&1
if [ $? -eq 1 ]; then
    finish
    exit
fi

attend "no such device" 1 "^device 4000000000 does not exist" --device 4000000000

for ranks in 1 2 3; do
    attends "$ranks ranks, full" "$ranks"
    attends "$ranks ranks, causal" "$ranks" --causal
done
attends "3 ranks, uneven" 3 --causal --shares 1,0,2.5
for layout in contiguous zigzag striped; do
    attends "3 ranks, $layout" 3 --causal --layout "$layout"
    attends "3 ranks, $layout, uneven" 3 --layout "$layout" --shares 1,0,2.5
done
attends "3 ranks, causal from the start" 3 --causal --query-offset 0 --scale 0.3 --report r.json
complaint=
grep -q '"layout": "zigzag"' r.json || complaint="causal is not zigzag in the report"
[ "$(grep -c '"rank":' r.json)" -eq 3 ] || complaint="not three ranks in the report"
report "the report has every rank" "$complaint"
attends "3 ranks, f16 on the device" 3 --dtype f16
attends "3 ranks, measured shares" 3 --causal --shares measured --report r.json
complaint=
[ "$(grep -c '"measured_gflop_per_second": [0-9]' r.json)" -eq 3 ] || complaint="not three speeds in the report"
report "the report has the speed of every rank" "$complaint"
# shellcheck disable=SC2086,SC2154
attends "2 ranks, measured shares, gradients" 2 --causal --layout contiguous --shares measured $gradients
# shellcheck disable=SC2086,SC2154
attends "3 ranks, gradients" 3 --causal $gradients
everything="--causal-block 2 --window 6,3 --segment-ids s.npy --key-segment-ids t.npy --alibi a.npy --sinks n.npy --softcap 1.5"
everything="$everything --dropout 0.2"
# shellcheck disable=SC2154
of_everything="$gradients --bias-grad gb.npy --sink-grad gs.npy"
for ranks_and_shape in 3:2,4,7,9 2:1,1,7,9 2:2,4,1,9 3:1,1,1,9; do
    ranks=${ranks_and_shape%:*} shape=${ranks_and_shape#*:}
    "$HELPER" make b.npy f32 6 "$shape" 5 -inf
    # shellcheck disable=SC2086
    attends "$ranks ranks, everything, a bias of $shape" "$ranks" --bias b.npy $everything --seed 3 $of_everything
done
# shellcheck disable=SC2086
attends "3 ranks, everything, uneven" 3 --bias b.npy $everything --shares 0,2,1 --query-offset 0 $of_everything
"$HELPER" make b.npy f32 6 2,4,7,9 5 -inf
for ranks in 2 3; do
    # shellcheck disable=SC2086
    attends "$ranks ranks, everything, striped" "$ranks" --layout striped --bias b.npy $everything --report r.json $of_everything
done
complaint=
grep -q '"layout": "striped"' r.json || complaint="no striped layout in the report"
report "the report names the layout" "$complaint"
# shellcheck disable=SC2086
attends "3 ranks, everything, striped unevenly" 3 --layout striped --bias b.npy $everything --shares 3,1,2 $of_everything
"$HELPER" make q.npy f16 1 2,1,4,8
"$HELPER" make k.npy f16 2 2,2,2,8
"$HELPER" make v.npy f16 3 2,2,2,5
attends "3 ranks, less rows than ranks" 3
"$HELPER" make k.npy f16 2 2,0,2,8
"$HELPER" make v.npy f16 3 2,0,2,5
attends "3 ranks, no keys" 3
"$HELPER" make q.npy f16 1 2,0,4,8
attends "3 ranks, nothing at all" 3

# lays_out OPTION LAYOUT: vkring-bench finds its results right, and tells the layout.
lays_out()
{
    succeeds 2 "$BUILD/bench/vkring-bench" --layout "$1" --repeat 1 --quiet --json r.json --q-len 96 --head-dim 8 --causal
    grep -q "\"layout\": \"$2\"" r.json || complaint="no $2 layout in the results"
    report "bench of a layout: $1" "$complaint"
}

if [ -x "$BUILD/bench/vkring-bench" ]; then
    lays_out contiguous contiguous
    lays_out striped striped
    lays_out auto zigzag
    refuses "bench of no layout" 2 "^--layout diagonal is not" 0 "$BUILD/bench/vkring-bench" --layout diagonal

    # tables that cannot be written are refused before anything is measured
    refuses "CSV of the bench in no folder" 1 "cannot write none/r.csv" 2 "$BUILD/bench/vkring-bench" --csv none/r.csv
    refuses "its JSON over a folder" 1 "cannot write .: Is a directory" 0 timeout 60 "$BUILD/bench/vkring-bench" --peak --json .
    refuses "its JSON in a file without a name" 1 "cannot write : No such file" 0 timeout 60 "$BUILD/bench/vkring-bench" --peak --json ""
    refuses "a letter of two that are unknown" 2 "^-x is unknown" 0 "$BUILD/bench/vkring-bench" --quiet -xy
    refuses "both in one file" 2 "would be written over another output" 0 timeout 60 "$BUILD/bench/vkring-bench" --csv r.csv --json ./r.csv
    # shellcheck disable=SC2016
    refuses "no room for what it says" 1 "cannot write standard output" 0 sh -c '"$0" --list >/dev/full' "$BUILD/bench/vkring-bench"
    # shellcheck disable=SC2016
    succeeds 0 sh -c '"$0" "$@" | cat >through.csv' "$BUILD/bench/vkring-bench" --repeat 1 --quiet --q-len 96 --head-dim 8 \
        --json r.json --csv /dev/stdout
    grep -q '^own,1,f32,1,96,' through.csv || complaint="no CSV went through the pipe"
    grep -q '"case": "own"' r.json || complaint="no case in the JSON"
    report "CSV goes into a pipe, JSON into a file" "$complaint"
fi

finish
