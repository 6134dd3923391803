#!/bin/sh
# SPDX-License-Identifier: MIT
# Ranks that stop in a call of MPI, where the library's deadlines do not help: one line, in time, and nothing half written.
# shellcheck source=tests/tools/tap.sh
. "$(dirname -- "$0")/tap.sh"
: "${VKRING_STALLING:?}"
need_device
make_inputs f32

# old drivers compile a kernel as it first runs: not within the short deadlines below
attends "ranks that do not stop" 3
rm -f l.npy

# in_call RANK CALL [FILES]: of three ranks, that one stops in a call of MPI, for good.
in_call()
{
    echo before >o.npy
    # shellcheck disable=SC2086
    VKRING_TEST_RANK=$1 VKRING_TEST_STOPS=$2 on 3 "$VKRING_STALLING" attend ${3:-$all_outputs} --timeout 3
}

# between two phases, where only the library waits
complaint=
in_call 1 MPI_Comm_idup && complaint="exit status 0"
check_survival
grep -q "^vkring: rank 1 stopped answering" stderr.txt || complaint="no line that names rank 1"
report "rank 1 stopped before it makes a communicator" "$complaint"

# the rank beside the launcher, whose line is sure to be seen, goes before others that give up a little earlier
complaint=
in_call all MPI_Comm_idup && complaint="exit status 0"
check_survival
grep -q "^vkring: rank 1 stopped answering; rank 0: " stderr.txt || complaint="no line of rank 0"
report "ranks hear no more of each other" "$complaint"

# before ranks know each other; alarms of this program come early
for rank in 0 2; do
    complaint=
    in_call "$rank" MPI_Init_thread && complaint="exit status 0"
    check_survival
    grep -q "^vkring: not all ranks started MPI in 300 seconds" stderr.txt || complaint="no line that says so"
    report "rank $rank stopped before it starts MPI" "$complaint"
done

# before others know that the outputs have their names
complaint=
in_call 0 rename "-q q.npy -k k.npy -v v.npy -o o.npy" && complaint="exit status 0"
[ "$(lines)" -eq 1 ] || complaint="$(lines) lines on standard error"
grep -q "^vkring: rank 0 stopped answering" stderr.txt || complaint="no line that names rank 0"
[ -z "$(leftovers)" ] || complaint="left over: $(leftovers)"
[ -n "$complaint" ] || judges check -q q.npy -k k.npy -v v.npy -o o.npy
report "rank 0 stopped once outputs have their names" "$complaint"

# after all is written
complaint=
in_call 1 MPI_Finalize && complaint="exit status 0"
[ "$(lines)" -eq 1 ] || complaint="$(lines) lines on standard error"
grep -q "^vkring: all is done, but not all ranks left MPI in 10 seconds" stderr.txt || complaint="no line that says so"
[ -z "$(leftovers)" ] || complaint="left over: $(leftovers)"
[ -n "$complaint" ] || judges check -q q.npy -k k.npy -v v.npy -o o.npy --lse l.npy
report "rank 1 stopped when it ends" "$complaint"

finish
