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

# extra NAME PATTERN OPTION...: what is in one of the extra files; then all are good again.
extra()
{
    name=$1 pattern=$2
    shift 2
    attend "$name" 2 "$pattern" "$@"
    make_extras f32
}

make_inputs f32
make_extras f32

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

for value in 0 -1 1.5 x "" 18446744073709551616; do
    attend "--causal-block '$value'" 2 "'$value' is not" --causal-block "$value"
done
for value in 1 1,2,3 -2,0 0,-2 a,b 1,b ',' '1,' ,1 "" "1, 2" 1.5,0 9223372036854775808,0 0,9223372036854775808; do
    attend "--window '$value'" 2 "'$value' is not" --window "$value"
done
for value in -1 -0.001 nan inf 1e39 x ""; do
    attend "--softcap '$value'" 2 "'$value' is not" --softcap "$value"
done
for value in 1 1.5 -0.1 nan inf x "" 50%; do
    attend "--dropout '$value'" 2 "'$value' is not" --dropout "$value"
done
for value in -1 18446744073709551616 1.5 0x1 x ""; do
    attend "--seed '$value'" 2 "'$value' is not" --seed "$value"
done
for option in segment-ids key-segment-ids bias alibi sinks output-grad query-grad key-grad value-grad bias-grad sink-grad trace; do
    attend "--$option ''" 2 "--$option: the name of the file is empty" "--$option" ""
done

# partners
for option in query-grad key-grad value-grad bias-grad sink-grad; do
    attend "--$option alone" 2 "^--$option needs --output-grad" "--$option" g.npy
done
attend "--output-grad alone" 2 "^--output-grad needs --query-grad" --output-grad d.npy
attend "--output-grad with other outputs" 2 "^--output-grad needs --query-grad" --output-grad d.npy --lse l.npy --report r.json
attend "--bias-grad without --bias" 2 "^--bias-grad needs --bias" --output-grad d.npy --bias-grad g.npy
attend "--sink-grad without --sinks" 2 "^--sink-grad needs --sinks" --output-grad d.npy --sink-grad g.npy --bias b.npy
attend "--key-segment-ids alone" 2 "^--key-segment-ids needs --segment-ids" --key-segment-ids s.npy


# files
for option in segment-ids bias alibi sinks; do
    attend "missing input of --$option" 1 "cannot open none.npy" "--$option" none.npy
done
attend "missing ids of keys" 1 "cannot open none.npy" --segment-ids s.npy --key-segment-ids none.npy
attend "missing gradient of the output" 1 "cannot open none.npy" --output-grad none.npy --key-grad g.npy
attend "missing input" 1 "cannot open none.npy" -q none.npy
attend "a folder as input" 1 "cannot open .: Is a directory" -q .
mkfifo pipe
attend "a pipe as input" 1 "cannot read pipe: not a regular file" -q pipe
attend "a device as input" 1 "not a regular file" -q /dev/null
attend "output in no folder" 1 "cannot write none/o.npy" -o none/o.npy
attend "output below a file" 1 "cannot write k.npy/o.npy: Not a directory" -o k.npy/o.npy
attend "a folder as output" 1 "cannot write .: Is a directory" -o .
attend "a device as output" 1 "not a regular file" -o /dev/null
attend "lse in no folder" 1 "cannot write none/l.npy" --lse none/l.npy
attend "output over an input" 2 "over an input" -o k.npy
attend "output over an input by another name" 2 "over an input" -o ./../"$(basename "$work")"/k.npy
attend "output over the lse" 2 "over another output" --lse o.npy
attend "a gradient over an input" 2 "over an input" --output-grad d.npy --query-grad q.npy
attend "a gradient over its own input" 2 "over an input" --output-grad d.npy --query-grad d.npy
attend "a gradient over the bias" 2 "over an input" --output-grad d.npy --bias b.npy --bias-grad ./b.npy
attend "two gradients in one file" 2 "over another output" --output-grad d.npy --key-grad g.npy --value-grad ./g.npy
attend "a gradient over the output" 2 "over another output" --output-grad d.npy --key-grad o.npy
attend "a gradient in no folder" 1 "cannot write none/g.npy" --output-grad d.npy --key-grad none/g.npy
attend "report over the output" 2 "over another output" --report ./o.npy
ln -s v.npy link.npy
attend "output over an input by a link" 2 "over an input" -o link.npy
ln -s new.npy link1.npy
ln -s ./link1.npy link2.npy
attend "two outputs by links to what is not there yet" 2 "over another output" --lse link1.npy --report link2.npy
attend "output over the lse by a link to what is not there yet" 2 "over another output" --report link2.npy --lse new.npy
ln -s none/o.npy link3.npy
attend "output by a link into no folder" 1 "cannot write link3.npy: No such file" -o link3.npy
ln -s link4.npy link4.npy
attend "output by a link to itself" 1 "cannot write link4.npy: Too many levels" -o link4.npy
attend "a new folder as output" 1 "cannot write new/: Is a directory" -o new/

# headers
dictionary="{'descr': '<f4', 'fortran_order': False, 'shape': (2, 9, 2, 8), }"
printf 'hello!' >k.npy && bad "a short file that is no .npy" "k.npy: not an .npy file"
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
"$HELPER" make q.npy f32 1 2,7,4,9 && bad "head_dim of query and key" "head_dim of k.npy is 8, but of q.npy 9"
"$HELPER" make v.npy f32 1 2,8,2,5 && bad "lengths of key and value" "kv_len of v.npy is 8, but of k.npy 9"
"$HELPER" make v.npy f32 1 2,9,4,5 && bad "heads of key and value" "heads of v.npy is 4, but of k.npy 2"
"$HELPER" make k.npy f32 1 1,9,2,8 && bad "batch of key" "batch of k.npy is 1, but of q.npy 2"
"$HELPER" make v.npy f32 1 3,9,2,5 && bad "batch of value" "batch of v.npy is 3, but of q.npy 2"
"$HELPER" make q.npy f32 1 2,7,3,8 && bad "heads that the key's do not divide" "do not divide"
"$HELPER" make q.npy f32 1 2,7,0,8 && bad "no heads" "q.npy: has 0 heads"
"$HELPER" make k.npy f32 1 2,9,0,8 && bad "no key heads" "k.npy: has 0 heads"
"$HELPER" make q.npy f32 1 2,7,4,0 && bad "head_dim 0" "q.npy: its last dimension is 0"
"$HELPER" make q.npy f32 1 2,7,4,257 && bad "head_dim 257" "q.npy: its last dimension is 257"
"$HELPER" make v.npy f32 1 2,9,2,257 && bad "value_dim 257" "v.npy: its last dimension is 257"
"$HELPER" make v.npy f16 1 2,9,2,5 && bad "types that differ" "v.npy is of type <f2, but q.npy of <f4"
"$HELPER" raw q.npy 1 "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 2305843009213693952, 4, 8), }" 0 &&
    bad "a length above 2^60" "q.npy: .*above 2^60"

# numbers: element 100 of q is [0, 3, 0, 4]
"$HELPER" make q.npy f32 1 2,7,4,8 100 nan && bad "NaN" "q.npy: element \[0, 3, 0, 4\] is NaN"
"$HELPER" make v.npy f32 1 2,9,2,5 179 -inf && bad "infinite" "v.npy: element \[1, 8, 1, 4\] is infinite"
make_inputs f16
"$HELPER" make k.npy f16 1 2,9,2,8 0 inf && bad "infinite f16" "k.npy: element \[0, 0, 0, 0\] is infinite"
"$HELPER" make q.npy f32 1 2,7,4,8 5 65520
attend "too large for f16" 2 "q.npy: element \[0, 0, 0, 5\] is too large for f16" --dtype f16
"$HELPER" make q.npy f32 1 2,7,4,8 5 -3.4e38
attend "too large for bf16" 2 "q.npy: element \[0, 0, 0, 5\] is too large for bf16" --dtype bf16
make_inputs f16
"$HELPER" make v.npy f16 1 2,9,2,5 7 65504
attend "a value that would come back too large from bf16" 2 "v.npy: element \[0, 0, 1, 2\] is too large" --dtype bf16

# extra files: types
make_inputs f32
make_extras f32
segments="--segment-ids s.npy --key-segment-ids t.npy"
backward="--output-grad d.npy --query-grad g.npy"
"$HELPER" make s.npy f32 1 2,7
# shellcheck disable=SC2086
extra "ids of f32" "s.npy: .*type <f4, not <i4" $segments
"$HELPER" raw t.npy 1 "{'descr': '<i8', 'fortran_order': False, 'shape': (2, 9), }" 144
# shellcheck disable=SC2086
extra "ids of 64 bits" "t.npy: .*type <i8, not <i4" $segments
"$HELPER" raw t.npy 1 "{'descr': '>i4', 'fortran_order': False, 'shape': (2, 9), }" 72
# shellcheck disable=SC2086
extra "big-endian ids" "t.npy: .*type >i4, not <i4" $segments
"$HELPER" make b.npy i32 1 2,4,7,9 && extra "a bias of integers" "b.npy: .*type <i4, not <f4 or <f2" --bias b.npy
"$HELPER" make b.npy f16 1 2,4,7,9 && extra "a bias of f16 with f32" "b.npy is of type <f2, but q.npy of <f4" --bias b.npy
"$HELPER" make b.npy f16 1 2,4,7,9 && extra "the same on f16" "b.npy is of type <f2, but q.npy of <f4" --bias b.npy --dtype f16
"$HELPER" make a.npy f16 1 4 && extra "slopes of f16" "a.npy: .*type <f2, not <f4" --alibi a.npy
"$HELPER" make n.npy f16 1 4 && extra "sinks of f16" "n.npy: .*type <f2, not <f4" --sinks n.npy
"$HELPER" make d.npy f16 1 2,7,4,5
# shellcheck disable=SC2086
extra "a gradient of f16 with f32" "d.npy is of type <f2, but q.npy of <f4" $backward
"$HELPER" raw q.npy 1 "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 7, 4, 8), }" 1792 &&
    bad "integers" "q.npy: .*type <i4, not <f4 or"

# extra files: shapes
"$HELPER" make s.npy i32 1 2,8
# shellcheck disable=SC2086
extra "ids of another q_len" "q_len of s.npy is 8, but of q.npy 7" $segments
"$HELPER" make t.npy i32 1 2,7
# shellcheck disable=SC2086
extra "ids of another kv_len" "kv_len of t.npy is 7, but of k.npy 9" $segments
"$HELPER" make s.npy i32 1 1,7
# shellcheck disable=SC2086
extra "ids of another batch" "batch of s.npy is 1, but of q.npy 2" $segments
"$HELPER" make s.npy i32 1 14
# shellcheck disable=SC2086
extra "ids of one dimension" "s.npy: has 1 dimensions, not 2: \[batch, q_len\]" $segments
extra "no ids for keys of another length" "^--segment-ids needs --key-segment-ids: there are 7 queries, but 9 keys" --segment-ids s.npy
"$HELPER" make b.npy f32 1 3,4,7,9 && extra "a bias of another batch" "batch of b.npy is 3, but of q.npy 2, and not 1" --bias b.npy
"$HELPER" make b.npy f32 1 2,2,7,9 &&
    extra "a bias of another number of heads" "heads of b.npy is 2, but of q.npy 4, and not 1" --bias b.npy
"$HELPER" make b.npy f32 1 2,4,9,9 && extra "a bias of another q_len" "q_len of b.npy is 9, but of q.npy 7, and not 1" --bias b.npy
"$HELPER" make b.npy f32 1 2,4,7,1 && extra "a bias that repeats over keys" "kv_len of b.npy is 1, but of k.npy 9$" --bias b.npy
"$HELPER" make b.npy f32 1 2,4,0,9 && extra "a bias without queries" "q_len of b.npy is 0" --bias b.npy
"$HELPER" make b.npy f32 1 4,7,9 &&
    extra "a bias of three dimensions" "b.npy: has 3 dimensions, not 4: \[batch, heads, q_len, kv_len\]" --bias b.npy
"$HELPER" make a.npy f32 1 2 && extra "slopes of the keys' heads" "heads of a.npy is 2, but of q.npy 4" --alibi a.npy
"$HELPER" make a.npy f32 1 1 && extra "one slope" "heads of a.npy is 1, but of q.npy 4$" --alibi a.npy
"$HELPER" make a.npy f32 1 1,4 && extra "slopes of two dimensions" "a.npy: has 2 dimensions, not 1: \[heads\]" --alibi a.npy
"$HELPER" make n.npy f32 1 5 && extra "too many sinks" "heads of n.npy is 5, but of q.npy 4" --sinks n.npy
"$HELPER" make d.npy f32 1 2,7,4,8
# shellcheck disable=SC2086
extra "a gradient of head_dim" "value_dim of d.npy is 8, but of v.npy 5" $backward
"$HELPER" make d.npy f32 1 2,9,4,5
# shellcheck disable=SC2086
extra "a gradient of kv_len" "q_len of d.npy is 9, but of q.npy 7" $backward
head -c 500 b.npy >b2.npy && mv b2.npy b.npy && extra "the end within a bias" "b.npy: truncated" --bias b.npy
printf x >>s.npy
# shellcheck disable=SC2086
extra "a byte too many in ids" "s.npy: 1 bytes follow" $segments

# extra files: numbers. Element 100 of b is [0, 1, 4, 1]
"$HELPER" make b.npy f32 1 2,4,7,9 100 nan && extra "NaN in a bias" "b.npy: element \[0, 1, 4, 1\] is NaN" --bias b.npy
"$HELPER" make b.npy f32 1 2,4,7,9 7 -inf 100 inf && extra "infinity in a bias" "b.npy: element \[0, 1, 4, 1\] is infinite" --bias b.npy
"$HELPER" make b.npy f32 1 2,4,7,9 100 -nan && extra "another NaN in a bias" "b.npy: element \[0, 1, 4, 1\] is NaN" --bias b.npy
"$HELPER" make a.npy f32 1 4 2 -inf && extra "an infinite slope" "a.npy: element \[2\] is infinite" --alibi a.npy
"$HELPER" make a.npy f32 1 4 0 nan && extra "NaN as slope" "a.npy: element \[0\] is NaN" --alibi a.npy
"$HELPER" make n.npy f32 1 4 3 -inf && extra "an infinite sink" "n.npy: element \[3\] is infinite" --sinks n.npy
"$HELPER" make n.npy f32 1 4 3 nan && extra "NaN as sink" "n.npy: element \[3\] is NaN" --sinks n.npy
"$HELPER" make d.npy f32 1 2,7,4,5 279 nan
# shellcheck disable=SC2086
extra "NaN in a gradient" "d.npy: element \[1, 6, 3, 4\] is NaN" $backward
"$HELPER" make d.npy f32 1 2,7,4,5 0 70000
# shellcheck disable=SC2086
extra "a gradient too large for f16" "d.npy: element \[0, 0, 0, 0\] is too large for f16" $backward --dtype f16
make_inputs f16
make_extras f16
"$HELPER" make b.npy f16 1 2,4,7,9 0 -inf 100 inf
attend "infinity in a bias of f16" 2 "b.npy: element \[0, 1, 4, 1\] is infinite" --bias b.npy
make_extras f16
"$HELPER" make b.npy f32 1 2,4,7,9 100 1e30
attend "a large bias of f32 is no trouble on f16" 1 "Vulkan" --bias b.npy --dtype f16
make_inputs f32
make_extras f32
# shellcheck disable=SC2086
attend "all options, without a device" 1 "Vulkan" --causal-block 2 --window 3,-1 $segments --bias b.npy --alibi a.npy --sinks n.npy \
    --softcap 2 --dropout 0.5 --seed 18446744073709551615 $backward --key-grad g1.npy --value-grad g2.npy --bias-grad g3.npy \
    --sink-grad g4.npy --lse l.npy --report r.json

# a line stays one line, whatever the name
refuses "a name of two lines" 1 "two?lines.npy" 0 "$VKRING" attend -q "two
lines.npy" -k k.npy -v v.npy -o o.npy

finish
