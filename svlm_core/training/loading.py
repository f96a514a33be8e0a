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

"""How fast samples are loaded from disk, beside how fast this machine trains on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import resource
import sys
import time

from svlm_core.config import StreamConfig
from svlm_core.data.problems import Problems
from svlm_core.errors import ConfigError
from svlm_core.model.adapter import StreamModel
from svlm_core.training.clip import Rendered, Renderer
from svlm_core.training.disk_clips import DiskClips
from svlm_core.training.packing import pack
from svlm_core.training.spoken_loss import batch, SpokenLoss
import torch

_KIB = 1024
_SETTLED = 10  # clips after which decoders and allocators have what they need


@dataclass(frozen=True)
class LoadingFigures:
    """What was measured.

    Attributes:
        clips: loaded.
        tokens: they have, visual ones included.
        loaded_tokens_s: tokens loaded in a second by one process: read, decoded, prepared, rendered.
        trained_tokens_s: tokens in a second of a training step: forward, backward, optimiser.
        growth_bytes: by which the memory's peak grew between the first clips and the end of the pass; None
            for fewer clips than are needed to tell.
        problems: samples that could not be loaded.
    """

    clips: int
    tokens: int
    loaded_tokens_s: float
    trained_tokens_s: float
    growth_bytes: int | None
    problems: Problems


def measure_loading(
    clips: DiskClips,
    model: StreamModel,
    config: StreamConfig,
    steps: int,
    progress: Callable[[int], object],
    clock: Callable[[], float] = time.perf_counter,
) -> LoadingFigures:
    """One pass over the clips, then training steps on the first of them.

    Args:
        clips: of one file.
        model: trained for the steps, all of it; not to be used afterwards.
        config: the stream's settings.
        steps: of training, one clip each.
        progress: called with the number of clips loaded.
        clock: seconds that never go back.

    Raises:
        ConfigError: not one sample can be loaded, or there are no steps.
    """
    if steps < 1:
        raise ConfigError(f"steps must be at least 1, got {steps}")
    renderer, problems = Renderer(model, config), Problems()
    first: list[Rendered] = []
    count = tokens = 0
    settled_bytes: int | None = None
    start_s = clock()
    for clip in clips.each(problems):
        rendered = renderer.render(clip)
        count, tokens = count + 1, tokens + len(rendered.ids)
        if len(first) < steps:
            first.append(rendered)
        if count == max(_SETTLED, steps):
            settled_bytes = _peak_bytes()
        progress(1)
    loading_s = clock() - start_s
    if not first:
        raise ConfigError(f"{clips.samples.path}: not one of its {len(clips)} samples can be loaded")
    growth_bytes = None if settled_bytes is None else _peak_bytes() - settled_bytes
    trained = _trained_tokens_s(first, model, clock)
    return LoadingFigures(count, tokens, tokens / loading_s, trained, growth_bytes, problems)


def _trained_tokens_s(clips: list[Rendered], model: StreamModel, clock: Callable[[], float]) -> float:
    objective = SpokenLoss(model)
    objective.requires_grad_(True)
    optimizer = torch.optim.AdamW(objective.parameters(), lr=1e-5)

    def step(clip: Rendered) -> None:
        objective(**batch(pack([clip])))["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()

    step(clips[0])  # the first one allocates
    start_s = clock()
    for clip in clips:
        step(clip)
    return sum(len(clip.ids) for clip in clips) / (clock() - start_s)


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * _KIB
