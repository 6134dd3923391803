#!/bin/sh
# SPDX-License-Identifier: MIT
# vkring attend --trace: the timeline of all ranks, beside the report.
# shellcheck source=tests/tools/tap.sh
. "$(dirname -- "$0")/tap.sh"
: "${TRACE_CHECK:?}"
need_device

# traces NAME RANKS OPTION...: right, with a trace that tells of the same run as the report.
traces()
{
    name=$1 of_ranks=$2
    shift 2
    attends "$name" "$of_ranks" --trace t.json --report r.json "$@"
    complaint=
    "$TRACE_CHECK" t.json r.json >judgement.txt 2>&1 || complaint=$(tr '\n' ' ' <judgement.txt)
    report "$name: the trace is that of the report" "$complaint"
}

make_inputs f32
make_extras f32
traces "without a launcher" 0 --causal
# shellcheck disable=SC2086,SC2154
traces "backward" 0 $gradients
if [ -n "${MPIRUN:-}" ]; then
    traces "3 ranks" 3 --causal
    # shellcheck disable=SC2086
    traces "3 ranks, backward with sinks" 3 --sinks n.npy $gradients --sink-grad gs.npy
    traces "3 ranks, uneven" 3 --shares 0,2,1
    "$HELPER" make q.npy f32 1 1,1600,4,16
    "$HELPER" make k.npy f32 2 1,1600,4,16
    "$HELPER" make v.npy f32 3 1,1600,4,16
    traces "2 ranks, one with little to do" 2 --shares 20,1
    # the clock of rank 1 is far ahead, where the system lets it be
    if unshare --time --monotonic 1000 --fork true 2>/dev/null; then
        cat >with-clocks <<END
#!/bin/sh
[ "\${OMPI_COMM_WORLD_RANK:-\$PMI_RANK}" = 0 ] && exec "$VKRING" "\$@"
exec unshare --time --monotonic 1000 --fork "$VKRING" "\$@"
END
        chmod +x with-clocks
        VKRING=./with-clocks
        traces "2 ranks, two clocks" 2 --shares 20,1
    fi
fi
make_inputs f32
refuses "the trace over the report" 2 "over another output" 0 "$VKRING" attend -q q.npy -k k.npy -v v.npy -o o.npy --report t.json --trace t.json
refuses "the trace over an input" 2 "over an input" 0 "$VKRING" attend -q q.npy -k k.npy -v v.npy -o o.npy --trace ./q.npy

finish
