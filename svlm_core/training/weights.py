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

"""Weights of a module in training, to and from safetensors."""

from __future__ import annotations

from collections.abc import Container, Mapping
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import nn, Tensor


def save_weights(
    module: nn.Module,
    file: Path,
    gathered: Mapping[str, Tensor] | None = None,
    names: Container[str] | None = None,
) -> None:
    """Write a module's weights; a tensor that has several names is written once, under the first.

    Streaming lays the weights of some layers side by side in one storage (svlm_core.model.product.Joined),
    which safetensors' own save_model refuses.

    Args:
        module: its weights are written,
        file: replaced at once, so that it is whole whenever it is there.
        gathered: unless they lie on many devices: then this is what was gathered from them.
        names: which are written; None for all.
    """
    weights: dict[tuple[int, ...], tuple[str, Tensor]] = {}
    for name, tensor in (gathered or module.state_dict()).items():
        if names is None or name in names:
            weights.setdefault((tensor.data_ptr(), *tensor.shape, *tensor.stride()), (name, tensor))
    partial = file.with_name(f"{file.name}.partial")
    save_file({name: tensor.detach().clone() for name, tensor in weights.values()}, partial)
    partial.replace(file)


def load_weights(module: nn.Module, file: Path, names: Container[str] | None = None) -> None:
    """Read what save_weights wrote with the same names.

    Raises:
        RuntimeError: the file is of another module.
    """
    result = module.load_state_dict(load_file(file), strict=False)
    state = module.state_dict()
    present = {state[name].data_ptr() for name in state.keys() - set(result.missing_keys)}
    missing = [
        name
        for name in result.missing_keys
        if (names is None or name in names) and state[name].data_ptr() not in present
    ]
    if missing or result.unexpected_keys:
        raise RuntimeError(
            f"{file}: weights of another module: {missing} lack, {result.unexpected_keys} extra"
        )


def learning(module: nn.Module) -> frozenset[str]:
    """Names of the weights that are trained."""
    return frozenset(name for name, weight in module.named_parameters() if weight.requires_grad)
