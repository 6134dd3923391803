#!/bin/sh
# SPDX-License-Identifier: MIT
# vkring attend on one rank without a launcher: results against the oracle, and what becomes of files.
# shellcheck source=tests/tools/tap.sh
. "$(dirname -- "$0")/tap.sh"
need_device

# A report is JSON with these words in it.
check_report()
{
    complaint=
    for word in '"vkring"' '"name"' '"kernel"' '"compute"' '"transfer"' '"exposed_wait"' '"peak_device_bytes"' '"share"' '"sent"'; do
        grep -q "$word" r.json || complaint="no $word in the report"
    done
    [ "$(tail -c 2 r.json)" = '}' ] || complaint="the report has no end"
    report "the report tells what was done" "$complaint"
}

make_inputs f32
attends "full" 0
attends "causal" 0 --causal
attends "causal by blocks of 1" 0 --causal --causal-block 1
attends "an offset before all keys" 0 --causal --query-offset -100
attends "an offset past all keys" 0 --causal --query-offset 1000000
attends "the largest offset" 0 --causal --query-offset 9223372036854775807
attends "the smallest offset" 0 --causal --query-offset -9223372036854775808
attends "a scale" 0 --scale -0.75
attends "scale 0" 0 --scale 0
attends "options that ask for nothing" 0 --window -1,-1 --softcap 0 --dropout 0 --seed 18446744073709551615 --layout auto --quiet
attends "zigzag alone" 0 --layout zigzag
attends "contiguous, one share, device 0" 0 --layout contiguous --shares 0.5 --device 0 --timeout 60
attends "f16 on the device" 0 --dtype f16
attends "bf16 on the device" 0 --causal --dtype bf16
attends "a measured share" 0 --causal --shares measured --report r.json
complaint=
grep -q '"measured_gflop_per_second": [0-9]' r.json || complaint="no speed in the report"
report "the report has the speed" "$complaint"
attends "the report leaves the result alone" 0 --report r.json
check_report
make_inputs f16
attends "f16" 0
attends "f16 as f32" 0 --causal --dtype f32
attends "f16 as bf16" 0 --dtype bf16

# sizes
"$HELPER" make q.npy f32 1 1,67,6,129
"$HELPER" make k.npy f32 2 1,33,2,129
"$HELPER" make v.npy f32 3 1,33,2,256
attends "odd dimensions" 0 --causal
"$HELPER" make q.npy f32 1 1,1,1,1
"$HELPER" make k.npy f32 2 1,1,1,1
"$HELPER" make v.npy f32 3 1,1,1,1
attends "one of everything" 0
make_inputs f32
"$HELPER" make k.npy f32 1 2,0,2,8
"$HELPER" make v.npy f32 1 2,0,2,5
attends "no keys" 0
make_inputs f32
"$HELPER" make q.npy f32 1 2,0,4,8
attends "no queries" 0 --causal
"$HELPER" make q.npy f32 1 0,7,4,8
"$HELPER" make k.npy f32 1 0,9,2,8
"$HELPER" make v.npy f32 1 0,9,2,5
attends "no batch" 0

# headers that are right
make_inputs f32
for form in 2 3; do
    "$HELPER" raw k.npy "$form" "{'shape':(2,9,2,8),'fortran_order':False,\"descr\":\"<f4\"}" 1152
    succeeds 0 "$VKRING" attend -q q.npy -k k.npy -v v.npy -o o.npy
    report "format $form.0, other spelling" "$complaint"
done

# files
make_inputs f32
mkdir real
echo before >real/o.npy
ln -s real/o.npy link.npy
succeeds 0 "$VKRING" attend -q q.npy -k k.npy -v v.npy -o link.npy
[ -L link.npy ] || complaint="the link is gone"
[ "$(wc -c <real/o.npy)" -eq $((128 + 2 * 7 * 4 * 5 * 4)) ] || complaint="what it leads to was not written"
report "a link as output is followed" "$complaint"
ln -s new.npy real/next.npy
ln -s real/next.npy link2.npy
succeeds 0 "$VKRING" attend -q q.npy -k k.npy -v v.npy -o link2.npy
[ -L link2.npy ] && [ -L real/next.npy ] || complaint="a link is gone"
[ -f real/new.npy ] && [ "$(wc -c <real/new.npy)" -eq $((128 + 2 * 7 * 4 * 5 * 4)) ] || complaint="what they lead to was not made"
report "links as output are followed to what is not there yet" "$complaint"
(
    umask 027
    succeeds 0 "$VKRING" attend -q q.npy -k k.npy -v v.npy -o private.npy
    report "output with the umask's permissions" "$complaint"
) >/dev/null
complaint=
[ "$(stat -c %a private.npy)" = 640 ] || complaint="permissions $(stat -c %a private.npy)"
report "output with the umask's permissions" "$complaint"

chmod 604 private.npy
succeeds 0 "$VKRING" attend -q q.npy -k k.npy -v v.npy -o private.npy
[ "$(stat -c %a private.npy)" = 604 ] || complaint="permissions $(stat -c %a private.npy)"
report "output with the permissions of what was there" "$complaint"
# standard output is a file here, stdout.txt
refuses "output that would replace what standard output goes to" 1 "cannot replace /dev/stdout: standard output goes there" 0 \
    "$VKRING" attend -q q.npy -k k.npy -v v.npy -o o.npy --report /dev/stdout

refuses "no such device" 1 "device 4000000000 does not exist" 0 "$VKRING" attend -q q.npy -k k.npy -v v.npy -o o.npy --device 4000000000

finish
