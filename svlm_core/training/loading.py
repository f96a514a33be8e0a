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

"""How fast samples are loaded from disk, beside how fast this machine trains on them.

Both are measured by turns in one run. On a CPU the clock counts what the process computes, not what it waits
for, so that other work on the machine hardly changes the figures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import time

from svlm_core.config import StreamConfig
from svlm_core.data.problems import Problems
from svlm_core.errors import ConfigError
from svlm_core.evaluation.world import resident_bytes
from svlm_core.model.adapter import StreamModel
from svlm_core.training.clip import Rendered, Renderer
from svlm_core.training.disk_clips import DiskClips
from svlm_core.training.packing import pack
from svlm_core.training.spoken_loss import batch, SpokenLoss
import torch

_SETTLED = 10  # clips after which decoders and allocators have what they need
_LEARNING_RATE = 1e-5
Clock = Callable[[], float]


@dataclass(frozen=True)
class LoadingFigures:
    """What was measured.

    Attributes:
        clips: loaded.
        tokens: they have, visual ones included.
        loaded_tokens_s: tokens loaded in a second of the clock: read, decoded, prepared, rendered.
        trained_tokens_s: tokens in a second of a training step: forward, backward, optimiser.
        growth_bytes: by which resident memory grew between the first clips and the end of the pass; None
            for fewer clips than are needed to tell.
        problems: samples that could not be loaded.
    """

    clips: int
    tokens: int
    loaded_tokens_s: float
    trained_tokens_s: float
    growth_bytes: int | None
    problems: Problems


def computing_clock(model: StreamModel) -> Clock:
    """Seconds that this process computes, or, where a GPU does, seconds as they pass."""
    return time.process_time if model.device.type == "cpu" else time.perf_counter


def measure_loading(
    clips: DiskClips,
    model: StreamModel,
    config: StreamConfig,
    steps: int,
    progress: Callable[[int], object],
    clock: Clock,
) -> LoadingFigures:
    """One pass over the clips, with training steps spread over it.

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
    renderer, problems, training = Renderer(model, config), Problems(), _Training(model, clock)
    every = max(1, len(clips) // steps)
    count = tokens = settled_bytes = 0
    loading_s = 0.0
    coming = clips.each(problems)
    while True:
        start_s = clock()
        clip = next(coming, None)
        if clip is None:
            break
        rendered = renderer.render(clip)
        loading_s += clock() - start_s
        if count % every == 0 and training.steps < steps:
            training.step(rendered)
        count, tokens = count + 1, tokens + len(rendered.ids)
        if count == _SETTLED:
            settled_bytes = resident_bytes()
        progress(1)
    if not count:
        raise ConfigError(f"{clips.samples.path}: not one of its {len(clips)} samples can be loaded")
    growth_bytes = resident_bytes() - settled_bytes if settled_bytes else None
    return LoadingFigures(count, tokens, tokens / loading_s, training.tokens_s, growth_bytes, problems)


class _Training:
    """Training steps, measured.

    Attributes:
        steps: done so far.
    """

    def __init__(self, model: StreamModel, clock: Clock) -> None:
        """Prepare to train all of the model."""
        self.steps = 0
        self._clock = clock
        self._objective = SpokenLoss(model)
        self._objective.requires_grad_(True)
        self._optimizer = torch.optim.AdamW(self._objective.parameters(), lr=_LEARNING_RATE)
        self._tokens, self._seconds = 0, 0.0

    @property
    def tokens_s(self) -> float:
        """Tokens in a second."""
        return self._tokens / self._seconds

    def step(self, clip: Rendered) -> None:
        """Train on a clip; the first time once more before, as that allocates."""
        if not self.steps:
            self._train(clip)
        start_s = self._clock()
        self._train(clip)
        self._seconds += self._clock() - start_s
        self._tokens += len(clip.ids)
        self.steps += 1

    def _train(self, clip: Rendered) -> None:
        loss = self._objective(**batch(pack([clip])))["loss"]
        loss.backward()
        self._optimizer.step()
        self._optimizer.zero_grad()
        float(loss.detach())  # a GPU is waited for
