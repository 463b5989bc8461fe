"""Triton kernels for CUDA devices, each in one pass over memory: norms, norm with pool, the update rule, views.

Arithmetic is in float32 for any input and output dtype. Nothing waits for the device. A kernel is compiled when a shape
first occurs, so a CUDA graph can be captured from the second call on. `rows` says how a kernel reads maps.
"""

import triton

from alexnet.ops.triton import relu, rows
from alexnet.ops.triton.loss import WIDEST, cross_entropy
from alexnet.ops.triton.norm import norm_backward, norm_forward, norm_pool_backward, norm_pool_forward
from alexnet.ops.triton.random import draw, dropout
from alexnet.ops.triton.update import momentum
from alexnet.ops.triton.views import cut, cut_scaled, pack
from alexnet.ops.triton.within import within_backward, within_forward

__all__ = [
    "WIDEST",
    "cross_entropy",
    "cut",
    "cut_scaled",
    "draw",
    "dropout",
    "momentum",
    "norm_backward",
    "norm_forward",
    "norm_pool_backward",
    "norm_pool_forward",
    "pack",
    "relu",
    "rows",
    "triton",
    "within_backward",
    "within_forward",
]
