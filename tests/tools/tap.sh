# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# What the scripts beside this file share. Sourced, never run. They get: VKRING and HELPER, the programs; MPIRUN, or nothing without MPI.
# The working folder is a fresh one, and each check starts from the files q.npy, k.npy and v.npy there.

: "${VKRING:?}" "${HELPER:?}"
tests=0
failures=0
gates=unknown
# Seconds for one command: what hangs takes longer, and what a busy machine does beside others not as long.
patience=300
work=$(mktemp -d)
# Of Open MPI, which names what it leaves there by process number, and refuses to start where another of the same number did: so do
# processes of other namespaces, as containers have.
sessions=$(mktemp -d)
trap 'rm -rf -- "$work" "$sessions"' EXIT
trap 'exit 1' HUP INT TERM
cd "$work" || exit 1

# Every test is one line, ok or not, with what was seen where it is not.
report()
{
    tests=$((tests + 1))
    if [ -z "$2" ]; then
        echo "ok $tests - $1"
        return
    fi
    failures=$((failures + 1))
    echo "not ok $tests - $1"
    echo "# $2"
    sed 's/^/# stderr: /' stderr.txt
}

finish()
{
    echo "1..$tests"
    echo "# $((tests - failures)) passed, $failures failed"
    [ "$failures" -eq 0 ]
}

# fails_in_a_line WHO NAME PATTERN COMMAND...: it fails, and all that it complains of is one line of WHO's with the pattern.
fails_in_a_line()
{
    who=$1 name=$2 pattern=$3
    shift 3
    complaint=
    timeout -k 10 "$patience" "$@" >stdout.txt 2>stderr.txt </dev/null && complaint="it succeeds"
    grep -q "^$who: .*$pattern" stderr.txt || complaint="no line with: $pattern"
    [ "$(wc -l <stderr.txt)" -eq 1 ] || complaint="more than one line"
    report "$name" "$complaint"
}

skip_all()
{
    echo "1..0 # SKIP $1"
    exit 0
}

# Each file is made once: to start a program takes longer than its work.
# make_inputs f32|f16: one small problem, [2, 7, 4, 8] queries, [2, 9, 2, 8] keys, [2, 9, 2, 5] values.
make_inputs()
{
    if [ ! -d "inputs-$1" ]; then
        mkdir "inputs-$1"
        "$HELPER" make "inputs-$1/q.npy" "$1" 1 2,7,4,8
        "$HELPER" make "inputs-$1/k.npy" "$1" 2 2,9,2,8
        "$HELPER" make "inputs-$1/v.npy" "$1" 3 2,9,2,5
    fi
    cp "inputs-$1"/*.npy .
}

# make_extras f32|f16: what options may bring to that problem; d.npy is the gradient by the output.
make_extras()
{
    if [ ! -d "extras-$1" ]; then
        mkdir "extras-$1"
        "$HELPER" make "extras-$1/s.npy" i32 4 2,7
        "$HELPER" make "extras-$1/t.npy" i32 5 2,9
        "$HELPER" make "extras-$1/b.npy" "$1" 6 2,4,7,9 5 -inf 100 -inf 101 -inf
        "$HELPER" make "extras-$1/a.npy" f32 7 4 0 0.3 1 0.1 2 0.03 3 -0.01
        "$HELPER" make "extras-$1/n.npy" f32 8 4
        "$HELPER" make "extras-$1/d.npy" "$1" 9 2,7,4,5
    fi
    cp "extras-$1"/*.npy .
}

# Runs the rest under N ranks: on N COMMAND...; 0 is without a launcher.
on()
{
    ranks=$1
    shift
    if [ "$ranks" -eq 0 ]; then
        timeout -k 10 "$patience" "$@" >stdout.txt 2>stderr.txt </dev/null
    else
        TMPDIR=$sessions timeout -k 10 "$patience" "$MPIRUN" -n "$ranks" "$@" >stdout.txt 2>stderr.txt </dev/null
    fi
}

lines()
{
    grep -c '^vkring: ' stderr.txt
}

leftovers()
{
    find . -name '.vkring-*'
}

# refuses NAME STATUS PATTERN RANKS COMMAND...: that status, one line of vkring's with the pattern (from the start, with a ^), no file
# written, none left over.
refuses()
{
    name=$1 expected=$2 pattern="^vkring: .*$3"
    [ "${3#^}" = "$3" ] || pattern="^vkring: ${3#^}"
    shift 3
    echo before >o.npy
    on "$@"
    got=$?
    complaint=
    [ "$got" -eq "$expected" ] || complaint="exit status $got, not $expected"
    [ "$(lines)" -eq 1 ] || complaint="$(lines) lines on standard error"
    grep -q "$pattern" stderr.txt || complaint="no line with: $pattern"
    [ "$1" -ne 0 ] || [ "$(wc -l <stderr.txt)" -eq 1 ] || complaint="more than one line on standard error"
    [ "$(cat o.npy)" = before ] || complaint="the output that was there is gone"
    [ -z "$(leftovers)" ] || complaint="left over: $(leftovers)"
    report "$name" "$complaint"
}

# succeeds RANKS COMMAND...: sets complaint to nothing where the status is 0, vkring says nothing (no bar either: this is no terminal), and
# nothing is left over.
succeeds()
{
    complaint=
    on "$@" || complaint="exit status $?"
    [ "$(lines)" -eq 0 ] || complaint="it complains"
    [ "$1" -ne 0 ] || [ ! -s stderr.txt ] || complaint="it writes to standard error"
    [ -z "$(leftovers)" ] || complaint="left over: $(leftovers)"
}

# Sets VKRING_TEST_MATRICES where a device computes on matrix units: what they give has gates of its own.
know_gates()
{
    [ "$gates" = unknown ] || return 0
    gates=known
    if "$VKRING" devices 2>>stderr.txt | grep -q "matrix units .*x" && "$VKRING" devices --kernels 2>>stderr.txt | grep -q "matrix=1"; then
        export VKRING_TEST_MATRICES=1
    fi
}

# judges VERB OPTION...: complains unless the files are what the oracle has.
judges()
{
    know_gates
    "$HELPER" "$@" >judgement.txt 2>>stderr.txt || complaint="not what the oracle has: $(tr -d '#\n' <judgement.txt)"
}

# attends NAME RANKS OPTION...: of q.npy, k.npy and v.npy, as the oracle has it.
attends()
{
    name=$1 processes=$2
    shift 2
    rm -f o.npy l.npy g?.npy
    set -- -q q.npy -k k.npy -v v.npy -o o.npy --lse l.npy "$@"
    succeeds "$processes" "$VKRING" attend "$@"
    [ -n "$complaint" ] || judges check "$@"
    report "$name" "$complaint"
}

# For attends: gradients of all that every problem has.
# shellcheck disable=SC2034
gradients="--output-grad d.npy --query-grad gq.npy --key-grad gk.npy --value-grad gv.npy"

# For a command that ends too early with these outputs:
# shellcheck disable=SC2034
all_outputs="-q q.npy -k k.npy -v v.npy -o o.npy --lse l.npy --report r.json --trace t.json"

check_survival()
{
    [ "$(lines)" -eq 1 ] || complaint="$(lines) lines on standard error"
    [ "$(cat o.npy)" = before ] || complaint="the output that was there is gone"
    [ -z "$(leftovers)" ] || complaint="left over: $(leftovers)"
    [ ! -e l.npy ] && [ ! -e r.json ] && [ ! -e t.json ] && [ -z "$(find . -name 'g?.npy')" ] || complaint="there are other outputs"
}

# For scripts that need a device: ends the script where there is none.
need_device()
{
    "$VKRING" devices >/dev/null 2>&1
    [ $? -ne 1 ] || skip_all "no Vulkan device"
}
