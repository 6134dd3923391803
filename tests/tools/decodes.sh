#!/bin/sh
# SPDX-License-Identifier: MIT
# vkring decode: what it refuses; results against the oracle, whatever the pieces and ranks; its report.
# shellcheck source=tests/tools/tap.sh
. "$(dirname -- "$0")/tap.sh"

files="-q q.npy -k k.npy -v v.npy -o o.npy"

# refused NAME PATTERN OPTION...: before any device is looked for
# shellcheck disable=SC2086
refused()
{
    name=$1 pattern=$2
    shift 2
    refuses "$name" 2 "$pattern" 0 env VK_DRIVER_FILES=/nonexistent VK_ICD_FILENAMES=/nonexistent "$VKRING" decode $files "$@"
}

# decodes NAME RANKS OPTION...: what the oracle has of causal attention to the same files.
# shellcheck disable=SC2086
decodes()
{
    name=$1 processes=$2
    shift 2
    rm -f o.npy l.npy
    succeeds "$processes" "$VKRING" decode $files --lse l.npy "$@"
    [ -n "$complaint" ] || judges check $files --lse l.npy --causal "$@"
    report "$name" "$complaint"
}

check_report()
{
    complaint=
    for word in '"cached_rows": 18' '"steps": 4' '"median_step_seconds": [0-9]' '"cache_storage_bytes": [1-9]' '"prefill"' '"storage": "type"'; do
        grep -q "$word" r.json || complaint="no $word in the report"
    done
    report "the report tells of cache and steps" "$complaint"
}

make_inputs f32
make_extras f32
"$HELPER" make q9.npy i32 4 2,9
"$HELPER" make b7.npy f32 4 1,1,1,7
refused "steps past the keys" "--steps 10: kv_len is 9, for 9 of 1 rows" --steps 10
refused "long steps past the keys" "--steps 4: kv_len is 9, for 3 of 3 rows" --steps 4 --step-rows 3
refused "no rows in a step" "--step-rows" --step-rows 0
refused "no rows in a piece" "--prefill-rows" --prefill-rows 0
refused "an unknown storage" "--storage: 'f64' is not type or int8" --storage f64
refused "an unknown way" "--pass: 'none' is not queries, keys or auto" --pass none
refused "an option of attend alone" "unknown option --layout; see vkring decode --help" --layout striped
refused "ids of keys alone" "--key-segment-ids needs --segment-ids" --key-segment-ids t.npy
refused "fewer ids than queries" "q_len of q9.npy is 9, but of q.npy 7" --segment-ids q9.npy --key-segment-ids t.npy
refused "ids of queries for more keys" "--segment-ids needs --key-segment-ids" --segment-ids s.npy
refused "a bias for fewer keys" "kv_len of b7.npy is 7, but of k.npy 9" --bias b7.npy
"$HELPER" make q.npy f32 1 2,10,4,8
refused "more queries than keys" "q_len is 10 and kv_len 9"
make_inputs f32

need_device
decodes "one piece and steps of one row" 0 --steps 4 --report r.json
check_report
decodes "pieces that end where queries begin" 0 --prefill-rows 5 --steps 2
decodes "steps alone" 0 --steps 9
decodes "no steps" 0 --steps 0 --prefill-rows 3
decodes "longer steps, window, softcap, slopes, sinks" 0 --steps 2 --step-rows 3 --window 4,-1 --softcap 3 --alibi a.npy --sinks n.npy
decodes "segments" 0 --steps 3 --prefill-rows 4 --segment-ids s.npy --key-segment-ids t.npy
for shape in 2,4,1,9 1,4,7,9; do
    "$HELPER" make bias.npy f32 10 "$shape" 3 -inf 8 -inf
    decodes "a bias of $shape" 0 --steps 2 --prefill-rows 4 --bias bias.npy
done
decodes "bf16 on the device" 0 --dtype bf16 --steps 3
make_inputs f16
decodes "f16" 0 --steps 4
succeeds 0 "$VKRING" decode -q q.npy -k k.npy -v v.npy -o o.npy --storage int8 --steps 4
report "8-bit storage" "$complaint"
make_inputs f32
if [ -n "${MPIRUN:-}" ]; then
    decodes "two ranks" 2 --steps 4 --prefill-rows 4 --report r.json
    complaint=
    [ "$(grep -c '_sent_bytes": [1-9]' r.json)" -eq 4 ] || complaint="not all ranks say how much they sent"
    report "the report tells what ranks sent" "$complaint"
    decodes "three ranks, some without a row" 3 --steps 2 --step-rows 2 --dropout 0.3 --seed 7
    everything="--segment-ids s.npy --key-segment-ids t.npy --bias b.npy --window 5,-1 --softcap 3 --alibi a.npy --sinks n.npy"
    # shellcheck disable=SC2086
    decodes "three ranks, every mask and modifier" 3 --steps 2 --prefill-rows 4 --pass queries $everything
    "$HELPER" make bias.npy f32 10 2,1,1,9 3 -inf 8 -inf
    decodes "three ranks, a bias of positions" 3 --steps 2 --pass queries --bias bias.npy
    # shellcheck disable=SC2086
    decodes "two ranks, keys around the ring with all of it" 2 --steps 2 --pass keys $everything
    decodes "three ranks, keys around the ring" 3 --steps 2 --pass keys --window 5,-1 --softcap 3 --alibi a.npy --sinks n.npy
fi
finish
