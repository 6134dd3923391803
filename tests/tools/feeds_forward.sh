#!/bin/sh
# SPDX-License-Identifier: MIT
# vkring feedforward: what it refuses, without any device in sight; then results against the oracle, and what becomes of files.
# shellcheck source=tests/tools/tap.sh
. "$(dirname -- "$0")/tap.sh"

# make_layer f32|f16: 21 rows, model_dim 12, hidden_dim 20, output_dim 8; d.npy is the gradient by the output.
make_layer()
{
    "$HELPER" make x.npy "$1" 1 21,12
    "$HELPER" make w1.npy "$1" 2 12,20
    "$HELPER" make wg.npy "$1" 3 12,20
    "$HELPER" make w2.npy "$1" 4 20,8
    "$HELPER" make b1.npy "$1" 5 20
    "$HELPER" make bg.npy "$1" 6 20
    "$HELPER" make b2.npy "$1" 7 8
    "$HELPER" make d.npy "$1" 8 21,8
}

files="-x x.npy --w1 w1.npy --w2 w2.npy -o o.npy"
gate="--wg wg.npy --b1 b1.npy --bg bg.npy --b2 b2.npy"
gradients="--output-grad d.npy --input-grad gx.npy --w1-grad g1.npy --w2-grad g2.npy"

# refused NAME STATUS PATTERN OPTION...
# shellcheck disable=SC2086
refused()
{
    name=$1 status=$2 pattern=$3
    shift 3
    refuses "$name" "$status" "$pattern" 0 env VK_DRIVER_FILES=/nonexistent VK_ICD_FILENAMES=/nonexistent "$VKRING" feedforward $files "$@"
}

# bad NAME PATTERN: one of the files is what was just made of it; then all are good again.
# shellcheck disable=SC2086
bad()
{
    refused "$1" 2 "$2" $gate --output-grad d.npy --input-grad gx.npy
    make_layer f32
}

# feeds NAME OPTION...
# shellcheck disable=SC2086
feeds()
{
    name=$1
    shift
    rm -f o.npy g?.npy
    set -- $files "$@"
    succeeds 0 "$VKRING" feedforward "$@"
    [ -n "$complaint" ] || judges feedforward "$@"
    report "$name" "$complaint"
}

make_layer f32
make_inputs f32

# usage
refuses "no files" 2 "option -x, --input is missing" 0 "$VKRING" feedforward
refuses "without --w1" 2 "option --w1 is missing" 0 "$VKRING" feedforward -x x.npy --w2 w2.npy -o o.npy
refuses "without --w2" 2 "option --w2 is missing" 0 "$VKRING" feedforward -x x.npy --w1 w1.npy -o o.npy
refuses "without -o" 2 "option -o, --output is missing" 0 "$VKRING" feedforward -x x.npy --w1 w1.npy --w2 w2.npy
refused "no device" 1 "Vulkan"
refused "unknown option" 2 "unknown option --frob; see vkring feedforward --help" --frob
refused "an activation unknown" 2 "act: 'swish' is not none, relu" --act swish
refused "a type unknown" 2 "dtype: 'f64' is not" --dtype f64
refused "no rows at a time" 2 "chunk-rows: '0' is not" --chunk-rows 0
refused "an empty name" 2 "b1: the name of the file is empty" --b1 ""
refused "--bg alone" 2 "^--bg needs --wg" --bg bg.npy
refused "--w1-grad alone" 2 "^--w1-grad needs --output-grad" --w1-grad g1.npy
refused "--output-grad alone" 2 "^--output-grad needs --input-grad" --output-grad d.npy
refused "--b1-grad without --b1" 2 "^--b1-grad needs --b1" --output-grad d.npy --b1-grad g.npy
refused "a missing file" 1 "cannot open none.npy" --b1 none.npy
refused "output over an input" 2 "over an input" -o w2.npy
refused "two outputs in one file" 2 "over another output" --output-grad d.npy --input-grad o.npy
refused "output in no folder" 1 "cannot write none/o.npy" -o none/o.npy

# files
printf 'hello, this is no tensor' >w1.npy && bad "no .npy file" "w1.npy: not an .npy file"
"$HELPER" make x.npy f32 1 21,12,1 && bad "three dimensions" "x.npy: has 3 dimensions, not 2: \[rows, model_dim\]"
"$HELPER" make b2.npy f32 1 1,8 && bad "a bias of two dimensions" "b2.npy: has 2 dimensions, not 1: \[output_dim\]"
"$HELPER" make w1.npy f32 1 13,20 && bad "model_dim of W1" "model_dim of w1.npy is 13, but of x.npy 12"
"$HELPER" make wg.npy f32 1 12,21 && bad "hidden_dim of Wg" "hidden_dim of wg.npy is 21, but of w1.npy 20"
"$HELPER" make w2.npy f32 1 19,8 && bad "hidden_dim of W2" "hidden_dim of w2.npy is 19, but of w1.npy 20"
"$HELPER" make b1.npy f32 1 8 && bad "hidden_dim of b1" "hidden_dim of b1.npy is 8, but of w1.npy 20"
"$HELPER" make d.npy f32 1 20,8 && bad "rows of the gradient" "rows of d.npy is 20, but of x.npy 21"
"$HELPER" make w2.npy f16 1 20,8 && bad "types that differ" "w2.npy is of type <f2, but x.npy of <f4"
"$HELPER" make x.npy f32 1 21,0 && bad "no model_dim" "x.npy: its model_dim is 0"
"$HELPER" make w1.npy f32 1 12,20 45 nan && bad "NaN" "w1.npy: element \[2, 5\] is NaN"
"$HELPER" make b1.npy f32 1 20 3 65520
refused "too large for f16" 2 "b1.npy: element \[3\] is too large for f16" --b1 b1.npy --dtype f16
make_layer f32

if [ -n "${MPIRUN:-}" ]; then
    # shellcheck disable=SC2086
    refuses "two ranks" 2 "is for one process" 2 "$VKRING" feedforward $files
fi

"$VKRING" devices >/dev/null 2>&1
if [ $? -eq 1 ]; then
    finish
    exit
fi

# shellcheck disable=SC2086
{
    feeds "gelu by default"
    feeds "relu with biases" --act relu --b1 b1.npy --b2 b2.npy
    feeds "SwiGLU with gradients" $gate $gradients --wg-grad gg.npy --b1-grad ga.npy --bg-grad gb.npy --b2-grad gc.npy --chunk-rows 8
    feeds "gradients of a few" $gradients --act gelu-tanh --quiet
    feeds "a gradient of a bias alone" --b2 b2.npy --output-grad d.npy --b2-grad gc.npy
    feeds "as bf16" $gate $gradients --dtype bf16
    "$HELPER" make x.npy f32 1 0,12
    "$HELPER" make d.npy f32 1 0,8
    feeds "no rows" $gradients
    make_layer f16
    feeds "f16 with a report" $gate $gradients --report r.json
}
complaint=
for word in '"vkring"' '"name"' '"rows": 21' '"activation": "silu"' '"gated": true' '"forward"' '"backward"' '"planned_device_bytes"'; do
    grep -q "$word" r.json || complaint="no $word in the report"
done
report "the report tells what was done" "$complaint"
refuses "no such device" 1 "device 4000000000 does not exist" 0 "$VKRING" feedforward -x x.npy --w1 w1.npy --w2 w2.npy -o o.npy --device 4000000000

finish
