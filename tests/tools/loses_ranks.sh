#!/bin/sh
# SPDX-License-Identifier: MIT
# What is left when one rank of several dies or stops: as for one process, and the launcher gets its ranks back.
# shellcheck source=tests/tools/tap.sh
. "$(dirname -- "$0")/tap.sh"
need_device
make_inputs f32

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
        exec "$@"' sh "$1" "$2" "$VKRING" attend $all_outputs --timeout 3
}

for rank in 0 1; do
    complaint=
    with_rank "$rank" KILL && complaint="exit status 0"
    check_survival
    report "rank $rank killed" "$complaint"
done

for rank in 0 2; do
    complaint=
    with_rank "$rank" STOP && complaint="exit status 0"
    check_survival
    grep -q "^vkring: rank $rank stopped answering" stderr.txt || complaint="no line that names rank $rank"
    report "rank $rank stopped" "$complaint"
done

finish
