#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""One contender of bench/compare in a process of its own, so that it may crash, and have an environment of its own.

    compare_worker.py PEER

Reads a line of JSON at a time and answers each with one: first, unasked, {"version": ...} or {"absent": why}; then
    {"prepare": problem, "folder": where its inputs are}    {"ready": true} after a first run, with its results written to the folder
    {"run": true}                                           {"seconds": of one run}
An answer {"unsupported": why} leaves it ready for another problem.
"""
import json
import math
import os
import sys
import time

import numpy

import compare_problem


class Absent(Exception):
    """The peer is not on this machine."""


class Unsupported(Exception):
    """The peer does not solve this problem."""


class Torch:
    """PyTorch's scaled_dot_product_attention: on the CPU, or one of its back-ends on a CUDA GPU."""

    def __init__(self, backend):
        try:
            import torch
            from torch.nn import attention
        except ImportError as error:
            raise Absent('no PyTorch (pip install torch)') from error
        self.torch = torch
        self.device = 'cuda' if backend else 'cpu'
        if backend and not torch.cuda.is_available():
            raise Absent('PyTorch finds no CUDA GPU')
        self.backend = getattr(attention.SDPBackend, backend) if backend else None
        self.attention = attention
        where = torch.cuda.get_device_name() if backend else f'{torch.get_num_threads()} threads'
        self.version = f'PyTorch {torch.__version__}, {where}'

    def place(self, array):
        return self.torch.from_numpy(array).to(self.device).transpose(1, 2).contiguous()

    def prepare(self, problem, inputs):
        self.problem = problem
        self.inputs = [self.place(inputs[name]).requires_grad_(problem.backward) for name in ('query', 'key', 'value')]
        self.output_grad = self.place(inputs['output_grad'])
        try:
            self.output = self.forward()
        except RuntimeError as error:
            raise Unsupported(str(error).splitlines()[0]) from error

    def forward(self):
        attend = self.torch.nn.functional.scaled_dot_product_attention
        if self.backend is None:
            return attend(*self.inputs, is_causal=self.problem.causal)
        with self.attention.sdpa_kernel(self.backend):
            return attend(*self.inputs, is_causal=self.problem.causal)

    def run(self):
        if self.problem.backward:
            self.results = self.torch.autograd.grad(self.output, self.inputs, self.output_grad, retain_graph=True)
        else:
            self.results = [self.forward()]
        if self.backend is not None:
            self.torch.cuda.synchronize()

    def fetch(self):
        return [result.detach().transpose(1, 2).cpu().numpy() for result in self.results]


PEERS = {
    'torch-cpu': lambda: Torch(None),
    'torch-cuda-flash': lambda: Torch('FLASH_ATTENTION'),
    'torch-cuda-cudnn': lambda: Torch('CUDNN_ATTENTION'),
    'torch-cuda-efficient': lambda: Torch('EFFICIENT_ATTENTION'),
}


def load(folder):
    return {name: numpy.load(os.path.join(folder, name + '.npy')) for name in ('query', 'key', 'value', 'output_grad')}


def answer(peer, message):
    if 'prepare' in message:
        problem, folder = compare_problem.parse(message['prepare']), message['folder']
        peer.prepare(problem, load(folder))
        peer.run()
        for name, result in zip(compare_problem.results_of(problem), peer.fetch()):
            numpy.save(os.path.join(folder, name + '.npy'), numpy.ascontiguousarray(result))
        return {'ready': True}
    begin = time.perf_counter()
    peer.run()
    return {'seconds': time.perf_counter() - begin}


def main():
    replies = os.fdopen(os.dup(1), 'w', buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer

    def reply(message):
        replies.write(json.dumps(message) + '\n')

    try:
        peer = PEERS[sys.argv[1]]()
    except Absent as error:
        return reply({'absent': str(error)})
    reply({'version': peer.version})
    for line in sys.stdin:
        try:
            reply(answer(peer, json.loads(line)))
        except Unsupported as error:
            reply({'unsupported': str(error)})


if __name__ == '__main__':
    main()
