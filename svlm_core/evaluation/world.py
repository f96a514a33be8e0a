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

"""Streams an unseen world and measures what was said, how fast, and in how much memory."""

from __future__ import annotations

from array import array
from collections.abc import Callable
import itertools
from pathlib import Path
import resource
import sys
from typing import Any, Protocol

import numpy as np
from svlm_core.config import StreamConfig
from svlm_core.errors import CacheFullError, ConfigError
from svlm_core.evaluation.delays import Delays
from svlm_core.evaluation.moments import Moments
from svlm_core.evaluation.rates import PART_S
from svlm_core.evaluation.score import Judged, score, share, Tally
from svlm_core.frames import Chunk, Frame, NS_PER_S
from svlm_core.model.adapter import StreamModel
from svlm_core.stream.session import StreamSession
from svlm_core.stream.snapshot import load_stream, save_stream
from svlm_core.world.render import Renderer
from svlm_core.world.scene import seconds, WORLD_FPS, WorldSecond
import torch

_WARM_UP = 0.1  # part of the stream before memory and time are compared
_SETTLED_S = 60  # seconds after which a process that goes on with a saved stream has settled
_REFRESH_S = 20
_SAVE_EVERY_S = 600


class Progress(Protocol):
    """What is used of a progress bar."""

    def update(self, n: int = 1) -> object:
        """Go on by n."""

    def set_postfix(self, **figures: Any) -> object:
        """Show figures."""


class WorldRun:
    """One world through one stream, second by second; may be saved and taken up again.

    Attributes:
        tally: the seconds judged so far.
    """

    def __init__(
        self,
        model: StreamModel,
        config: StreamConfig,
        seed: int,
        length_s: int,
        moments: Moments | None = None,
    ) -> None:
        """Prepare to stream `length_s` seconds of the world `seed`; some of its moments are kept."""
        self._session = StreamSession(model, config)
        self._config, self._seed, self._length_s = config, seed, length_s
        self.tally, self._delays = Tally(), Delays()
        self._chunk_ms = array("f")
        self._stage_ms: dict[str, array[float]] = {}
        self._cache_max, self._warm_bytes = 0, 0
        self._moments = moments

    @property
    def delays(self) -> Delays:
        """How late its words came."""
        return self._delays

    @property
    def chunk_ms(self) -> np.ndarray:
        """Wall time of each chunk, milliseconds, float32 [seconds]."""
        return np.array(self._chunk_ms)

    def load(self, file: Path) -> None:
        """Go on from a file that `save` wrote.

        Raises:
            ConfigError: it is of another world, model or settings, or damaged.
        """
        arrays, notes = load_stream(self._session, file)
        if notes["seed"] != self._seed:
            raise ConfigError(f"{file}: a stream of world {notes['seed']}, not {self._seed}")
        numbers = {name: tensor.numpy() for name, tensor in arrays.items()}
        self.tally = Tally.thaw(numbers, notes["sorts"])
        self._delays = Delays(notes["delays"], notes["waiting"])
        self._chunk_ms.frombytes(numbers["chunk_ms"].tobytes())
        for stage in notes["stages"]:
            self._stage_ms[stage] = array("f", numbers[f"ms.{stage}"].tobytes())
        self._cache_max = notes["cache_max"]

    def save(self, file: Path) -> None:
        """Write everything that is needed to go on to the same figures."""
        arrays, sorts = self.tally.freeze()
        arrays["chunk_ms"] = np.array(self._chunk_ms)
        arrays |= {f"ms.{stage}": np.array(ms) for stage, ms in self._stage_ms.items()}
        notes = {
            "seed": self._seed,
            "sorts": sorts,
            "stages": [*self._stage_ms],
            "cache_max": self._cache_max,
        }
        notes |= {"delays": self._delays.counts, "waiting": self._delays.waiting}
        save_stream(self._session, file, {name: torch.from_numpy(a) for name, a in arrays.items()}, notes)

    def run(
        self,
        progress: Progress,
        saved: Path | None = None,
        interrupted: Callable[[], bool] = lambda: False,
    ) -> str | None:
        """Stream on to the end, saving every _SAVE_EVERY_S seconds of it; a full cache ends early.

        `interrupted` is asked after each second, and a yes ends early, too: a chunk is never left half done,
        so that what is saved is a stream between two chunks.

        Returns:
            Why the stream ended early, None if it did not.
        """
        first = len(self.tally)
        if first:
            progress.update(first)
        warm_s = max(int(self._length_s * _WARM_UP), first + _SETTLED_S if first else 0)
        renderer = Renderer(self._seed)
        try:
            for second in itertools.islice(seconds(self._seed), first, self._length_s):
                self._step(second, renderer)
                if second.index == warm_s:
                    self._warm_bytes = resident_bytes()
                progress.update(1)
                if second.index % _REFRESH_S == 0:
                    right = self.tally.right_share
                    progress.set_postfix(right=f"{right:.3f}", ms=f"{self._chunk_ms[-1]:.1f}")
                stopped = "interrupted" if interrupted() else None
                if saved and (stopped or len(self.tally) % _SAVE_EVERY_S == 0):
                    self.save(saved)
                if stopped:
                    return stopped
        except CacheFullError as reason:  # policy full ends so: how far it came is a figure
            if not len(self.tally):
                raise
            return str(reason)
        return None

    def figures(self) -> dict[str, Any]:
        """The figures of the seconds so far; see evaluate_world."""
        chunk_ms, warm_bytes = np.array(self._chunk_ms), self._warm_bytes
        config = self._config
        return {
            **score(self.tally),
            "said_after": self._delays.shares,
            "latency_ratio": _latency_ratio(chunk_ms),
            "rss_growth_mb": round((resident_bytes() - warm_bytes) / 1e6, 2) if warm_bytes else None,
            "chunk_ms_p50": round(float(np.median(chunk_ms)), 3),
            "chunk_ms_p99": round(float(np.percentile(chunk_ms, 99)), 3),
            "stage_ms_p50": {stage: round(float(np.median(ms)), 3) for stage, ms in self._stage_ms.items()},
            "cache_tokens_max": self._cache_max,
            "capacity_tokens": self._session.capacity_tokens,
            "curve": self._curve(chunk_ms),
            "seconds": len(self.tally),
            "seed": self._seed,
            "policy": config.policy,
            "vision_window_s": config.vision_window_s,
            "text_sink_tokens": config.text_sink_tokens,
            "text_window_tokens": config.text_window_tokens,
        }

    def _curve(self, chunk_ms: np.ndarray) -> list[dict[str, float | None]]:
        """Event accuracy and median time of a chunk, for each PART_S seconds."""
        right, true = self.tally.right, self.tally.true
        starts = range(0, len(right), PART_S)
        return [
            {
                "events": share(right[i : i + PART_S][true[i : i + PART_S]]),
                "ms": round(float(np.median(chunk_ms[i : i + PART_S])), 3),
            }
            for i in starts
        ]

    def _step(self, second: WorldSecond, renderer: Renderer) -> None:
        chunk = _chunk(second, renderer)
        result = self._session.step(chunk)
        self._chunk_ms.append(sum(result.stage_ms.values()))
        for stage, ms in result.stage_ms.items():
            self._stage_ms.setdefault(stage, array("f")).append(ms)
        self._cache_max = max(self._cache_max, result.cache_tokens)
        self._delays.add(result.text, second.sentence or "")
        judged = Judged(result.text, second.sentence or "", second.kind, second.sense, second.age_s)
        self.tally.add(judged)
        if self._moments:
            self._moments.see(second.index, judged, [frame.rgb for frame in chunk.frames])


def evaluate_world(
    model: StreamModel,
    config: StreamConfig,
    seed: int,
    length_s: int,
    progress: Progress,
    saved: Path | None = None,
    interrupted: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """The figures of one stream; see stream_world for the arguments and errors.

    Returns:
        The figures of svlm_core.evaluation.score, and
        said_after: share of true sentences by the seconds between event and words; see Delays.
        latency_ratio: median chunk time of the last tenth over that of the second tenth.
        rss_growth_mb: growth of resident memory from the end of the first tenth to the end; of this process,
            where it went on with a saved stream.
        chunk_ms_p50, chunk_ms_p99: wall time of a chunk, all stages, milliseconds.
        stage_ms_p50: the same by stage.
        curve: for each PART_S seconds, {"events": event accuracy, "ms": median time of a chunk}.
        cache_tokens_max, capacity_tokens: largest and possible length of the KV cache.
        stopped: why the stream ended early, None when it did not.
        seconds, seed, policy, vision_window_s, text_sink_tokens, text_window_tokens: what was run.
    """
    run, stopped = stream_world(model, config, seed, length_s, progress, saved, interrupted)
    return {**run.figures(), "stopped": stopped}


def stream_world(
    model: StreamModel,
    config: StreamConfig,
    seed: int,
    length_s: int,
    progress: Progress,
    saved: Path | None = None,
    interrupted: Callable[[], bool] = lambda: False,
    moments: Moments | None = None,
) -> tuple[WorldRun, str | None]:
    """Stream `length_s` seconds of the world `seed`; an interrupt or a full cache ends early, figures kept.

    Args:
        model: the model.
        config: the stream's settings.
        seed: which world.
        length_s: how much of it.
        progress: is shown the figures on the way.
        saved: a file to which the stream is saved every ten minutes of it and at the end; if it is there
            already, the stream goes on from it.
        interrupted: is asked after each second whether to end now.
        moments: keeps some for a report.

    Returns:
        The stream, and why it ended early, None when it did not.

    Raises:
        ConfigError: the saved stream is of another world, model or settings.
    """
    run = WorldRun(model, config, seed, length_s, moments)
    if saved and saved.exists():
        run.load(saved)
    stopped = run.run(progress, saved, interrupted)
    if saved and not stopped:
        run.save(saved)
    return run, stopped


def _latency_ratio(chunk_ms: np.ndarray) -> float | None:
    """Median of the last tenth over that of the second tenth; None below ten chunks, which have no tenths."""
    tenth = len(chunk_ms) // 10
    if not tenth:
        return None
    return round(float(np.median(chunk_ms[-tenth:]) / np.median(chunk_ms[tenth : 2 * tenth])), 4)


def resident_bytes() -> int:
    """Resident memory of this process now; where the system does not tell, the most it ever had."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def _chunk(second: WorldSecond, renderer: Renderer) -> Chunk:
    start_ns = second.index * NS_PER_S
    pictures = renderer.frames(second)
    return Chunk(
        second.index,
        tuple(Frame(start_ns + k * NS_PER_S // WORLD_FPS, rgb, "world") for k, rgb in enumerate(pictures)),
    )
