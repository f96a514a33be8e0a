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

"""Weights saved in training: tied ones once, joined ones one by one, nothing of another module taken."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors import safe_open
from svlm_core.model.product import Joined
from svlm_core.training.weights import load_weights, save_weights
import torch
from torch import nn


class Pair(nn.Module):
    """Two layers of one input and a head that is the first layer's."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.a, self.b, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.head.weight = self.a.weight


def test_joined_and_tied_weights_come_back(tmp_path: Path) -> None:
    pair, other = Pair(0), Pair(1)
    joined = Joined(pair.a, pair.b)
    assert joined.weight is not None, "side by side in one storage, as streaming has them"
    save_weights(pair, tmp_path / "w.safetensors")
    with safe_open(tmp_path / "w.safetensors", "pt") as file:
        assert set(file.keys()) == {"a.weight", "a.bias", "b.weight", "b.bias", "head.bias"}
    load_weights(other, tmp_path / "w.safetensors")
    for name, tensor in pair.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name
    assert other.head.weight is other.a.weight


def test_weights_of_another_module_are_refused(tmp_path: Path) -> None:
    save_weights(nn.Linear(4, 4), tmp_path / "w.safetensors")
    with pytest.raises(RuntimeError, match="weights of another module"):
        load_weights(Pair(0), tmp_path / "w.safetensors")
