"""A linear layer on a single row, which is what decoding is made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def product(linear: nn.Module, x: Tensor) -> Tensor:
    """Run a linear layer, a single float32 row on a CPU by all threads.

    A matrix times one vector is bound by reading the matrix, and BLAS libraries do it in one thread, which
    leaves bandwidth unused. Here every thread takes some of the rows of the weights.

    Args:
        linear: an nn.Linear; a quantised or otherwise extended one just runs.
        x: [..., in].

    Returns:
        [..., out].
    """
    threads = torch.get_num_threads()
    if threads == 1 or x.numel() != x.shape[-1] or x.dtype != torch.float32 or x.is_cuda:
        return linear(x)
    if type(linear) is not nn.Linear or type(linear.weight.data) is not Tensor:
        return linear(x)
    weight, bias = linear.weight, linear.bias  # [out, in], [out]
    if len(weight) % threads:
        return linear(x)
    parts = weight.view(threads, -1, weight.shape[1]).transpose(1, 2)  # [threads, in, out / threads]
    y = torch.bmm(x.reshape(1, 1, -1).expand(threads, 1, -1), parts).view(*x.shape[:-1], -1)
    return y if bias is None else y + bias
