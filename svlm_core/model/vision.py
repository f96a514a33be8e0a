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

"""Frames to what a vision tower takes, in plain torch, as transformers' processors make them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import json
from pathlib import Path
from typing import Any

import numpy as np
from svlm_core.errors import ModelError
from svlm_core.model.resize import target_size
import torch
from torch import Tensor
from torch.nn import functional

Channels = tuple[float, float, float]
Grid = tuple[int, int, int]  # temporal patches, rows of patches, columns of patches

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
CENTRED = (0.5, 0.5, 0.5)  # as mean and std: colours from -1 to 1

PROCESSOR_FILES = (  # how transformers has named them over time; what is for video comes first
    "video_preprocessor_config.json",
    "preprocessor_config.json",
    "processor_config.json",
)


@dataclass(frozen=True)
class VisionInput:
    """Frames as the vision tower takes them.

    Attributes:
        patches: normalised float32: patches [t * h * w, channels * temporal_patch * patch * patch], or whole
            pictures [t, channels, height, width] for a tower that cuts them itself.
        grid: (t, h, w), counted in patches before merging.
        merge: side of the square of patches that becomes one visual token.
    """

    patches: Tensor
    grid: Grid
    merge: int

    @property
    def tokens(self) -> int:
        """Visual tokens after merging: what these frames cost in the KV cache."""
        return self.grid[0] * self.grid[1] * self.grid[2] // self.merge**2

    @classmethod
    def join(cls, visions: Sequence[VisionInput]) -> VisionInput:
        """Several chunks' frames of one size as one input; the tokens come out one chunk behind the other."""
        first = visions[0]
        steps = sum(vision.grid[0] for vision in visions)
        return cls(torch.cat([v.patches for v in visions]), (steps, *first.grid[1:]), first.merge)


@dataclass(frozen=True)
class Patchifier:
    """How one checkpoint wants its frames.

    Attributes:
        patch: side of one patch, pixels.
        temporal_patch: frames in one patch.
        merge: side of the square of patches that becomes one visual token.
        mean: of each RGB channel, on the scale 0..1.
        std: of each RGB channel, on the scale 0..1.
    """

    patch: int
    temporal_patch: int
    merge: int
    mean: Channels = CLIP_MEAN
    std: Channels = CLIP_STD

    @property
    def factor(self) -> int:
        """Side of one visual token, pixels."""
        return self.patch * self.merge

    def target_size(self, height: int, width: int, min_tokens: int, max_tokens: int) -> tuple[int, int]:
        """The (height, width) a frame is scaled to; see `svlm_core.model.resize.target_size`."""
        return target_size(height, width, factor=self.factor, min_tokens=min_tokens, max_tokens=max_tokens)

    def __call__(self, rgb: np.ndarray, min_tokens: int, max_tokens: int) -> VisionInput:
        """Scale, pad in time, cut into patches and normalise.

        Args:
            rgb: uint8 [T, H, W, 3], T at least 1.
            min_tokens: fewest visual tokens of one temporal patch.
            max_tokens: most visual tokens of one temporal patch.

        Returns:
            The patches, ordered t, then merged row, merged column, row and column inside the merged square.
        """
        height, width = self.target_size(rgb.shape[1], rgb.shape[2], min_tokens, max_tokens)
        frames = scaled(as_pictures(rgb), (height, width))
        if missing := -len(frames) % self.temporal_patch:
            frames = torch.cat([frames, frames[-1:].expand(missing, -1, -1, -1)])
        t, h, w = len(frames) // self.temporal_patch, height // self.patch, width // self.patch
        blocks = frames.view(
            *(t, self.temporal_patch, 3),
            *(h // self.merge, self.merge, self.patch),
            *(w // self.merge, self.merge, self.patch),
        )
        patches = blocks.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(t * h * w, 3, -1)
        return VisionInput(normalised(patches, self.mean, self.std).flatten(1), (t, h, w), self.merge)


def as_pictures(rgb: np.ndarray) -> Tensor:
    """Frames as the tensor operations want them: uint8 [T, H, W, 3] -> uint8 [T, 3, H, W], nothing copied."""
    return torch.from_numpy(np.ascontiguousarray(rgb)).permute(0, 3, 1, 2)


def scaled(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """Scale uint8 [T, 3, H, W] to (height, width): bicubic, antialiased, as transformers' processors do.

    In whole numbers, with the colours side by side: ten times as fast as in float32, and no colour further
    from the rounded float result than the weights' 16 bits allow.
    """
    if tuple(pictures.shape[2:]) == size:
        return pictures
    return functional.interpolate(pictures, size, mode="bicubic", antialias=True)


def normalised(pictures: Tensor, mean: Channels, std: Channels) -> Tensor:
    """uint8 [T, 3, ...] to float32 (x / 255 - mean) / std."""
    shape = (3, *[1] * (pictures.ndim - 2))
    scale = torch.tensor(std).view(shape)
    return (pictures / (255 * scale)).sub_(torch.tensor(mean).view(shape) / scale)


def load_patchifier(
    folder: Path, vision_config: Any, mean: Channels = CLIP_MEAN, std: Channels = CLIP_STD
) -> Patchifier:
    """A checkpoint's patchifier: geometry from its config, like the weights; colours from its processor.

    Args:
        folder: the checkpoint; the file of its processor may be missing.
        vision_config: transformers' vision config of a Qwen-VL family.
        mean: of each RGB channel, if no file says it; the default is that of all Qwen2-VL releases.
        std: the same.

    Raises:
        ModelError: the file is not JSON, or its image_mean or image_std is not three numbers.
    """
    geometry = (vision_config.patch_size, vision_config.temporal_patch_size, vision_config.spatial_merge_size)
    path, settings = read_processor(folder)
    return Patchifier(*geometry, *read_colours(path, settings, mean, std))


def read_processor(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The settings of a checkpoint's video or picture processor and their file; none if there is no file.

    Raises:
        ModelError: the file cannot be read or is not JSON.
    """
    for name in PROCESSOR_FILES:
        path = folder / name
        if path.is_file():
            settings = read_json(path)
            settings = settings.get("video_processor") or settings.get("image_processor") or settings
            if not isinstance(settings, dict):
                raise ModelError(f"{path}: the processor must be a JSON object, got {settings!r}")
            return path, settings
    return folder, {}


def read_colours(
    path: Path, settings: dict[str, Any], mean: Channels, std: Channels
) -> tuple[Channels, Channels]:
    """A processor's image_mean and image_std; `mean` and `std` where it has none.

    Raises:
        ModelError: one is not three numbers, or a std is not positive.
    """
    return _channels(path, settings, "image_mean", mean), _channels(path, settings, "image_std", std)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds one object.

    Raises:
        ModelError: it cannot be read, is not JSON, or is not an object.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ModelError(f"{path}: not valid JSON ({error}); download the checkpoint again") from error
    if not isinstance(data, dict):
        raise ModelError(f"{path}: must hold a JSON object, got a {type(data).__name__}")
    return data


def _channels(path: Path, settings: dict[str, Any], name: str, default: Channels) -> Channels:
    value = settings.get(name, default)
    try:
        red, green, blue = (float(v) for v in value or ())
    except (TypeError, ValueError):
        raise ModelError(
            f"{path}: {name} must be three numbers, one a colour channel; got {value!r}"
        ) from None
    if name == "image_std" and min(red, green, blue) <= 0:
        raise ModelError(f"{path}: image_std must be positive, got {value!r}")
    return red, green, blue
