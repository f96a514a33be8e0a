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

"""Rotary positions of a decoder: angles of tokens, and keys turned to where they stand."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Rope:
    """The rotary embedding of one checkpoint (arXiv 2104.09864), over one axis or three (arXiv 2409.12191).

    transformers decides the frequencies and which axis each pair of channels turns with. It works both out
    anew at every pass, at the cost of twenty calls; here that is done once. RoPE types whose frequencies
    change with the length are refused when a checkpoint is loaded (svlm_core.model.families).
    """

    def __init__(self, rotary: Any) -> None:
        """Read a transformers text model's rotary_emb."""
        self._rotary = rotary
        self._axes = torch.zeros(len(rotary.inv_freq), dtype=torch.long)  # of each pair of channels
        if hasattr(rotary, "recomposition_frequencies"):  # M-RoPE: lays three axes out over the pairs
            named = torch.arange(3.0)[:, None, None, None].expand(3, 1, 1, len(self._axes)).contiguous()
            self._axes = rotary.recomposition_frequencies(named)[0, 0, : len(self._axes)].long()

    def __call__(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """What `turn` turns by.

        Args:
            positions: float32 [3, T]: t, h, w of each token.

        Returns:
            cos, and sin with the signs that a pair's first channel needs, float32 [T, head_dim] each; scaled
            where the checkpoint's RoPE type scales.
        """
        self._axes = self._axes.to(positions.device)
        angles = positions.t()[:, self._axes] * self._rotary.inv_freq  # [T, head_dim / 2]
        cos, sin = angles.cos(), angles.sin()
        if self._rotary.attention_scaling != 1.0:
            cos, sin = cos * self._rotary.attention_scaling, sin * self._rotary.attention_scaling
        return torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)

    def rotate(self, keys: Tensor, positions: Tensor, inverse: bool = False) -> Tensor:
        """Apply the rotation to keys, or take it off.

        Args:
            keys: [..., L, head_dim].
            positions: int or float [3, L], on the device of the keys.
            inverse: take the rotation at these positions off instead.

        Returns:
            float32 [..., L, head_dim], so that whoever stores it rounds once.
        """
        cos, sin = self(positions.float())
        if inverse:  # some RoPE types also scale, so the transpose alone would not undo it
            scale = self._rotary.attention_scaling
            cos, sin = cos / scale**2, -sin / scale**2
        return turn(keys.float(), cos, sin)


def turn(x: Tensor, cos: Tensor, sin: Tensor, out: Tensor | None = None) -> Tensor:
    """Turn [..., head_dim], into `out` if given, which may be x; cos and sin as of Rope.

    Channel i and channel i + head_dim / 2 are a pair.
    """
    others = torch.cat(x.chunk(2, -1)[::-1], -1)  # of each channel, the other one of its pair
    return torch.mul(x, cos, out=out).addcmul_(others, sin)
