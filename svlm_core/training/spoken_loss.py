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

"""The loss of SFT: what the assistant should say, token by token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from svlm_core.model.adapter import StreamModel
from svlm_core.model.vision import Grid, VisionInput
from svlm_core.training.packing import Pack
import torch
from torch import nn, Tensor
from torch.nn import functional


class SpokenLoss(nn.Module):
    """A model with its loss, as one module, so that data parallelism wraps both."""

    def __init__(self, model: StreamModel) -> None:
        """Wrap `model.hf`."""
        super().__init__()
        self.hf = model.hf
        self._model = model

    def forward(
        self,
        ids: Tensor,
        positions: Tensor,
        weights: Tensor,
        patches: Sequence[Tensor],
        grids: Sequence[tuple[Grid, int]],
    ) -> dict[str, Tensor]:
        """Arguments as made by `batch`.

        Returns:
            loss: scalar, the weighted mean over what is learned. right, learned: int64 scalars, tokens that
            were right and all of them.
        """
        seen = [
            self._model.encode_vision(VisionInput(p, *grid)) for p, grid in zip(patches, grids, strict=True)
        ]
        hidden = self._model.understand(ids, torch.cat(seen) if seen else None, positions)  # [B, L, hidden]
        learned = weights[:, 1:] > 0  # [B, L - 1]
        logits = self._model.head(hidden[:, :-1][learned])  # [M, vocabulary]
        targets, weight = ids[:, 1:][learned], weights[:, 1:][learned]
        each = functional.cross_entropy(logits, targets, reduction="none")
        loss = (each * weight).sum() / weight.sum().clamp(min=torch.finfo(weight.dtype).tiny)
        right = (logits.argmax(-1) == targets).sum()
        return {"loss": loss, "right": right, "learned": torch.tensor(len(targets), device=right.device)}


def batch(row: Pack) -> dict[str, Any]:
    """A pack as SpokenLoss takes it."""
    return {
        "ids": row.ids,
        "positions": row.positions,
        "weights": row.weights,
        "patches": [vision.patches for vision in row.vision],
        "grids": [(vision.grid, vision.merge) for vision in row.vision],
    }
