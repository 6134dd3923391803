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

# all find the same: no rank is named
refuses "unknown command" 2 "^unknown command frobnicate" 3 "$VKRING" frobnicate
attend "unknown option" 2 "^unknown option --frob" --frob
attend "not yet supported" 2 "^--bias is not yet" --bias b.npy
attend "shares of another number of ranks" 2 "^--shares has 2 numbers for 3 ranks" --shares 1,1
attend "missing input" 1 "^cannot open none.npy" -k none.npy
attend "output in no folder" 1 "^cannot write none/o.npy" -o none/o.npy

# one finds it
"$HELPER" make k.npy f32 2 2 9 2 8 143 nan
attend "NaN in the rows of the last rank" 2 "^rank 2: k.npy: element \[0, 8, 1, 7\] is NaN"
make_inputs f32
"$HELPER" make q.npy f32 1 2 7 4 8 300 inf
attend "infinite in the rows of another rank" 2 "^rank 0: q.npy: element \[1, 2, 1, 4\] is infinite" --shares 3,0,1
make_inputs f32
apart "an option of one rank alone" 2 "^rank 1: unknown option --frob" "" "--frob"
apart "a value of one rank alone" 2 "^ranks disagree: --scale of rank 1" "" "--scale 2"
apart "an output of one rank's own" 2 "^ranks disagree: --output of rank 1" "" "-o p.npy"
apart "an input of one rank's own" 1 "^rank 1: cannot open none.npy" "" "-q none.npy"
"$HELPER" make other.npy f32 1 2 6 4 8
apart "an input of another length" 2 "^ranks disagree: q_len of rank 1" "" "-q other.npy"

"$VKRING" devices >/dev/null 2>&1
if [ $? -eq 1 ]; then
    finish
    exit
fi

attend "no such device" 1 "^device 4000000000 does not exist" --device 4000000000

for ranks in 1 2 3; do
    attends "$ranks ranks, full" "$ranks" f32 full - -
    attends "$ranks ranks, causal" "$ranks" f32 causal - -
done
attends "3 ranks, uneven" 3 f32 causal - - --shares 1,0,2.5
attends "3 ranks, causal from the start" 3 f32 causal 0 0.3 --report r.json
complaint=
[ "$(grep -c '"rank":' r.json)" -eq 3 ] || complaint="not three ranks in the report"
report "the report has every rank" "$complaint"
attends "3 ranks, f16 on the device" 3 f16 full - - --dtype f16
"$HELPER" make q.npy f16 1 2 1 4 8
"$HELPER" make k.npy f16 2 2 2 2 8
"$HELPER" make v.npy f16 3 2 2 2 5
attends "3 ranks, less rows than ranks" 3 f16 full - -
"$HELPER" make k.npy f16 2 2 0 2 8
"$HELPER" make v.npy f16 3 2 0 2 5
attends "3 ranks, no keys" 3 f16 full - -
"$HELPER" make q.npy f16 1 2 0 4 8
attends "3 ranks, nothing at all" 3 f16 full - -

finish
