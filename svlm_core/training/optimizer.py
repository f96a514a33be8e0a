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

"""The optimiser of every training."""

from __future__ import annotations

import torch
from torch import nn

_BETAS = (0.9, 0.95)


def adamw(
    module: nn.Module, learning_rate: float, vision_rate: float, weight_decay: float
) -> torch.optim.AdamW:
    """Optimise what learns by AdamW; matrices decay, biases and norms do not.

    Args:
        module: its parameters that need gradients are optimised.
        learning_rate: of everything but the vision tower.
        vision_rate: the vision tower's rate, relative to that.
        weight_decay: of matrices.
    """
    groups = []
    for vision in (False, True):
        for decays in (False, True):
            parameters = [
                parameter
                for name, parameter in module.named_parameters()
                if parameter.requires_grad
                and (parameter.ndim > 1) == decays
                and (".visual." in name) == vision
            ]
            rate = learning_rate * (vision_rate if vision else 1.0)
            decay = weight_decay if decays else 0.0
            if parameters:
                groups.append({"params": parameters, "lr": rate, "weight_decay": decay})
    return torch.optim.AdamW(groups, betas=_BETAS)
