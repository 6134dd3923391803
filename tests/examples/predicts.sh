#!/bin/sh
# SPDX-License-Identifier: MIT
# The examples as tests, in TAP: predicts.sh MINIMAL DESCEND NEXT_BYTE TRANSFORMER_BLOCK TEXT [MPIRUN RING]
#
# A sample of probabilities agrees with float64, longer contexts take fewer bits, and ranks together predict as one does. Gradients of a
# transformer are right, and its losses the same however ranks share it.
set -u

minimal=$1 descend=$2 next_byte=$3 block=$4 text=$5 mpirun=${6:-} ring=${7:-}
bytes=2500
tests=0
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
trap 'exit 1' HUP INT TERM
# For Open MPI, as in tests/ring/launch.
TMPDIR=$work
export TMPDIR

# Passes if the command after the title does.
check()
{
    tests=$((tests + 1))
    title=$1
    shift
    if "$@" >"$work/said" 2>&1; then
        echo "ok $tests - $title"
    else
        echo "not ok $tests - $title"
        sed 's/^/# /' "$work/said"
    fi
}

predict_on()
{
    ranks=$1
    shift
    if [ "$ranks" = 1 ]; then
        set -- "$next_byte" "$@"
    else
        set -- timeout -k 5 240 "$mpirun" -n "$ranks" "$next_byte" "$@"
    fi
    "$@" --check --bytes "$bytes" "$text" >"$work/$ranks" 2>"$work/errors" </dev/null || {
        cat "$work/errors"
        return 1
    }
}

# The table alone: context, bits per byte.
bits_on()
{
    awk 'NF == 7 && $1 + 0 > 0 { print $1, $2 }' "$work/$1"
}

fewer_bits_with_context()
{
    bits_on 1 | awk '{ print } NR > 1 && $2 >= last { bad = 1 } { last = $2 } END { exit bad || NR < 2 }'
}

same_bits_as_one()
{
    bits_on 1 >"$work/one"
    bits_on "$1" | paste -d ' ' "$work/one" - |
        awk '{ print } $1 != $3 || ($2 - $4) ^ 2 > 0.0002 ^ 2 { bad = 1 } END { exit bad || NR < 2 }'
}

leaves_out_what_takes_long()
{
    predict_on 1 --seconds 0 && cat "$work/1" && grep -q '^A context of 2500 bytes would take about [0-9]* seconds here: left out\.$' "$work/1" &&
        [ "$(bits_on 1 | wc -l)" = 1 ]
}

train_on()
{
    ranks=$1
    shift
    if [ "$ranks" != 1 ]; then
        set -- timeout -k 5 240 "$mpirun" -n "$ranks" "$@"
    fi
    "$@" --context 200 --layers 1 --steps 12 "$text" >"$work/trained-$ranks" 2>"$work/errors" </dev/null || {
        cat "$work/trained-$ranks" "$work/errors"
        return 1
    }
}

# The table alone: step, bits per byte.
losses_on()
{
    awk 'NF == 2 && $2 + 0 > 0 { print $1, $2 }' "$work/trained-$1"
}

loss_falls()
{
    losses_on 1 | awk '{ print } NR == 1 { first = $2 } END { exit !(NR == 12 && $2 < first - 1) }'
}

same_losses_as_one()
{
    losses_on 1 >"$work/one"
    losses_on "$1" | paste -d ' ' "$work/one" - |
        awk '{ print } $1 != $3 || ($2 - $4) ^ 2 > 0.00005 ^ 2 { bad = 1 } END { exit bad || NR != 12 }'
}

mean_is_right()
{
    "$minimal" | tee "$work/mean"
    grep -q ': 499\.50$' "$work/mean"
}

means_are_right()
{
    timeout -k 5 240 "$mpirun" -n "$1" "$ring" </dev/null | tee "$work/means"
    grep -q "^10000 rows on $1 ranks: .*, wrong by 0\\.00[0-3] at most$" "$work/means"
}

# A program, with its arguments, whose output goes nowhere.
says_that_nobody_reads()
{
    name=$(basename "$1")
    "$@" >/dev/full 2>"$work/errors" </dev/null
    status=$?
    cat "$work/errors"
    [ $status = 1 ] && [ "$(wc -l <"$work/errors")" = 1 ] && grep -q "^$name: .*standard output" "$work/errors"
}

# One rank of two is asked for help: that is for all.
help_for_one_is_for_all()
{
    # shellcheck disable=SC2016
    timeout -k 5 60 "$mpirun" -n 2 sh -c '
        asks=$1
        shift
        [ "${OMPI_COMM_WORLD_RANK:-$PMI_RANK}" = "$asks" ] && exec "$1" --help
        exec "$@"' sh "$1" "$next_byte" --bytes "$bytes" "$text" >"$work/help" </dev/null && head -n 1 "$work/help" | grep "^usage: "
}

if "$minimal" 2>&1 | grep -q 'no Vulkan'; then
    echo "1..0 # SKIP no Vulkan device"
    exit 0
fi
check "the first program finds the mean" mean_is_right
check "the first program tells that it cannot write" says_that_nobody_reads "$minimal"
check "gradient descent tells so" says_that_nobody_reads "$descend"
check "the predictor of a text tells so" says_that_nobody_reads "$next_byte" --bytes 300 "$text"
check "its help tells so" says_that_nobody_reads "$next_byte" --help
check "gradient descent finds gradients that are right, and a small loss" "$descend"
check "gradients of a transformer are what its loss does" train_on 1 "$block" --check
check "its loss falls" loss_falls
check "a sample of probabilities is that of float64" predict_on 1
check "longer contexts take fewer bits" fewer_bits_with_context
if [ -n "$mpirun" ]; then
    for ranks in 1 3; do
        check "means of rows on $ranks ranks" means_are_right "$ranks"
    done
    check "3 ranks train it on one sequence" train_on 3 "$block"
    check "their losses are those of one" same_losses_as_one 3
    check "4 ranks share its heads and the sequence" train_on 4 "$block" --heads-over 2
    check "their losses are those of one" same_losses_as_one 4
    for rank in 0 1; do
        check "help for rank $rank is for all" help_for_one_is_for_all "$rank"
    done
    for ranks in 2 3; do
        check "a sample of probabilities on $ranks ranks is that of float64" predict_on "$ranks"
        check "$ranks ranks together predict as one does" same_bits_as_one "$ranks"
    done
fi
check "contexts that would take too long are left out" leaves_out_what_takes_long
echo "1..$tests"
