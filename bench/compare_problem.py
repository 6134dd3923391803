# SPDX-License-Identifier: MIT
"""Problems that bench/compare gives to all contenders, what they cost, and their answers in float64."""
import collections
import re

import numpy

# errors as compare() gives them, forward and backward: what vkring's own tests hold it to
GATES = {
    ('f32', False): (1.8e-6, 1.5e-5),
    ('f32', True): (1e-5, 1e-4),
    ('f16', False): (5.4e-4, 1e-3),
    ('f16', True): (1e-3, 1e-2),
}
NUMPY_TYPES = {'f32': numpy.float32, 'f16': numpy.float16}
NAME = re.compile(r'(f32|f16)-d(\d+)-n(\d+)(k?)(?:-h(\d+))?(-causal)?(-backward)?')
PAIRS_CHECKED = 1 << 25

# as many keys as queries, one batch; inputs and outputs are [batch, rows, heads, head_dim]
Problem = collections.namedtuple('Problem', 'name type head_dim rows heads causal backward')


def parse(name):
    """The problem of a name such as f32-d64-n4k-h8-causal-backward (8 heads where none are named), or None."""
    match = NAME.fullmatch(name)
    if not match:
        return None
    dtype, head_dim, rows, thousands, heads, causal, backward = match.groups()
    problem = Problem(name, dtype, int(head_dim), int(rows) * (1024 if thousands else 1), int(heads or 8), bool(causal), bool(backward))
    return problem if min(problem.head_dim, problem.rows, problem.heads) > 0 else None


def flop(problem):
    """FlashAttention's convention."""
    forward = 4 * problem.heads * problem.rows**2 * problem.head_dim / (2 if problem.causal else 1)
    return forward * (2.5 if problem.backward else 1)


def make_inputs(problem):
    """Query, key, value and the gradient by the output, normal."""
    random = numpy.random.default_rng(1)
    shape = (1, problem.rows, problem.heads, problem.head_dim)
    return {name: random.standard_normal(shape, numpy.float32).astype(NUMPY_TYPES[problem.type])
            for name in ('query', 'key', 'value', 'output_grad')}


def results_of(problem):
    return ('query_grad', 'key_grad', 'value_grad') if problem.backward else ('output',)


def checked_heads(problem):
    """How many heads, the first ones, are compared with float64."""
    return max(1, min(problem.heads, PAIRS_CHECKED // problem.rows**2))


def attend_head(problem, query, key, value, output_grad):
    scale = problem.head_dim**-0.5
    weights = query @ key.T
    weights *= scale
    if problem.causal:
        weights[numpy.triu_indices(problem.rows, 1)] = -numpy.inf
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


def reference(problem, inputs):
    """Every result in float64, of the checked heads only."""
    heads = []
    for head in range(checked_heads(problem)):
        heads.append(attend_head(problem, *(tensor[0, :, head].astype(numpy.float64) for tensor in inputs.values())))
    return {name: numpy.stack([head[name] for head in heads], axis=1)[None] for name in results_of(problem)}


def compare(expected, got):
    """
    RMS error over the RMS of what is expected, and largest error over that RMS or over the element where that is larger, as causal attention
    has rows many times the RMS: those of the worst result.
    """
    worst_rms = worst_maximum = 0.0
    for name, right in expected.items():
        size = numpy.sqrt(numpy.mean(right**2))
        wrong = numpy.abs(got[name][:, :, :right.shape[2]].astype(numpy.float64) - right)
        rms, maximum = numpy.sqrt(numpy.mean(wrong**2)) / size, (wrong / numpy.maximum(size, numpy.abs(right))).max()
        if not numpy.isfinite(maximum):
            return float('inf'), float('inf')
        worst_rms, worst_maximum = max(worst_rms, float(rms)), max(worst_maximum, float(maximum))
    return worst_rms, worst_maximum
