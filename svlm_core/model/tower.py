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

"""The vision tower of the Qwen-VL families: transformers' own, spared what it does anew for every call."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from svlm_core.model.attention import FLASH, flash_can
from svlm_core.model.vision import Grid
import torch
from torch import nn, Tensor
from torch.nn import functional
from transformers.vision_utils import (
    get_vision_cu_seqlens,
    get_vision_interpolation_indices_and_weights,
    get_vision_position_ids,
    get_vision_window_index,
)

GRIDS = 64  # a stream has one grid; a batch of chunks, another for each number of them


class PatchProduct(nn.Module):
    """A patch embedding as one matrix product.

    The kernel of the convolution is as large as its stride, so it is that product, and torch computes it
    several times slower. The parameters stay the convolution's: names, shapes, training and saving too.
    """

    def __init__(self, proj: nn.Conv3d) -> None:
        """Use a patch embedding's convolution."""
        super().__init__()
        self.proj = proj

    def forward(self, patches: Tensor) -> Tensor:
        """[N, channels * temporal_patch * patch * patch] -> [N, hidden]."""
        weight = self.proj.weight.flatten(1)
        return functional.linear(patches.to(weight.dtype), weight, self.proj.bias)


class QwenTower:
    """One loaded checkpoint's vision tower."""

    def __init__(self, visual: Any) -> None:
        """Use transformers' tower; this instance's patch embedding is exchanged for a PatchProduct."""
        visual.patch_embed = PatchProduct(visual.patch_embed.proj)
        if flash_can(visual.device, visual.dtype):
            visual.set_attn_implementation(FLASH)
        self._visual = visual
        self._known = lru_cache(GRIDS)(self._geometry)

    def __call__(self, patches: Tensor, grid: Grid) -> Any:
        """Run the tower.

        Args:
            patches: [t * h * w, channels * temporal_patch * patch * patch] in the weights' dtype.
            grid: (t, h, w) in patches.

        Returns:
            transformers' output: pooler_output [t * h * w / merge**2, hidden], and what the family adds.
        """
        return self._visual(patches, grid_thw=torch.tensor([grid]), **self._known(grid, patches.device))

    @torch.inference_mode(False)  # training may build on what a stream has left here
    def _geometry(self, grid: Grid, device: torch.device) -> dict[str, Any]:
        """All that the tower derives from the grid alone, by transformers' own functions and names.

        Lengths stay on the CPU, where attention splits by them, unless it is one kernel over all of them.
        """
        visual, thw = self._visual, torch.tensor([grid])
        merge = visual.spatial_merge_size
        lengths = {"cu_seqlens": get_vision_cu_seqlens(thw)}
        indices = {"position_ids": get_vision_position_ids(thw, merge)}
        if hasattr(visual, "window_size"):  # Qwen2.5-VL attends in windows
            index, lengths["cu_window_seqlens"] = get_vision_window_index(
                thw, merge, visual.window_size, visual.patch_size
            )
            indices["window_index"] = index
        if hasattr(visual, "pos_embed"):  # Qwen3-VL has learned positions, interpolated
            indices["interp_indices"], indices["interp_weights"] = (
                get_vision_interpolation_indices_and_weights(
                    thw,
                    visual.num_grid_per_side,
                    visual.interpolation_mode,
                    visual.interpolation_align_corners,
                    merge,
                )
            )
        known: dict[str, Any] = {name: index.to(device) for name, index in indices.items()}
        if visual.config._attn_implementation != FLASH:
            return known | lengths
        for name, ends in lengths.items():  # cu_seqlens goes with max_seqlen
            known[name] = ends.to(device)
            known[name.replace("cu_", "max_").removesuffix("s")] = int(ends.diff().max())
        return known
