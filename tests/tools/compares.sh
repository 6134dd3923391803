#!/bin/sh
# SPDX-License-Identifier: MIT
# bench/compare: what it measures, with no true peer here, and what it says of one that is absent, that dies, and of wrong answers.
# shellcheck source=tests/tools/tap.sh
. "$(dirname -- "$0")/tap.sh"
: "${COMPARE:?}" "${BUILD:?}"
python3 -c 'import numpy' 2>/dev/null || skip_all "no NumPy"

# compares NAME OPTION...: it succeeds, and then so does the Python on standard input, of `report`.
compares()
{
    name=$1
    shift
    complaint=
    { echo 'import json'; echo 'report = json.load(open("c.json"))'; cat; } >check.py
    rm -f c.json
    timeout -k 10 "$patience" "$COMPARE" --build "$BUILD" --json c.json "$@" >stdout.txt 2>stderr.txt </dev/null || complaint="exit status $?"
    [ -n "$complaint" ] || python3 check.py 2>>stderr.txt || complaint="not what it should have measured"
    report "$name" "$complaint"
}

# fails NAME PATTERN OPTION...: in one line.
fails()
{
    name=$1 pattern=$2
    shift 2
    fails_in_a_line compare "$name" "$pattern" "$COMPARE" "$@"
}

# Peers as they may be: a JAX that is not there, a PyTorch that takes one peer down as it starts, and is the other: a thousandth too large
# forward, and without backward.
mkdir jax torch
echo 'raise ImportError' >jax/__init__.py
cat >torch/__init__.py <<'END'
import os, sys, types
import numpy

if sys.argv[1] == 'torch-cuda-flash':
    os._exit(3)
__version__, get_num_threads = '0', lambda: 1

class Tensor:
    def __init__(self, array):
        self.array = array
    def same(self, *_):
        return self
    to = contiguous = requires_grad_ = detach = cpu = same
    def transpose(self, first, second):
        return Tensor(self.array.swapaxes(first, second))
    def numpy(self):
        return self.array

def attend(query, key, value, is_causal, enable_gqa=False):
    print('no answer to anybody')
    if enable_gqa:
        key, value = (Tensor(tensor.array.repeat(2, axis=1)) for tensor in (key, value))
    weights = numpy.exp(query.array @ key.array.swapaxes(2, 3) * query.array.shape[3]**-0.5)
    return Tensor(weights @ value.array / weights.sum(3, keepdims=True) * 1.001)

from_numpy = Tensor
nn = sys.modules['torch.nn'] = types.ModuleType('torch.nn')
nn.attention, nn.functional = None, types.SimpleNamespace(scaled_dot_product_attention=attend)
END
PYTHONPATH=.
export PYTHONPATH

compares "what it measures, beside peers of all kinds" --cases f32-d16-n40-h2,f32-d16-n33-h2-causal-backward \
    --peers jax-ring,torch-cpu,torch-cuda-flash --repeat 2 --plot c.svg <<'END'
assert report['absent'] == {'jax-ring': 'no JAX (pip install jax)', 'torch-cuda-flash': 'its process ended with status 3'}
assert report['peak']['device_gflops'] > 0 and report['peak']['host_gflops'] > 0
assert report['cores'] > 0 and 'vkring' in report['contenders']
forward, backward = report['cases']
assert forward['flop'] == 4 * 2 * 40 * 40 * 16 and backward['flop'] == 2.5 * 4 * 2 * 33 * 33 * 16 / 2
for case in report['cases']:
    result, peer = case['results']
    assert result['contender'] == 'vkring' and result['repeats'] == 2 and result['ratio_to_vkring'] == 1
    assert 0 < result['seconds_least'] <= result['seconds_median'] <= result['seconds_most']
    assert abs(result['gflops'] * result['seconds_median'] * 1e9 / case['flop'] - 1) < 1e-9
    assert abs(result['fraction_of_peak'] * report['peak']['gflops'] / result['gflops'] - 1) < 1e-9
    assert 0 < result['error_rms'] < result['error_maximum'] and result['within_gates'], result
    assert peer['contender'] == 'torch-cpu'
peer = forward['results'][1]
assert abs(peer['error_rms'] - 1e-3) < 1e-5 and not peer['within_gates'] and peer['repeats'] == 2
assert abs(peer['ratio_to_vkring'] * peer['seconds_median'] / forward['results'][0]['seconds_median'] - 1) < 1e-9
assert backward['results'][1]['reason'] == 'its process ended with status 1'
try:
    import matplotlib
except ImportError:
    pass
else:
    picture = open('c.svg').read()
    assert picture.count('<!-- torch-cpu -->') == 1 and picture.count('<!--  cannot -->') == 1, 'a legend, and no bar for backward'
    assert '<!-- peak -->' in picture and all(f'<!-- {case["case"]} -->' in picture for case in report['cases'])
END

# what a batch, heads that share keys, and 16 bits mean to all of them: a batch entry or a head in the wrong place would be no small error
compares "batches, shared keys, 16 bits" --cases f16-d16-n40-h4-kv2-b3,bf16-d16-n33-h4-kv2-b2-causal-backward \
    --peers torch-cpu --repeat 1 <<'END'
shared, backward = report['cases']
assert shared['flop'] == 4 * 3 * 4 * 40 * 40 * 16 and backward['flop'] == 2.5 * 4 * 2 * 4 * 33 * 33 * 16 / 2
assert shared['checked_heads'] == 12 and backward['checked_heads'] == 8
result, peer = shared['results']
assert result['within_gates'] and backward['results'][0]['within_gates'], report
assert 5e-4 < peer['error_rms'] < 2e-3
peak = max(report['peak']['gflops'], report['peak']['matrix_gflops'])
assert abs(result['fraction_of_peak'] * peak / result['gflops'] - 1) < 1e-9
assert all(len(matrix['shape']) == 3 and matrix['gflops'] > 0 for matrix in report['peak']['matrix_peaks'])
END

complaint=
PYTHONPATH=$(dirname -- "$COMPARE") python3 -B - 2>stderr.txt <<'END' || complaint="not the same"
import numpy
import compare_problem
for options in ('', '-causal', '-backward', '-causal-backward'):
    problem = compare_problem.parse(f'f32-d8-n37-h4-kv2-b2{options}')
    inputs = compare_problem.make_inputs(problem)
    whole = compare_problem.reference(problem, inputs)
    for rows in (1, 5, 36):
        compare_problem.PAIRS_AT_ONCE = rows * problem.rows
        blocks = compare_problem.reference(problem, inputs)
        assert all(numpy.abs(blocks[name] - whole[name]).max() < 1e-12 for name in whole), (options, rows)
END
report "float64 by blocks of rows gives what it gives at once" "$complaint"

mkdir -p wrong/tools wrong/bench
printf '#!/bin/sh\nexec "%s" "$@" --scale 0.3\n' "$VKRING" >wrong/tools/vkring
chmod +x wrong/tools/vkring
ln -s "$BUILD/bench/vkring-bench" wrong/bench/vkring-bench
fails "wrong answers" "vkring is wrong: f32-d16-n40-h2" --build wrong --cases f32-d16-n40-h2 --peers "" --repeat 1
fails "a case that is not known" "f32-n40 is no case" --cases f32-n40
fails "heads that cannot share keys" "f32-d16-n40-h4-kv3 is no case" --cases f32-d16-n40-h4-kv3
fails "a peer that is not known" "abacus is no peer" --peers abacus
fails "results in no folder" "cannot write none/c.json" --build "$BUILD" --cases f32-d16-n40-h2 --peers "" --json none/c.json
fails "a picture over a folder" "cannot write ." --build "$BUILD" --cases f32-d16-n40-h2 --peers "" --plot .

finish
