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

import itertools
import resource
import sys
from typing import Any, Protocol

import numpy as np
from svlm_core.config import StreamConfig
from svlm_core.errors import CacheFullError
from svlm_core.evaluation.score import Judged, score
from svlm_core.frames import Chunk, Frame, NS_PER_S
from svlm_core.model.adapter import StreamModel
from svlm_core.stream.session import StreamSession
from svlm_core.world.render import Renderer
from svlm_core.world.scene import seconds, WORLD_FPS, WorldSecond

_WARM_UP = 0.1  # part of the stream before memory and time are compared
_REFRESH_S = 20


class Progress(Protocol):
    """What is used of a progress bar."""

    def update(self, n: int = 1) -> object:
        """Go on by n."""

    def set_postfix(self, **figures: Any) -> object:
        """Show figures."""


def evaluate_world(
    model: StreamModel, config: StreamConfig, seed: int, length_s: int, progress: Progress
) -> dict[str, Any]:
    """Stream `length_s` seconds of the world `seed`; Ctrl-C or a full cache ends early, figures kept.

    Returns:
        The figures of svlm_core.evaluation.score, and
        latency_ratio: median chunk time of the last tenth over that of the second tenth.
        rss_growth_mb: growth of resident memory from the end of the first tenth to the end.
        chunk_ms_p50, chunk_ms_p99: wall time of a chunk, all stages, milliseconds.
        stage_ms_p50: the same by stage.
        cache_tokens_max, capacity_tokens: largest and possible length of the KV cache.
        stopped: why the stream ended early, None when it did not.
        seconds, seed, policy, vision_window_s, text_sink_tokens, text_window_tokens: what was run.
    """
    session = StreamSession(model, config)
    renderer = Renderer(seed)
    judged: list[Judged] = []
    chunk_ms = np.zeros(length_s)  # allocated before memory is compared
    stages: dict[str, np.ndarray] = {}
    cache_max, warm_bytes, right = 0, 0, 0
    stopped: str | None = None
    try:
        for second in itertools.islice(seconds(seed), length_s):
            result = session.step(_chunk(second, renderer))
            i = second.index
            chunk_ms[i] = sum(result.stage_ms.values())
            for stage, ms in result.stage_ms.items():
                stages.setdefault(stage, np.zeros(length_s))[i] = ms
            cache_max = max(cache_max, result.cache_tokens)
            truth = second.sentence or ""
            judged.append(Judged(result.text, truth, second.kind, second.sense, second.age_s))
            right += judged[-1].right
            if i == int(length_s * _WARM_UP):
                warm_bytes = resident_bytes()
            progress.update(1)
            if i % _REFRESH_S == 0:
                progress.set_postfix(right=f"{right / len(judged):.3f}", ms=f"{chunk_ms[i]:.1f}")
    except (
        KeyboardInterrupt,
        CacheFullError,
    ) as reason:  # policy full ends so, and how far it came is the figure
        if not judged:
            raise
        stopped = str(reason) or "interrupted"
    done = len(judged)
    chunk_ms = chunk_ms[:done]
    return {
        **score(judged),
        "latency_ratio": _latency_ratio(chunk_ms),
        "rss_growth_mb": round((resident_bytes() - warm_bytes) / 1e6, 2) if warm_bytes else None,
        "chunk_ms_p50": round(float(np.median(chunk_ms)), 3),
        "chunk_ms_p99": round(float(np.percentile(chunk_ms, 99)), 3),
        "stage_ms_p50": {stage: round(float(np.median(ms[:done])), 3) for stage, ms in stages.items()},
        "cache_tokens_max": cache_max,
        "capacity_tokens": session.capacity_tokens,
        "seconds": done,
        "stopped": stopped,
        "seed": seed,
        "policy": config.policy,
        "vision_window_s": config.vision_window_s,
        "text_sink_tokens": config.text_sink_tokens,
        "text_window_tokens": config.text_window_tokens,
    }


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
