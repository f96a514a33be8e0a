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

"""Several rendered clips as one row of tokens, none of which sees another's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from svlm_core.model.vision import VisionInput
from svlm_core.training.clip import Rendered
import torch
from torch import Tensor


@dataclass(frozen=True)
class Pack:
    """A row of clips without padding.

    Attributes:
        ids: int64 [1, L].
        positions: float32 [4, 1, L]: in the first row, where each token stands in its own clip, by which
            transformers tells the clips apart (a mask, or FlashAttention's varlen); then t, h, w.
        weights: loss weight of each token as a target, float32 [1, L]; 0 where it is given.
        vision: the frames of all clips in order, those of one size joined where they follow each other.
    """

    ids: Tensor
    positions: Tensor
    weights: Tensor
    vision: tuple[VisionInput, ...]


def pack(clips: Sequence[Rendered], silence_weight: float = 1.0) -> Pack:
    """Lay clips one behind the other.

    Args:
        clips: at least one.
        silence_weight: of the tokens of an answer without words, which are most of a quiet stream.
    """
    weights = [clip.spoken.float() * torch.where(clip.silent, silence_weight, 1.0) for clip in clips]
    places = [torch.arange(len(clip.ids), dtype=torch.float32) for clip in clips]
    positions = torch.cat([torch.cat(places)[None], torch.cat([clip.positions for clip in clips], dim=1)])
    return Pack(
        torch.cat([clip.ids for clip in clips])[None],
        positions[:, None],
        torch.cat(weights)[None],
        tuple(_joined([vision for clip in clips for vision in clip.vision])),
    )


def _joined(visions: Sequence[VisionInput]) -> Iterator[VisionInput]:
    run: list[VisionInput] = []
    for vision in visions:
        if run and vision.grid[1:] != run[0].grid[1:]:
            yield VisionInput.join(run)
            run = []
        run.append(vision)
    if run:
        yield VisionInput.join(run)
