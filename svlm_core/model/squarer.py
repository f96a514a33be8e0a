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

"""Frames to squares of one size, for vision towers that see no other; as transformers' SmolVLM does it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from svlm_core.errors import ModelError
from svlm_core.model.vision import (
    as_pictures,
    CENTRED,
    Channels,
    normalised,
    read_colours,
    read_processor,
    scaled,
    VisionInput,
)


@dataclass(frozen=True)
class Squarer:
    """How one checkpoint wants its frames: each is one picture, squeezed into a square.

    transformers scales by Lanczos where torchvision can and bicubically elsewhere; here it is always bicubic.

    Attributes:
        side: of the square, pixels.
        patch: side of one patch, pixels.
        merge: side of the square of patches that becomes one visual token.
        edge: a frame's longer side is first scaled to this many pixels, its shape kept.
        mean: of each RGB channel, on the scale 0..1.
        std: of each RGB channel, on the scale 0..1.
    """

    side: int
    patch: int
    merge: int
    edge: int
    mean: Channels = CENTRED
    std: Channels = CENTRED

    @property
    def tokens(self) -> int:
        """Visual tokens of one frame."""
        return (self.side // self.patch // self.merge) ** 2

    def __call__(self, rgb: np.ndarray) -> VisionInput:
        """Scale and normalise frames: uint8 [T, H, W, 3]."""
        pictures = scaled(as_pictures(rgb), self._first_size(rgb.shape[1], rgb.shape[2]))
        pictures = normalised(scaled(pictures, (self.side, self.side)), self.mean, self.std)
        patches = self.side // self.patch
        return VisionInput(pictures, (len(pictures), patches, patches), self.merge)

    def _first_size(self, height: int, width: int) -> tuple[int, int]:
        """The longer side becomes `edge`; the shorter follows, made even: transformers' rule, to the bit."""
        aspect = width / height
        if width >= height:
            shorter = int(self.edge / aspect)
            return max(1, shorter + shorter % 2), self.edge
        shorter = int(self.edge * aspect)
        return self.edge, max(1, shorter + shorter % 2)


def load_squarer(folder: Path, config: Any) -> Squarer:
    """A SmolVLM checkpoint's squarer: geometry from its config, the rest from its processor.

    Args:
        folder: the checkpoint; the file of its processor may be missing.
        config: transformers' SmolVLMConfig.

    Raises:
        ModelError: the file is not JSON, or a value in it is not what it should be.
    """
    vision = config.vision_config
    path, settings = read_processor(folder)
    sampling = settings.get("video_sampling") or {}
    try:
        size = sampling.get("video_size") or settings.get("size") or {"longest_edge": vision.image_size}
        edge = int(size["longest_edge"])
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ModelError(
            f"{path}: size must be an object with a number of pixels as longest_edge, "
            f"got {sampling or settings.get('size')!r}"
        ) from None
    colours = read_colours(path, settings, CENTRED, CENTRED)
    return Squarer(vision.image_size, vision.patch_size, config.scale_factor, edge, *colours)
