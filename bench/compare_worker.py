#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""One contender of bench/compare in a process of its own, so that it may crash, and have an environment of its own.

    compare_worker.py PEER

Reads a line of JSON at a time and answers each with one: first, unasked, {"version": ...} or {"absent": why}; then
    {"prepare": problem, "folder": where its inputs are}    {"ready": true} after a first run, with its results written to the folder
    {"run": true}                                           {"seconds": of one run}
An answer {"unsupported": why} leaves it ready for another problem.
"""
import ctypes
import json
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
        tensor = self.torch.from_numpy(array).to(self.device)
        if self.problem.type == 'bf16':
            tensor = tensor.to(self.torch.bfloat16)
        return tensor.transpose(1, 2).contiguous()

    def prepare(self, problem, inputs):
        self.problem = problem
        self.options = {'is_causal': problem.causal, **({'enable_gqa': True} if problem.kv_heads < problem.heads else {})}
        self.inputs = [self.place(inputs[name]).requires_grad_(problem.backward) for name in ('query', 'key', 'value')]
        self.output_grad = self.place(inputs['output_grad'])
        try:
            self.output = self.forward()
        except RuntimeError as error:
            raise Unsupported(str(error).splitlines()[0]) from error

    def forward(self):
        attend = self.torch.nn.functional.scaled_dot_product_attention
        if self.backend is None:
            return attend(*self.inputs, **self.options)
        with self.attention.sdpa_kernel(self.backend):
            return attend(*self.inputs, **self.options)

    def run(self):
        if self.problem.backward:
            self.results = self.torch.autograd.grad(self.output, self.inputs, self.output_grad, retain_graph=True)
        else:
            self.results = [self.forward()]
        if self.backend is not None:
            self.torch.cuda.synchronize()

    def fetch(self):
        results = [result.detach().transpose(1, 2).cpu() for result in self.results]
        return [(result.float() if self.problem.type == 'bf16' else result).numpy() for result in results]


class GgmlInit(ctypes.Structure):
    _fields_ = [('mem_size', ctypes.c_size_t), ('mem_buffer', ctypes.c_void_p), ('no_alloc', ctypes.c_bool)]


class Ggml:
    """ggml's flash_attn_ext on its first Vulkan device, with sums in f32."""

    TYPES = {'f32': 0, 'f16': 1, 'bf16': 30}
    PRECISION_F32 = 10
    TENSORS_BYTES = 1 << 20
    MASK_ROWS = 64

    def __init__(self):
        try:
            self.base = ctypes.CDLL('libggml-base.so.0', mode=ctypes.RTLD_GLOBAL)
            self.backends = ctypes.CDLL('libggml.so.0')
            self.declare()
        except (OSError, AttributeError) as error:
            raise Absent('no ggml with flash_attn_ext (Debian: libggml0-backend-vulkan)') from error
        self.backends.ggml_backend_load_all()
        self.backend = self.backends.ggml_backend_init_by_name(b'Vulkan0', None)
        if not self.backend:
            raise Absent('ggml has no Vulkan back-end here (Debian: libggml0-backend-vulkan)')
        self.context = self.buffer = None
        device = self.base.ggml_backend_dev_description(self.base.ggml_backend_get_device(self.backend))
        self.version = f'ggml {self.base.ggml_version().decode()}, {device.decode()}'

    def declare(self):
        pointer, number, size, real = ctypes.c_void_p, ctypes.c_int64, ctypes.c_size_t, ctypes.c_float
        signatures = {
            'ggml_version': (ctypes.c_char_p,),
            'ggml_backend_get_device': (pointer, pointer),
            'ggml_backend_dev_description': (ctypes.c_char_p, pointer),
            'ggml_init': (pointer, GgmlInit),
            'ggml_free': (None, pointer),
            'ggml_new_tensor_4d': (pointer, pointer, ctypes.c_int, number, number, number, number),
            'ggml_flash_attn_ext': (pointer, pointer, pointer, pointer, pointer, pointer, real, real, real),
            'ggml_flash_attn_ext_set_prec': (None, pointer, ctypes.c_int),
            'ggml_new_graph': (pointer, pointer),
            'ggml_build_forward_expand': (None, pointer, pointer),
            'ggml_backend_alloc_ctx_tensors': (pointer, pointer, pointer),
            'ggml_backend_buffer_free': (None, pointer),
            'ggml_backend_supports_op': (ctypes.c_bool, pointer, pointer),
            'ggml_backend_tensor_set': (None, pointer, pointer, size, size),
            'ggml_backend_tensor_get': (None, pointer, pointer, size, size),
            'ggml_backend_graph_compute': (ctypes.c_int, pointer, pointer),
        }
        for name, (result, *arguments) in signatures.items():
            function = getattr(self.base, name)
            function.restype, function.argtypes = result, arguments
        self.backends.ggml_backend_load_all.restype = None
        self.backends.ggml_backend_init_by_name.restype = pointer
        self.backends.ggml_backend_init_by_name.argtypes = [ctypes.c_char_p, ctypes.c_char_p]

    def forget(self):
        if self.buffer:
            self.base.ggml_backend_buffer_free(self.buffer)
        if self.context:
            self.base.ggml_free(self.context)
        self.context = self.buffer = None

    def tensors_of(self, problem, inputs):
        """Each tensor's array by rows of a head, and its type; a mask comes last. Queries are f32 whatever the rest is."""
        arrays = [(numpy.ascontiguousarray(inputs[name].swapaxes(1, 2)), problem.type) for name in ('query', 'key', 'value')]
        if problem.type == 'bf16':
            arrays = [((array.view(numpy.uint32) >> 16).astype(numpy.uint16), dtype) for array, dtype in arrays]
        arrays[0] = (numpy.ascontiguousarray(inputs['query'].swapaxes(1, 2), numpy.float32), 'f32')
        if problem.causal:
            rows = -(-problem.rows // self.MASK_ROWS) * self.MASK_ROWS
            mask = numpy.triu(numpy.full((rows, problem.rows), -numpy.inf, numpy.float16), 1)
            arrays.append((mask[None, None], 'f16'))
        return arrays

    def prepare(self, problem, inputs):
        if problem.backward:
            raise Unsupported('no backward')
        self.forget()
        base = self.base
        self.context = base.ggml_init(GgmlInit(self.TENSORS_BYTES, None, True))
        arrays = self.tensors_of(problem, inputs)
        tensors = [base.ggml_new_tensor_4d(self.context, self.TYPES[dtype], *reversed(array.shape)) for array, dtype in arrays]
        mask = tensors[3] if problem.causal else None
        self.output = base.ggml_flash_attn_ext(self.context, *tensors[:3], mask, problem.head_dim**-0.5, 0, 0)
        base.ggml_flash_attn_ext_set_prec(self.output, self.PRECISION_F32)
        self.graph = base.ggml_new_graph(self.context)
        base.ggml_build_forward_expand(self.graph, self.output)
        if not base.ggml_backend_supports_op(self.backend, self.output):
            raise Unsupported('its Vulkan back-end has no kernel for it')
        self.buffer = base.ggml_backend_alloc_ctx_tensors(self.context, self.backend)
        for tensor, (array, _) in zip(tensors, arrays):
            base.ggml_backend_tensor_set(tensor, array.ctypes.data, 0, array.nbytes)
        self.result = numpy.empty((problem.batch, problem.rows, problem.heads, problem.head_dim), numpy.float32)

    def run(self):
        status = self.base.ggml_backend_graph_compute(self.backend, self.graph)
        if status:
            raise Unsupported(f'ggml_backend_graph_compute: status {status}')

    def fetch(self):
        self.base.ggml_backend_tensor_get(self.output, self.result.ctypes.data, 0, self.result.nbytes)
        return [self.result]


class JaxRing:
    """A ring by JAX's shard_map and ppermute over the devices that XLA makes of this CPU; f32 sums, each block of scores as a whole."""

    def __init__(self):
        try:
            import jax
        except ImportError as error:
            raise Absent('no JAX (pip install jax)') from error
        self.jax = jax
        self.mesh = jax.make_mesh((jax.device_count(),), ('ring',))
        self.version = f'JAX {jax.__version__}, a ring of {jax.device_count()} CPU devices'

    def attend(self, query, key, value):
        """Of one device's rows [batch, rows, heads, dim]; keys and values go once around. Query heads that share a key head are an axis, m."""
        jax, np = self.jax, self.jax.numpy
        ranks, rank = self.mesh.size, jax.lax.axis_index('ring')
        shape, dtype, causal = query.shape, query.dtype, self.problem.causal
        rows, scale = shape[1], shape[3]**-0.5
        query = query.reshape(*shape[:2], key.shape[2], -1, shape[3])
        places = np.arange(rows)
        onward = [(i, (i + 1) % ranks) for i in range(ranks)]
        most, total, output = None, None, None
        for step in range(ranks):
            scores = np.einsum('bqhmd,bkhd->bhmqk', query, key, preferred_element_type=np.float32) * scale
            if causal:
                first_key = (rank - step) % ranks * rows
                scores = np.where(first_key + places <= (rank * rows + places)[:, None], scores, -1e30)
            new = scores.max(-1) if step == 0 else np.maximum(most, scores.max(-1))
            weights = np.exp(scores - new[..., None])
            part = np.einsum('bhmqk,bkhd->bhmqd', weights, value, preferred_element_type=np.float32)
            old = 0 if step == 0 else np.exp(most - new)
            total = weights.sum(-1) if step == 0 else total * old + weights.sum(-1)
            output = part if step == 0 else output * old[..., None] + part
            most = new
            if step + 1 < ranks:
                key, value = (jax.lax.ppermute(tensor, 'ring', onward) for tensor in (key, value))
        return np.moveaxis(output / total[..., None], 3, 1).reshape(shape).astype(dtype)

    def prepare(self, problem, inputs):
        jax = self.jax
        if problem.rows % self.mesh.size:
            raise Unsupported(f'{problem.rows} rows on {self.mesh.size} devices')
        self.problem = problem
        rows = jax.sharding.PartitionSpec(None, 'ring')
        place = jax.sharding.NamedSharding(self.mesh, rows)
        dtype = {'f32': jax.numpy.float32, 'f16': jax.numpy.float16, 'bf16': jax.numpy.bfloat16}[problem.type]
        tensors = [jax.device_put(jax.numpy.asarray(inputs[name], dtype), place) for name in ('query', 'key', 'value', 'output_grad')]
        self.inputs, self.output_grad = tensors[:3], tensors[3]
        self.forward = jax.jit(jax.shard_map(self.attend, mesh=self.mesh, in_specs=(rows, rows, rows), out_specs=rows))
        if problem.backward:
            self.pull = jax.jit(lambda *tensors: jax.vjp(self.forward, *tensors)[1])(*self.inputs)
            self.backward = jax.jit(lambda pull, grad: pull(grad))

    def run(self):
        results = self.backward(self.pull, self.output_grad) if self.problem.backward else [self.forward(*self.inputs)]
        self.results = self.jax.block_until_ready(results)

    def fetch(self):
        return [numpy.asarray(result.astype(numpy.float32)) for result in self.results]


PEERS = {
    'ggml-vulkan': Ggml,
    'ggml-vulkan-f32': Ggml,
    'jax-ring': JaxRing,
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
