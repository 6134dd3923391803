# SPDX-License-Identifier: MIT
"""Problems that bench/compare gives to all contenders, what they cost, and their answers in float64."""
import collections
import concurrent.futures
import os
import re

import numpy

# errors as compare() gives them, forward and backward: what vkring's own tests hold it to
GATES = {
    ('f32', False): (1.8e-6, 2e-5),
    ('f32', True): (1e-5, 1e-4),
    ('f16', False): (5.4e-4, 1e-3),
    ('f16', True): (1e-3, 1e-2),
    ('bf16', False): (3e-3, 1.5e-2),
    ('bf16', True): (5e-3, 4e-2),
}
# NumPy has no bf16: tensors of it are in f32 that is rounded to it
NUMPY_TYPES = {'f32': numpy.float32, 'f16': numpy.float16, 'bf16': numpy.float32}
NAME = re.compile(r'(f32|f16|bf16)-d(\d+)-n(\d+)(k?)(?:-h(\d+))?(?:-kv(\d+))?(?:-b(\d+))?(-causal)?(-backward)?')
PAIRS_CHECKED = 1 << 25
# those that each thread holds of a head, in a few tensors of float64
PAIRS_AT_ONCE = 1 << 21

# as many keys as queries; inputs and outputs are [batch, rows, heads or kv_heads, head_dim]
Problem = collections.namedtuple('Problem', 'name type head_dim rows heads kv_heads batch causal backward')


def parse(name):
    """
    The problem of a name such as f32-d64-n4k-h8-kv2-b3-causal-backward (8 heads where none are named, as many of keys, a batch of one), or None.
    """
    match = NAME.fullmatch(name)
    if not match:
        return None
    dtype, head_dim, rows, thousands, heads, kv_heads, batch, causal, backward = match.groups()
    heads = int(heads or 8)
    problem = Problem(name, dtype, int(head_dim), int(rows) * (1024 if thousands else 1), heads, int(kv_heads or heads), int(batch or 1),
                      bool(causal), bool(backward))
    sizes = problem.head_dim, problem.rows, problem.heads, problem.kv_heads, problem.batch
    return problem if min(sizes) > 0 and heads % problem.kv_heads == 0 else None


def flop(problem):
    """FlashAttention's convention."""
    forward = 4 * problem.batch * problem.heads * problem.rows**2 * problem.head_dim / (2 if problem.causal else 1)
    return forward * (2.5 if problem.backward else 1)


def round_to_bf16(array):
    bits = array.view(numpy.uint32)
    return ((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000).view(numpy.float32)


def make_inputs(problem):
    """Query, key, value and the gradient by the output, normal."""
    random = numpy.random.default_rng(1)
    heads = {'query': problem.heads, 'key': problem.kv_heads, 'value': problem.kv_heads, 'output_grad': problem.heads}
    inputs = {}
    for name, count in heads.items():
        tensor = random.standard_normal((problem.batch, problem.rows, count, problem.head_dim), numpy.float32)
        inputs[name] = round_to_bf16(tensor) if problem.type == 'bf16' else tensor.astype(NUMPY_TYPES[problem.type])
    return inputs


def results_of(problem):
    return ('query_grad', 'key_grad', 'value_grad') if problem.backward else ('output',)


def group_of(problem):
    """How many query heads share a key head."""
    return problem.heads // problem.kv_heads


def checked_groups(problem):
    """Which are compared with float64, as (batch entry, key head): as many as there is time for, from the last ones on, of each batch entry in turn."""
    count = max(1, PAIRS_CHECKED // (problem.rows**2 * group_of(problem)))
    groups = [(entry, head) for head in range(problem.kv_heads) for entry in range(problem.batch)]
    return groups[::-1][:count]


def checked_heads(problem):
    return len(checked_groups(problem)) * group_of(problem)


def checked_part(problem, tensor):
    """Of a tensor of query heads or of key heads, what belongs to the checked groups: [group, rows, its heads, dim]."""
    heads = tensor.shape[2] // problem.kv_heads
    return numpy.stack([tensor[entry, :, head * heads:(head + 1) * heads] for entry, head in checked_groups(problem)])


def attend_rows(problem, first, query, key, value, output_grad):
    """
    Results of the query rows of one head from `first` on. Of keys and values come the gradients that these rows give, for the first so many
    rows of them: those that are not masked.
    """
    end = first + len(query)
    keys = end if problem.causal else problem.rows
    key, value = key[:keys], value[:keys]
    scale = problem.head_dim**-0.5
    weights = query @ key.T
    weights *= scale
    if problem.causal:
        weights[:, first:][numpy.triu_indices(len(query), 1)] = -numpy.inf
    weights -= weights.max(axis=1, keepdims=True)
    numpy.exp(weights, out=weights)
    weights /= weights.sum(axis=1, keepdims=True)
    output = weights @ value
    if not problem.backward:
        return {'output': output}
    value_grad = weights.T @ output_grad
    score_grad = output_grad @ value.T
    score_grad -= (output_grad * output).sum(axis=1, keepdims=True)
    score_grad *= weights
    score_grad *= scale
    return {'query_grad': score_grad @ key, 'key_grad': score_grad.T @ query, 'value_grad': value_grad}


def attend_blocks(problem, starts, block, query, key, value, output_grad):
    """Sums of the results of blocks of query rows, in tensors of all rows."""
    results = {name: numpy.zeros((problem.rows, problem.head_dim)) for name in results_of(problem)}
    for first in starts:
        rows = slice(first, first + block)
        for name, part in attend_rows(problem, first, query[rows], key, value, output_grad[rows]).items():
            begin = first if name in ('output', 'query_grad') else 0
            results[name][begin:begin + len(part)] += part
    return results


def attend_head(problem, query, key, value, output_grad):
    """Never all pairs at once: a block of rows in each thread."""
    block = max(1, PAIRS_AT_ONCE // problem.rows)
    starts = range(0, problem.rows, block)
    threads = min(len(starts), len(os.sched_getaffinity(0)))
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(lambda thread: attend_blocks(problem, starts[thread::threads], block, query, key, value, output_grad), range(threads)))
    return {name: sum(part[name] for part in parts) for name in parts[0]}


def attend_group(problem, query, key, value, output_grad):
    """Of all query heads of a key head, whose gradients are sums over these."""
    heads = [attend_head(problem, query[:, head], key[:, 0], value[:, 0], output_grad[:, head]) for head in range(query.shape[1])]
    results = {name: numpy.stack([head[name] for head in heads], axis=1) for name in heads[0]}
    for name in ('key_grad', 'value_grad'):
        if name in results:
            results[name] = results[name].sum(axis=1, keepdims=True)
    return results


def reference(problem, inputs):
    """Every result in float64, of the checked groups only."""
    parts = [checked_part(problem, tensor).astype(numpy.float64) for tensor in inputs.values()]
    groups = [attend_group(problem, *group) for group in zip(*parts)]
    return {name: numpy.stack([group[name] for group in groups]) for name in results_of(problem)}


def compare(problem, expected, got):
    """
    RMS error over the RMS of what is expected, and largest error over that RMS or over the element where that is larger, as causal attention
    has rows many times the RMS: those of the worst result.
    """
    worst_rms = worst_maximum = 0.0
    for name, right in expected.items():
        size = numpy.sqrt(numpy.mean(right**2))
        wrong = numpy.abs(checked_part(problem, got[name]).astype(numpy.float64) - right)
        rms, maximum = numpy.sqrt(numpy.mean(wrong**2)) / size, (wrong / numpy.maximum(size, numpy.abs(right))).max()
        if not numpy.isfinite(maximum):
            return float('inf'), float('inf')
        worst_rms, worst_maximum = max(worst_rms, float(rms)), max(worst_maximum, float(maximum))
    return worst_rms, worst_maximum
