#!/bin/sh
# SPDX-License-Identifier: MIT
# vkring plan: simulated seconds that are known, speeds from reports, and what is refused. Needs no device.
# shellcheck source=tests/tools/tap.sh
. "$(dirname -- "$0")/tap.sh"
export VK_DRIVER_FILES=/nonexistent VK_ICD_FILENAMES=/nonexistent

# plans NAME KEY VALUE OPTION...: where the JSON first has the key, so much stands there.
plans()
{
    name=$1 key=$2 value=$3
    shift 3
    rm -f p.json
    succeeds 0 "$VKRING" plan --json p.json "$@"
    got=$(sed -n "s/^ *\"$key\": \([^,]*\),*\$/\1/p" p.json | head -n 1)
    [ "$got" = "$value" ] || complaint="$key is $got, not $value"
    report "$name" "$complaint"
}

# A pair a second: 4 · 16 FLOP/s for one head of 16.
pairs="--head-dim 16 --flops 64"
# shellcheck disable=SC2086
{
    plans "one rank" run_seconds 2304.0 --ranks 1 --q-len 48 $pairs
    plans "contiguous, causal" run_seconds 510.0 --ranks 4 --q-len 48 --causal --layout contiguous $pairs
    plans "zigzag, causal" run_seconds 294.0 --ranks 4 --q-len 48 --causal $pairs
    plans "efficiency" efficiency 1.0 --ranks 4 --q-len 48 --causal $pairs
    plans "slow links" run_seconds 1000.0 --ranks 4 --q-len 40 --link 4.266666666666666666 $pairs
    plans "latency" run_seconds 144.0 --ranks 2 --q-len 8 --latency 64 $pairs
    plans "copies" run_seconds 420.0 --ranks 4 --q-len 40 --copy 64 $pairs
    plans "a window" ring_steps 2 --ranks 4 --q-len 40 --causal --window 5,-1 $pairs
    plans "speeds of each rank" run_seconds 800.0 --ranks 2 --q-len 40 --head-dim 16 --flops 64,192
    plans "shares" run_seconds 400.0 --ranks 2 --q-len 40 --head-dim 16 --flops 64,192 --shares 1,3
    plans "shares as speeds are" run_seconds 400.0 --ranks 2 --q-len 40 --head-dim 16 --flops 64,192 --shares measured
    plans "units" run_seconds 2.25 --ranks 1 --q-len 1.5Ki --heads 2 --head-dim 32 --flops 256Mi,256Mi --ranks 2 --shares 1,0
    plans "no limit of memory" longest_kv_len null --ranks 4 --q-len 40 $pairs
    plans "a limit of memory" fits false --ranks 4 --q-len 1Mi --memory 1Mi $pairs
}

# What other commands leave.
cat >report.json <<'END'
{"vkring": "0", "ranks": [
  {"rank": 0, "flop": 640.0, "seconds": {"compute": 10.0}, "backward": null},
  {"rank": 1, "flop": 1920.0, "seconds": {"compute": 10.0}, "backward": null}]}
END
plans "speeds of a report" run_seconds 400.0 --ranks 2 --q-len 40 --head-dim 16 --from report.json --shares measured

# Kernels with tiles of 8 rows and steps of 8 keys, whose rows take 32 pairs each.
cat >kernels.json <<'END'
{"ranks": [{"flop": 1.0, "computed_flop": 640.0, "seconds": {"compute": 10.0},
  "device": {"kind": "CPU", "driver": "llvmpipe Mesa 26.1.6", "subgroup_size": 8, "unified_memory": true}}]}
END
plans "kernels of a report" run_seconds 4352.0 --ranks 1 --q-len 64 --causal --head-dim 16 --from kernels.json
cat >kernels.json <<'END'
{"ranks": 2, "kind": "CPU", "driver": "llvmpipe Mesa 26.1.6", "subgroup_size": 8, "unified_memory": true, "cases": [
  {"problem": {"type": "f32", "head_dim": 16, "value_dim": 16}, "gflops": 1, "seconds_median": 1, "computed_flop": 640, "compute_seconds": 10}]}
END
plans "kernels of results" run_seconds 4352.0 --ranks 1 --q-len 64 --causal --head-dim 16 --from kernels.json
cat >bench.json <<'END'
{"ranks": 2, "cases": [
  {"problem": {"type": "f32", "head_dim": 32, "value_dim": 32, "backward": false}, "gflops": 5, "seconds_median": 1, "compute_seconds": 1},
  {"problem": {"type": "f32", "head_dim": 16, "value_dim": 16, "backward": false}, "gflops": 64e-9, "seconds_median": 20, "compute_seconds": 10},
  {"problem": {"type": "f32", "head_dim": 16, "value_dim": 16, "backward": true}, "gflops": 1, "seconds_median": 1, "compute_seconds": 1}]}
END
plans "speeds of results" run_seconds 1600.0 --ranks 1 --q-len 40 --head-dim 16 --from bench.json

# shellcheck disable=SC2086
succeeds 0 "$VKRING" plan --ranks 20 --q-len 2000 --causal --backward --memory 1Mi $pairs
for words in "20 ranks, zigzag" "^forward  *[0-9]" "^backward  *[0-9]" "step 19" "own keys" "^19 " "…" "longest sequence that fits: [1-9]"; do
    grep -q "$words" stdout.txt || complaint="no '$words' in the table"
done
[ "$(wc -l <stdout.txt)" -lt 50 ] || complaint="the table is long"
report "the table" "$complaint"

# plan NAME STATUS PATTERN OPTION...
plan()
{
    name=$1 status=$2 pattern=$3
    shift 3
    refuses "$name" "$status" "$pattern" 0 "$VKRING" plan --ranks 2 --q-len 40 --head-dim 16 "$@"
}

for option in ranks q-len head-dim flops; do
    case $option in
    ranks) rest="--q-len 1 --head-dim 1 --flops 1" ;;
    q-len) rest="--ranks 1 --head-dim 1 --flops 1" ;;
    head-dim) rest="--ranks 1 --q-len 1 --flops 1" ;;
    flops) rest="--ranks 1 --q-len 1 --head-dim 1" ;;
    esac
    # shellcheck disable=SC2086
    refuses "without --$option" 2 "option --$option" 0 "$VKRING" plan $rest
done
plan "unknown option" 2 "unknown option --frob; see vkring plan" --frob
plan "argument" 2 "unexpected argument 'more'" more
for value in 0 -1 1.5 x "" 65537 1e9; do
    plan "--ranks '$value'" 2 "'$value' is not" --flops 1 --ranks "$value"
done
for value in 0 -1 x "" 1X 1KK 1i "1 G" nan inf 1e999 1e308P "1," 1,0; do
    plan "--flops '$value'" 2 "'$value' is not" --flops "$value"
done
plan "--latency '-1'" 2 "'-1' is not" --flops 1 --latency -1
plan "speeds of other ranks" 2 "^--flops has 3 numbers for 2 ranks" --flops 1,2,3
plan "shares of other ranks" 2 "^--shares has 3 numbers for 2 ranks" --flops 1 --shares 1,2,3
plan "heads that do not divide" 2 "kv_heads" --flops 1 --heads 3 --kv-heads 2
plan "--from and --flops" 2 "^--from and --flops contradict" --flops 1 --from report.json
plan "no report" 1 "^cannot open none.json" --from none.json
plan "an empty name" 2 "name of the file is empty" --from ""
echo '{"ranks": [' >broken.json
plan "half a report" 2 "^broken.json: is not JSON" --from broken.json
echo '{"ranks": 3}' >other.json
plan "another JSON" 2 "^other.json: is neither" --from other.json
plan "a report of other ranks" 2 "^report.json: has 2 ranks, neither 1 nor 3" --from report.json --ranks 3
plan "results of other cases" 2 "^bench.json: has no case" --from bench.json --head-dim 8
plan "a folder as report" 1 "^cannot read .: Is a directory" --from .
plan "nowhere to write" 1 "^cannot write none/p.json" --flops 1 --json none/p.json
plan "results over the report" 2 "^./report.json would be written over an input" --from report.json --json ./report.json
plan "no place for them" 1 "^cannot write /dev/full: No space left" --flops 1 --json /dev/full

# What was there before stays where there is no place for what is new.
echo before >kept.json
(
    ulimit -f 0
    trap '' XFSZ
    "$VKRING" plan --ranks 2 --q-len 40 --head-dim 16 --flops 1 --json kept.json >/dev/null 2>&1
)
got=$?
complaint=
[ "$got" -eq 1 ] || complaint="exit status $got, not 1"
[ "$(cat kept.json)" = before ] || complaint="the results that were there are gone"
[ -z "$(leftovers)" ] || complaint="left over: $(leftovers)"
report "results without place" "$complaint"
"$VKRING" plan --ranks 2 --q-len 40 --head-dim 16 --flops 1 --json shown.json >shown.json 2>stderr.txt
got=$?
complaint=
[ "$got" -eq 1 ] && grep -q "^vkring: cannot replace shown.json: standard output goes there" stderr.txt || complaint="exit status $got"
report "results where the table goes" "$complaint"
"$VKRING" plan --ranks 2 --q-len 40 --head-dim 16 --flops 1 --json closed.json >&- 2>stderr.txt
got=$?
complaint=
[ "$got" -eq 1 ] && grep -q "^vkring: cannot write standard output: Bad file descriptor" stderr.txt || complaint="exit status $got"
! grep -q "2 ranks" closed.json || complaint="the table went to the results"
report "the table where nothing is open" "$complaint"

finish
