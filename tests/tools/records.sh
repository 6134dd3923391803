#!/bin/sh
# SPDX-License-Identifier: MIT
# bench/record: what it writes, also of commands that fail, that hang, and for which there is no time.
# shellcheck source=tests/tools/tap.sh
. "$(dirname -- "$0")/tap.sh"
: "${RECORD:?}" "${BUILD:?}"
python3 -c '' 2>/dev/null || skip_all "no Python"

# records NAME STATUS OPTION...: it ends so, and then its record has the lines on standard input, in their order.
records()
{
    name=$1 expected=$2
    shift 2
    complaint=
    cat >lines.txt
    status=0
    timeout -k 10 "$patience" "$RECORD" "$@" out >stdout.txt 2>stderr.txt </dev/null || status=$?
    [ "$status" -eq "$expected" ] || complaint="exit status $status"
    [ -n "$complaint" ] || python3 - <<'END' 2>>stderr.txt || complaint="not what it should have written"
import re
text = open('out/record.md').read()
place = 0
for line in open('lines.txt').read().splitlines():
    found = re.compile(line, re.M).search(text, place)
    assert found, f'no {line} in:\n{text}'
    place = found.end()
END
    report "$name" "$complaint"
}

# fails NAME PATTERN OPTION...: in one line.
fails()
{
    name=$1 pattern=$2
    shift 2
    fails_in_a_line record "$name" "$pattern" "$RECORD" "$@"
}

# outlives NUMBER: that process is still there after ten seconds; one that was killed takes a moment to go.
outlives()
{
    for _ in $(seq 100); do
        grep -q '^State:.*[RSDT] ' "/proc/$1/status" 2>/dev/null || return
        sleep 0.1
    done
}

records "a device as it is" 0 --build "$BUILD" --parts devices --minutes 4 <<'END'
^# .*, \d{4}-\d\d-\d\d$
^## devices$
^    \$ .*vkring devices --kernels$
^    0: \w+
^Done, [0-9.]+ s$
END

# programs of which one fails, one hangs with a child of its own, and one ends at once
mkdir -p fake/tools fake/bench fake/tests/device
printf '#!/bin/sh\nprintf "0: some GPU\\n   kind   discrete\\n1: some cores\\n   kind   CPU, Vulkan 1.3\\n"\n' >fake/tools/vkring
printf '#!/bin/sh\necho started; sleep 1000 & echo $! >child; wait\n' >fake/bench/vkring-bench
printf '#!/bin/sh\necho "no such luck" >&2; exit 3\n' >fake/tests/device/a-test
printf '#!/bin/sh\necho "%s" "$VKRING_TEST_DEVICE"\n' "device" >fake/tests/device/b-test
printf '#!/bin/sh\nexit 77\n' >fake/tests/device/c-test
chmod +x fake/*/* fake/tests/device/*
records "what fails or hangs does not keep others" 1 --build fake --parts peak,tests --minutes 0.5 --device 0 <<'END'
^## peak$
^    \$ fake/bench/vkring-bench --device=0 --peak --quiet$
^    started$
^Out of time, [0-9.]+ s$
^## tests$
^    \$ VKRING_TEST_DEVICE=0 .*fake/tests/device/a-test$
^    no such luck$
^Failed \(3\)
^    device 0$
^Done
^Skipped
END
complaint=
grep -q "^record: 2 commands did not end as they should" stderr.txt || complaint="another sum"
grep -q "^peak .*Out of time" stdout.txt || complaint="nothing said as it went on"
outlives "$(cat child)" && complaint="what hangs has left a child"
report "it says what did not end as it should" "$complaint"
complaint=
rm -f child
"$RECORD" out --build fake --parts peak >stdout.txt 2>stderr.txt </dev/null &
until [ -s child ]; do sleep 0.1; done
kill $!
wait $! && complaint="it succeeds"
outlives "$(cat child)" && complaint="what ran goes on"
report "ended from outside it ends what runs" "$complaint"

records "a CPU beside a GPU" 0 --build fake --parts tune --device 1 <<'END'
tune --device=1 --dtype=f32 --heads=8
END
records "a GPU beside a CPU" 0 --build fake --parts tune <<'END'
tune --device=0 --dtype=f16 --heads=32
END
records "no time" 1 --build fake --parts devices --minutes 0 <<'END'
^No time left
END

fails "a part that is not known" "colour is no part" --parts colour out
fails "a device that is not there" "no device 7" --build fake --device 7 out
touch folder
fails "a file as folder" "cannot make folder: File exists" --build fake folder
fails "a build that is not there" "no nowhere/bench/vkring-bench" --build nowhere out

finish
