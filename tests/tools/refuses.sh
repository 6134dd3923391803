#!/bin/sh
# SPDX-License-Identifier: MIT
# What vkring refuses, without any Vulkan device in sight: so it does before it would use one.
# shellcheck source=tests/tools/tap.sh
. "$(dirname -- "$0")/tap.sh"
export VK_DRIVER_FILES=/nonexistent VK_ICD_FILENAMES=/nonexistent

attend()
{
    name=$1 status=$2 pattern=$3
    shift 3
    refuses "$name" "$status" "$pattern" 0 "$VKRING" attend -q q.npy -k k.npy -v v.npy -o o.npy "$@"
}

# bad INPUT NAME PATTERN: one of the inputs is what was just made of it; then all are good again.
bad()
{
    attend "$1" 2 "$2"
    make_inputs f32
}

make_inputs f32

refuses "no command" 2 "no command" 0 "$VKRING"
refuses "unknown command" 2 "unknown command frobnicate" 0 "$VKRING" frobnicate
refuses "unknown option" 2 "unknown option --frob" 0 "$VKRING" --frob
refuses "devices: unknown option" 2 "unknown option --frob" 0 "$VKRING" devices --frob
refuses "no device" 1 "Vulkan" 0 "$VKRING" devices
attend "attend without a device" 1 "Vulkan"

# usage
attend "attend: unknown option" 2 "unknown option --frob" --frob=3
attend "the start of an option's name" 2 "unknown option --quer" --quer q.npy
attend "the start of two options' names" 2 "unknown option --que" --que q.npy
attend "unknown letter" 2 "unknown option -x" -x
attend "option without a value" 2 "scale needs a value" --scale
attend "flag with a value" 2 "causal takes no value" --causal=1
attend "argument" 2 "unexpected argument 'more'" more
attend "empty file name" 2 "empty" --lse ""
for option in -q -k -v -o; do
    case $option in
    -q) rest="-k k.npy -v v.npy -o o.npy" ;;
    -k) rest="-q q.npy -v v.npy -o o.npy" ;;
    -v) rest="-q q.npy -k k.npy -o o.npy" ;;
    -o) rest="-q q.npy -k k.npy -v v.npy" ;;
    esac
    # shellcheck disable=SC2086
    refuses "without $option" 2 "option $option" 0 "$VKRING" attend $rest
done

# values
for value in f64 F32 ""; do
    attend "--dtype '$value'" 2 "'$value' is not" --dtype "$value"
done
for value in nan inf -inf 1e999 1e39 x 1x "" " 1" 0x; do
    attend "--scale '$value'" 2 "'$value' is not" --scale "$value"
done
for value in 1.5 x "" 9223372036854775808 -9223372036854775809 1e3; do
    attend "--query-offset '$value'" 2 "'$value' is not" --query-offset "$value"
done
for value in 0 -1 nan inf x ""; do
    attend "--timeout '$value'" 2 "'$value' is not" --timeout "$value"
done
for value in -1 x "" 4294967296 1.0; do
    attend "--device '$value'" 2 "'$value' is not" --device "$value"
done
for value in 0 -1 nan inf x "" "1," ",1" measure; do
    attend "--shares '$value'" 2 "'$value' is not" --shares "$value"
done
attend "--shares of another number of ranks" 2 "shares has 2 numbers for 1 ranks" --shares 1,1
attend "--layout spiral" 2 "'spiral' is not" --layout spiral

# later work: by name, but first that it is well formed
for option in "causal-block 2" "window 4,0" "window -1,0" "segment-ids s.npy" "bias b.npy" "alibi a.npy" "sinks s.npy" "softcap 30" \
    "dropout 0.1" "output-grad g.npy" "layout zigzag" "layout striped" "shares measured" "trace t.json"; do
    # shellcheck disable=SC2086
    attend "--$option" 2 "--${option%% *}.* is not yet supported" --$option
done
attend "--query-grad with --output-grad" 2 "not yet supported" --query-grad g.npy --output-grad h.npy
for option in query-grad key-grad value-grad bias-grad sink-grad; do
    attend "--$option alone" 2 "$option needs --output-grad" "--$option" g.npy
done
attend "--key-segment-ids alone" 2 "needs --segment-ids" --key-segment-ids s.npy
for option in "causal-block 0" "causal-block x" "window 1" "window 1,2,3" "window -2,0" "window a,b" "softcap -1" "softcap nan" "dropout 1" \
    "dropout -0.1" "dropout nan" "seed -1" "seed 18446744073709551616" "seed x"; do
    # shellcheck disable=SC2086
    attend "--$option" 2 "--${option%% *}: '.*' is not" --$option
done
attend "malformed after not yet supported" 2 "scale: 'nan'" --bias b.npy --scale nan

# files
attend "missing input" 1 "cannot open none.npy" -q none.npy
attend "a folder as input" 1 "cannot open .: Is a directory" -q .
mkfifo pipe
attend "a pipe as input" 1 "cannot read pipe: not a regular file" -q pipe
attend "a device as input" 1 "not a regular file" -q /dev/null
attend "output in no folder" 1 "cannot write none/o.npy" -o none/o.npy
attend "a folder as output" 1 "cannot write .: Is a directory" -o .
attend "a device as output" 1 "not a regular file" -o /dev/null
attend "lse in no folder" 1 "cannot write none/l.npy" --lse none/l.npy
attend "output over an input" 2 "over an input" -o k.npy
attend "output over an input by another name" 2 "over an input" -o ./../"$(basename "$work")"/k.npy
attend "output over the lse" 2 "over another output" --lse o.npy
attend "report over the output" 2 "over another output" --report ./o.npy
ln -s v.npy link.npy
attend "output over an input by a link" 2 "over an input" -o link.npy

# headers
dictionary="{'descr': '<f4', 'fortran_order': False, 'shape': (2, 9, 2, 8), }"
printf 'hello, this is no tensor' >k.npy && bad "no .npy file" "k.npy: not an .npy file"
: >k.npy && bad "empty file" "k.npy: truncated"
head -c 9 q.npy >k.npy && bad "end within the preamble" "k.npy: truncated"
head -c 40 q.npy >k.npy && bad "end within the header" "k.npy: truncated"
head -c 500 q.npy >q2.npy && mv q2.npy q.npy && bad "end within the tensor" "q.npy: truncated"
printf x >>v.npy && bad "a byte too many" "v.npy: 1 bytes follow"
"$HELPER" raw k.npy 4 "$dictionary" 1152 && bad "format 4.0" "k.npy: .npy format 4.0"
"$HELPER" raw k.npy 1 "$(echo "$dictionary" | sed 's/<f4/>f4/')" 1152 && bad "big-endian" "k.npy: .*type >f4"
"$HELPER" raw k.npy 1 "$(echo "$dictionary" | sed 's/<f4/<f8/')" 2304 && bad "f64" "k.npy: .*type <f8"
"$HELPER" raw k.npy 1 "$(echo "$dictionary" | sed 's/<f4/|O/')" 1152 && bad "objects" "k.npy: .*type |O"
"$HELPER" raw k.npy 1 "$(echo "$dictionary" | sed "s/'<f4'/[('x', '<f4')]/")" 1152 && bad "structures" "k.npy: .*not of type <f4"
"$HELPER" raw k.npy 1 "$(echo "$dictionary" | sed 's/False/True/')" 1152 && bad "Fortran order" "k.npy: .*Fortran order"
"$HELPER" raw k.npy 1 "$(echo "$dictionary" | sed 's/False/0/')" 1152 && bad "fortran_order 0" "k.npy: malformed"
"$HELPER" raw k.npy 1 "$(echo "$dictionary" | sed 's/descr/desc/')" 1152 && bad "a key unknown" "k.npy: malformed"
"$HELPER" raw k.npy 1 "{'descr': '<f4', 'shape': (2, 9, 2, 8), }" 1152 && bad "a key missing" "k.npy: malformed.* missing"
"$HELPER" raw k.npy 1 "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2, 9, 2, 8), }" 1152 &&
    bad "a key twice" "k.npy: malformed.* twice"
"$HELPER" raw k.npy 1 "$dictionary x" 1152 && bad "something after the dictionary" "k.npy: malformed"
"$HELPER" raw k.npy 1 "${dictionary%?}" 1152 && bad "dictionary without an end" "k.npy: malformed"
"$HELPER" raw k.npy 1 "{'descr': '<f4' 'fortran_order': False, 'shape': (2, 9, 2, 8)}" 1152 && bad "no comma" "k.npy: malformed"
"$HELPER" raw k.npy 1 "$(echo "$dictionary" | sed 's/9/-9/')" 1152 && bad "a negative length" "k.npy: malformed"
"$HELPER" raw k.npy 1 "$(echo "$dictionary" | sed 's/9/9.0/')" 1152 && bad "a length that is no integer" "k.npy: malformed"
"$HELPER" raw k.npy 1 "$(echo "$dictionary" | sed 's/9/99999999999999999999/')" 1152 && bad "a length of 67 bits" "k.npy: malformed"
"$HELPER" raw k.npy 1 "$(echo "$dictionary" | sed 's/9/4611686018427387904/')" 1152 && bad "a product of more than 64 bits" "k.npy: "
"$HELPER" raw k.npy 1 "$(echo "$dictionary" | sed 's/9/90000000000/')" 1152 && bad "a huge tensor that is not there" "k.npy: truncated"
"$HELPER" raw k.npy 1 "$(echo "$dictionary" | sed 's/2, 9, 2, 8/18, 16/')" 1152 && bad "two dimensions" "k.npy: has 2 dimensions"
"$HELPER" raw k.npy 1 "$(echo "$dictionary" | sed 's/2, 9, 2, 8/1, 2, 9, 2, 8/')" 1152 && bad "five dimensions" "k.npy: has 5 dimensions"

# shapes
"$HELPER" make q.npy f32 1 2 7 4 9 && bad "head_dim of query and key" "head_dim of k.npy is 8, but of q.npy 9"
"$HELPER" make v.npy f32 1 2 8 2 5 && bad "lengths of key and value" "length of v.npy is 8, but of k.npy 9"
"$HELPER" make v.npy f32 1 2 9 4 5 && bad "heads of key and value" "heads of v.npy is 4, but of k.npy 2"
"$HELPER" make k.npy f32 1 1 9 2 8 && bad "batch of key" "batch of k.npy is 1, but of q.npy 2"
"$HELPER" make v.npy f32 1 3 9 2 5 && bad "batch of value" "batch of v.npy is 3, but of q.npy 2"
"$HELPER" make q.npy f32 1 2 7 3 8 && bad "heads that the key's do not divide" "do not divide"
"$HELPER" make q.npy f32 1 2 7 0 8 && bad "no heads" "q.npy: has 0 heads"
"$HELPER" make k.npy f32 1 2 9 0 8 && bad "no key heads" "k.npy: has 0 heads"
"$HELPER" make q.npy f32 1 2 7 4 0 && bad "head_dim 0" "q.npy: its last dimension is 0"
"$HELPER" make q.npy f32 1 2 7 4 257 && bad "head_dim 257" "q.npy: its last dimension is 257"
"$HELPER" make v.npy f32 1 2 9 2 257 && bad "value_dim 257" "v.npy: its last dimension is 257"
"$HELPER" make v.npy f16 1 2 9 2 5 && bad "types that differ" "v.npy is of type <f2, but q.npy of <f4"
"$HELPER" raw q.npy 1 "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 2305843009213693952, 4, 8), }" 0 &&
    bad "a length above 2^60" "q.npy: .*above 2^60"

# numbers: element 100 of q is [0, 3, 0, 4]
"$HELPER" make q.npy f32 1 2 7 4 8 100 nan && bad "NaN" "q.npy: element \[0, 3, 0, 4\] is NaN"
"$HELPER" make v.npy f32 1 2 9 2 5 179 -inf && bad "infinite" "v.npy: element \[1, 8, 1, 4\] is infinite"
make_inputs f16
"$HELPER" make k.npy f16 1 2 9 2 8 0 inf && bad "infinite f16" "k.npy: element \[0, 0, 0, 0\] is infinite"
"$HELPER" make q.npy f32 1 2 7 4 8 5 65520
attend "too large for f16" 2 "q.npy: element \[0, 0, 0, 5\] is too large for f16" --dtype f16
"$HELPER" make q.npy f32 1 2 7 4 8 5 -3.4e38
attend "too large for bf16" 2 "q.npy: element \[0, 0, 0, 5\] is too large for bf16" --dtype bf16
make_inputs f16
"$HELPER" make v.npy f16 1 2 9 2 5 7 65504
attend "a value that would come back too large from bf16" 2 "v.npy: element \[0, 0, 1, 2\] is too large" --dtype bf16

# a line stays one line, whatever the name
refuses "a name of two lines" 1 "two?lines.npy" 0 "$VKRING" attend -q "two
lines.npy" -k k.npy -v v.npy -o o.npy

finish
