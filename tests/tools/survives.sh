#!/bin/sh
# SPDX-License-Identifier: MIT
# What is left when vkring is ended before it is done: the output that was there, no temporary file, one line.
# shellcheck source=tests/tools/tap.sh
. "$(dirname -- "$0")/tap.sh"
need_device

attend="-q q.npy -k k.npy -v v.npy -o o.npy --lse l.npy --report r.json"

wait_for_temporary()
{
    tries=0
    while [ -z "$(leftovers)" ] && [ "$tries" -lt 1000 ]; do
        sleep 0.01
        tries=$((tries + 1))
    done
}

look()
{
    [ "$(lines)" -eq 1 ] || complaint="$(lines) lines on standard error"
    [ "$(cat o.npy)" = before ] || complaint="the output that was there is gone"
    [ -z "$(leftovers)" ] || complaint="left over: $(leftovers)"
    [ ! -e l.npy ] && [ ! -e r.json ] || complaint="there are other outputs"
}

make_inputs f32

for signal in INT TERM HUP QUIT SEGV; do
    complaint=
    echo before >o.npy
    # a shell makes its background jobs ignore INT and QUIT; env gives them back
    # shellcheck disable=SC2086
    env --default-signal=INT --default-signal=QUIT "$VKRING" attend $attend >stdout.txt 2>stderr.txt &
    process=$!
    wait_for_temporary
    kill -s "$signal" "$process"
    wait "$process" && complaint="exit status 0"
    look
    report "SIG$signal" "$complaint"
done

# a file system without room, as far as a process sees it
make_inputs f32
"$HELPER" make q.npy f32 1 2 7000 4 8
# shellcheck disable=SC2016
refuses "no room for the output" 1 "cannot write .*o.npy: File too large" 0 \
    sh -c 'ulimit -f 64; exec "$0" "$@"' "$VKRING" attend -q q.npy -k k.npy -v v.npy -o o.npy
make_inputs f32

if [ -z "${MPIRUN:-}" ]; then
    finish
    exit
fi

# with_rank RANK SIGNAL: of three ranks, that one gets the signal once the temporary files are there.
with_rank()
{
    echo before >o.npy
    # shellcheck disable=SC2016,SC2086
    on 3 sh -c '
        if [ "${OMPI_COMM_WORLD_RANK:-$PMI_RANK}" = "$1" ]; then
            (
                tries=0
                while [ -z "$(find . -name ".vkring-*")" ] && [ "$tries" -lt 1000 ]; do
                    sleep 0.01
                    tries=$((tries + 1))
                done
                kill -s "$2" "$$"
            ) &
        fi
        shift 2
        exec "$@"' sh "$1" "$2" "$VKRING" attend $attend --timeout 3
}

for rank in 0 1; do
    complaint=
    with_rank "$rank" KILL && complaint="exit status 0"
    look
    report "rank $rank killed" "$complaint"
done

for rank in 0 2; do
    complaint=
    with_rank "$rank" STOP && complaint="exit status 0"
    look
    grep -q "^vkring: rank $rank stopped answering" stderr.txt || complaint="no line that names rank $rank"
    report "rank $rank stopped" "$complaint"
done

finish
