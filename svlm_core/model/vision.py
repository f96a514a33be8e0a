"""Frames to the patches of a Qwen-VL vision tower, in plain torch, as transformers' processors make them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from svlm_core.errors import ModelError
from svlm_core.model.resize import target_size

Channels = tuple[float, float, float]
Grid = tuple[int, int, int]  # temporal patches, rows of patches, columns of patches

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class VisionInput:
    """Frames as the vision tower takes them.

    Attributes:
        patches: float32 [t * h * w, channels * temporal_patch * patch * patch], normalised.
        grid: (t, h, w), counted in patches before merging.
        merge: side of the square of patches that becomes one visual token.
    """

    patches: Tensor
    grid: Grid
    merge: int

    @property
    def tokens(self) -> int:
        """Visual tokens after merging: what these frames cost in the KV cache."""
        return self.patches.shape[0] // self.merge**2


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
        """Scale, pad in time, normalise and cut into patches.

        Args:
            rgb: uint8 [T, H, W, 3], T at least 1.
            min_tokens: fewest visual tokens of one temporal patch.
            max_tokens: most visual tokens of one temporal patch.

        Returns:
            The patches, ordered t, then merged row, merged column, row and column inside the merged square.
        """
        height, width = self.target_size(rgb.shape[1], rgb.shape[2], min_tokens, max_tokens)
        frames = torch.from_numpy(np.ascontiguousarray(rgb)).permute(0, 3, 1, 2).float()
        if (height, width) != rgb.shape[1:3]:
            # bicubic overshoots, and models were trained on pictures scaled to whole uint8 values
            scaled = functional.interpolate(frames, (height, width), mode="bicubic", antialias=True)
            frames = scaled.round_().clamp_(0, 255)
        if missing := -len(frames) % self.temporal_patch:
            frames = torch.cat([frames, frames[-1:].expand(missing, -1, -1, -1)])
        std = torch.tensor(self.std).view(3, 1, 1)
        frames = frames / (255 * std) - torch.tensor(self.mean).view(3, 1, 1) / std
        t, h, w = len(frames) // self.temporal_patch, height // self.patch, width // self.patch
        blocks = frames.view(
            *(t, self.temporal_patch, 3),
            *(h // self.merge, self.merge, self.patch),
            *(w // self.merge, self.merge, self.patch),
        )
        patches = blocks.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(t * h * w, -1)
        return VisionInput(patches, (t, h, w), self.merge)


def load_patchifier(folder: Path, vision_config: Any) -> Patchifier:
    """A checkpoint's patchifier: geometry from its config, like the weights; colours from its processor.

    Args:
        folder: the checkpoint. Its `preprocessor_config.json`, or the `processor_config.json` that newer
            transformers write, may be missing: then mean and std are CLIP's, as in all Qwen-VL releases.
        vision_config: transformers' vision config of a Qwen-VL family.

    Raises:
        ModelError: the file is not JSON, or its image_mean or image_std is not three numbers.
    """
    geometry = (vision_config.patch_size, vision_config.temporal_patch_size, vision_config.spatial_merge_size)
    for name in ("preprocessor_config.json", "processor_config.json"):
        path = folder / name
        if not path.is_file():
            continue
        settings = read_json(path)
        settings = settings.get("video_processor") or settings.get("image_processor") or settings
        return Patchifier(
            *geometry,
            mean=_channels(path, settings, "image_mean", CLIP_MEAN),
            std=_channels(path, settings, "image_std", CLIP_STD),
        )
    return Patchifier(*geometry)


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


def _channels(path: Path, settings: Any, name: str, default: Channels) -> Channels:
    value = settings.get(name, default) if isinstance(settings, dict) else None
    try:
        red, green, blue = (float(v) for v in value or ())
    except (TypeError, ValueError):
        raise ModelError(
            f"{path}: {name} must be three numbers, one a colour channel; got {value!r}"
        ) from None
    if name == "image_std" and min(red, green, blue) <= 0:
        raise ModelError(f"{path}: image_std must be positive, got {value!r}")
    return red, green, blue
