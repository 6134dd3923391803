#!/bin/sh
# SPDX-License-Identifier: MIT
# bench/plot: pictures of what was measured, and one line where there are none.
# shellcheck source=tests/tools/tap.sh
. "$(dirname -- "$0")/tap.sh"
: "${PLOT:?}"
python3 -c 'import matplotlib' 2>/dev/null || skip_all "no matplotlib"

# draws NAME FILE KIND OPTION...: a picture with that in it.
draws()
{
    name=$1 picture=$2 kind=$3
    shift 3
    rm -f "$picture"
    complaint=
    python3 "$PLOT" "$@" >stdout.txt 2>stderr.txt || complaint="exit status $?"
    grep -aq -- "$kind" "$picture" || complaint="no $kind in $picture"
    report "$name" "$complaint"
}

# fails NAME PATTERN OPTION...: in one line.
fails()
{
    name=$1 pattern=$2
    shift 2
    complaint=
    python3 "$PLOT" "$@" >stdout.txt 2>stderr.txt && complaint="it succeeds"
    grep -q "^plot: .*$pattern" stderr.txt || complaint="no line with: $pattern"
    [ "$(wc -l <stderr.txt)" -eq 1 ] || complaint="more than one line"
    report "$name" "$complaint"
}

# run_json RANKS: as vkring-bench --json writes it; a case that the device cannot run has no measures.
run_json()
{
    cat <<END
{"vkring": "0.1.0", "ranks": $1, "cases": [
  {"case": "a", "supported": true, "gflops": 9.5, "seconds_median": 0.2, "compute_seconds": 0.15, "exposed_wait_seconds": 0.01,
   "transfer_seconds": 0.1},
  {"case": "b", "supported": false}]}
END
}

# event NAME BEGIN PASS
event()
{
    echo "{\"name\": \"$1\", \"cat\": \"compute\", \"ph\": \"X\", \"pid\": 0, \"tid\": 1, \"ts\": $2, \"dur\": 5.5,"
    echo " \"args\": {\"pass\": \"$3\", \"step\": 0}}"
}

# trace_json MORE: as vkring attend --trace writes it.
trace_json()
{
    cat <<END
{"otherData": {}, "traceEvents": [
{"name": "process_name", "ph": "M", "pid": 0, "tid": 0, "args": {"name": "rank 0"}},
{"name": "thread_name", "ph": "M", "pid": 0, "tid": 1, "args": {"name": "compute"}},
{"name": "thread_sort_index", "ph": "M", "pid": 0, "tid": 1, "args": {"sort_index": 1}},
$(event forward 0 forward),
$(event forward 7.25 forward)$1
]}
END
}

run_json 1 >1.json
run_json 2 >2.json
trace_json "" >t.json
trace_json ", $(event "key gradient" 100 backward)" >both.json
echo plain >plain.txt
draws "scaling" s.svg ">a</text>" scaling -o s.svg 2.json 1.json
draws "overlap" o.png PNG overlap -o o.png 1.json 2.json
draws "a timeline" t.png PNG timeline -o t.png t.json
draws "a timeline of both passes" t.svg ">backward</text>" timeline -o t.svg both.json
fails "no such file" "cannot read none.json" scaling -o s.svg none.json
fails "no JSON" "cannot read plain.txt" overlap -o s.svg plain.txt
fails "no trace" "1.json is no trace" timeline -o s.svg 1.json
fails "nothing measured" "no case" scaling -o s.svg t.json
fails "a kind of picture that is not known" "cannot write s.xyz" scaling -o s.xyz 1.json

finish
