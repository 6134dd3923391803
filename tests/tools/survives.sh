#!/bin/sh
# SPDX-License-Identifier: MIT
# What is left when vkring is ended before it is done: the output that was there, no temporary file, one line.
# shellcheck source=tests/tools/tap.sh
. "$(dirname -- "$0")/tap.sh"
need_device

wait_for_temporary()
{
    tries=0
    while [ -z "$(leftovers)" ] && [ "$tries" -lt 1000 ]; do
        sleep 0.01
        tries=$((tries + 1))
    done
}

make_inputs f32
make_extras f32

for signal in INT TERM HUP QUIT USR1 USR2 SEGV; do
    complaint=
    echo before >o.npy
    # a shell makes its background jobs ignore INT and QUIT; env gives them back
    # shellcheck disable=SC2086,SC2154
    env --default-signal=INT --default-signal=QUIT "$VKRING" attend $all_outputs $gradients >stdout.txt 2>stderr.txt &
    process=$!
    wait_for_temporary
    kill -s "$signal" "$process"
    wait "$process" && complaint="exit status 0"
    check_survival
    report "SIG$signal" "$complaint"
done

# a file system without room, as far as a process sees it
make_inputs f32
"$HELPER" make q.npy f32 1 2,7000,4,8
# shellcheck disable=SC2016
refuses "no room for the output" 1 "cannot write .*o.npy: File too large" 0 \
    sh -c 'ulimit -f 64; exec "$0" "$@"' "$VKRING" attend -q q.npy -k k.npy -v v.npy -o o.npy

finish
