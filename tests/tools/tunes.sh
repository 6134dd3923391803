#!/bin/sh
# SPDX-License-Identifier: MIT
# vkring tune: it finds something, remembers it, says so; and what is refused.
# shellcheck source=tests/tools/tap.sh
. "$(dirname -- "$0")/tap.sh"
need_device
make_inputs f32
export XDG_CACHE_HOME="$work/cache"
small="--q-len 64 --heads 1 --head-dim 16 --seconds 0.3"

# Waits until that process catches SIGTERM, a minute at most: sooner it would just be ended.
wait_for_handler()
{
    for _ in $(seq 600); do
        ! grep -q '^SigCgt:.*[4-7c-f]...$' "/proc/$1/status" 2>/dev/null || return
        sleep 0.1
    done
}

kept()
{
    cat cache/vkring/kernels-* 2>/dev/null
}

# shellcheck disable=SC2086
{
    succeeds 0 "$VKRING" tune $small --forget
    [ -z "$(kept)" ] || complaint="it remembers: $(kept)"
    report "forgets" "$complaint"

    succeeds 0 "$VKRING" tune $small --json t.json
    [ "$(kept | grep -c '^f32 head_dim=16 value_dim=16 few: ')" -eq 1 ] || complaint="no line of the class in: $(kept)"
    grep -q 'GFLOP/s' stdout.txt || complaint="it says nothing"
    for key in kernels flops flops_by_kind tried complete trials; do
        grep -q "\"$key\": " t.json || complaint="no $key in the JSON"
    done
    report "remembers" "$complaint"

    # JSON that cannot be written is refused before the search
    refuses "JSON in no folder" 1 "cannot write none/t.json" 0 timeout 60 "$VKRING" tune --exhaustive --q-len 64 --json none/t.json
    refuses "JSON over a folder" 1 "cannot write .: Is a directory" 0 timeout 60 "$VKRING" tune --exhaustive --q-len 64 --json .
    # shellcheck disable=SC2016,SC2086
    succeeds 0 sh -c '"$0" "$@" | cat >through.json' "$VKRING" tune $small --forget --json /dev/stdout
    grep -q '"trials": ' through.json || complaint="no JSON went through the pipe"
    report "JSON goes into a pipe" "$complaint"

    # a search that would take minutes
    rm -r cache t.json
    # shellcheck disable=SC2016
    timeout -k 60 120 sh -c 'echo $$ >process; exec "$0" "$@"' "$VKRING" tune --exhaustive --q-len 64 --heads 1 --head-dim 16 --json t.json \
        >stdout.txt 2>stderr.txt &
    until [ -s process ]; do sleep 0.1; done
    wait_for_handler "$(cat process)"
    kill "$!"
    wait "$!"
    ended=$?
    complaint=
    [ "$ended" -eq 143 ] || complaint="it ends with $ended, not 143"
    grep -q 'ended early; remembered' stdout.txt || complaint="it does not say that it ended early"
    grep -q '^vkring: ended by signal 15' stderr.txt || complaint="it does not say why it ended"
    grep -q '"complete": false' t.json || complaint="the JSON does not say that it ended early"
    [ "$(kept | grep -c '^f32 head_dim=16 value_dim=16 few: ')" -eq 1 ] || complaint="what was found is lost"
    report "a signal ends it with what was found" "$complaint"

    succeeds 0 "$VKRING" devices --kernels
    [ "$(grep -c 'forward  *by kind: .*lanes_per_row=' stdout.txt)" -ge 2 ] || complaint="kernels are not listed"
    report "devices tell" "$complaint"
    VKRING_KERNELS="keys_per_step=2" succeeds 0 "$VKRING" devices --json --kernels
    [ "$(grep -c '"source": "by environment"' stdout.txt)" -ge 4 ] || complaint="the environment does not count"
    report "devices tell why" "$complaint"

    refuses "a word that is none" 2 "unknown option --speed" 0 "$VKRING" tune --speed 3
    refuses "no time" 2 "--seconds: '0' is not" 0 "$VKRING" tune --seconds 0
    refuses "both ways" 2 "--exhaustive and --seconds contradict" 0 "$VKRING" tune --exhaustive --seconds 3
    refuses "no such dimension" 2 "--head-dim: '300' is not" 0 "$VKRING" tune --head-dim 300
    VKRING_KERNELS="frob" refuses "the environment's word that is none" 2 "no choice of kernels is called 'frob'" 0 "$VKRING" tune $small --forget
    VKRING_KERNELS="rows_per_lane=3" refuses "the environment's wish" 2 "rows_per_lane=3" 0 "$VKRING" attend -q q.npy -k k.npy -v v.npy -o o.npy
}
finish
