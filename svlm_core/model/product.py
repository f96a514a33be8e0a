# Copyright 2026 svlm maintainers
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""The matrix products of the decoder: layers that share an input as one, and single rows by all threads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn, Tensor
from torch.nn import functional


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None, add: Tensor | None = None) -> Tensor:
    """X W^T + bias + add.

    A matrix times one vector is bound by reading the matrix, and BLAS libraries do it in one thread, which
    leaves bandwidth unused. So for a single float32 row on a CPU every thread takes some of the rows of W.

    Args:
        x: [T, in].
        weight: W, [out, in].
        bias: [out].
        add: [T, out]; together with a bias it costs a pass of its own.

    Returns:
        [T, out].
    """
    threads = torch.get_num_threads()
    if (
        threads > 1
        and len(x) == 1
        and x.dtype == torch.float32
        and not x.is_cuda
        and not len(weight) % threads
    ):
        parts = weight.view(threads, -1, weight.shape[1]).transpose(1, 2)  # [threads, in, out / threads]
        rows = x.expand(threads, 1, -1)
        terms = [term for term in (bias, add) if term is not None]
        if not terms:
            return torch.bmm(rows, parts).view(1, -1)
        return torch.baddbmm(sum(terms[1:], terms[0]).view(threads, 1, -1), rows, parts).view(1, -1)
    if add is None:
        return functional.linear(x, weight, bias)
    y = torch.addmm(add, x, weight.t())
    return y if bias is None else y.add_(bias)


class Joined:
    """Linear layers of the same input, side by side: one product instead of several small ones.

    Their parameters become rows of one matrix, so nothing is stored twice, and training, saving and loading
    go on as before. Layers that are extended or quantised run one by one.

    Attributes:
        weight: [sum of outs, in]; None if the layers run one by one.
        bias: [sum of outs], None without.
    """

    def __init__(self, *linears: Any) -> None:
        """Join them."""
        self._linears = linears
        self.weight: Tensor | None = None
        self.bias: Tensor | None = None
        if all(type(linear) is nn.Linear and type(linear.weight.data) is Tensor for linear in linears):
            # not as inference tensors, from which nothing could be learned any more
            with torch.inference_mode(False), torch.no_grad():
                self.weight = _adjacent([linear.weight for linear in linears])
                biases = [linear.bias for linear in linears if linear.bias is not None]
                if len(biases) == len(linears):
                    self.bias = _adjacent(biases)
                elif biases:
                    self.weight = None

    @property
    def current(self) -> bool:
        """Whether the layers' weights are still where they were joined; not so once a model was moved."""
        if self.weight is None:
            return True
        first: Tensor = self._linears[0].weight
        return first.data_ptr() == self.weight.data_ptr() and first.dtype == self.weight.dtype

    def __call__(self, x: Tensor, add: Tensor | None = None) -> Tensor:
        """[T, in] -> [T, sum of outs], `add` added."""
        if self.weight is not None:
            return product(x, self.weight, self.bias, add)
        y = torch.cat([linear(x) for linear in self._linears], -1)
        return y if add is None else add + y


def _adjacent(parameters: Sequence[Tensor]) -> Tensor:
    """One tensor whose rows are all of the parameters', which become views of it."""
    sizes = [len(parameter) for parameter in parameters]
    if len(parameters) == 1:
        return parameters[0].data
    joined = torch.cat([parameter.data for parameter in parameters])
    for parameter, rows in zip(parameters, joined.split(sizes), strict=True):
        parameter.data = rows
    return joined
