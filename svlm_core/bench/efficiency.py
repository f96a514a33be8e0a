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

"""What a chunk costs as the stream grows older, policy beside policy in one run."""

from __future__ import annotations

from collections.abc import Sequence
import time
from typing import Any, NamedTuple, Protocol

import numpy as np
from svlm_core.bench.shapes import Shape
from svlm_core.bench.workload import NoiseCamera, settle, Talker
from svlm_core.config import StreamConfig
from svlm_core.errors import SvlmError
from svlm_core.model.adapter import StreamModel
from svlm_core.stream.session import StreamSession
import torch

REFERENCE = "streaming"  # the policy the others are compared with
EARLY_CHUNK = 100  # from here on the windows are full, with the default settings
SPAN_CHUNKS = 100  # chunks whose median stands for an age, where the run is long enough
NEAR_CHUNKS = 20  # chunks whose median stands for the end of a policy that may still be growing
_SLOW_CHUNKS = 5  # a policy is too slow when the median of so many is; one slow chunk is the machine's


class Progress(Protocol):
    """What is used of a progress bar."""

    def update(self, n: int = 1) -> object:
        """Go on by n."""

    def set_postfix_str(self, s: str, refresh: bool) -> object:
        """Show a text."""


class Cost(NamedTuple):
    """What one chunk cost.

    Attributes:
        ms: wall time of everything, milliseconds.
        cache_tokens: tokens in the KV cache afterwards.
        stage_ms: the time by stage.
    """

    ms: float
    cache_tokens: int
    stage_ms: dict[str, float]


class Lane:
    """One policy's stream.

    Attributes:
        policy: its name.
        session: the stream.
        costs: of each chunk.
        stopped: why it broke, None while it runs.
        untrained_at: the first chunk that stood at positions the model was not trained for, None without.
    """

    def __init__(self, model: StreamModel, config: StreamConfig, policy: str) -> None:
        """Open the stream."""
        own = config.replace({"policy": policy}, "--policies")
        self.policy = policy
        self.session = StreamSession(model, own, Talker(model, own))
        self.costs: list[Cost] = []
        self.stopped: str | None = None
        self.untrained_at: int | None = None
        self._model = model

    def step(self, camera: NoiseCamera, stop_ms: float | None) -> None:
        """Run the next chunk; a policy that breaks says why."""
        chunk = camera.chunk(len(self.costs))
        settle(self._model.device)
        begin = time.perf_counter()
        try:
            result = self.session.step(chunk)
            settle(self._model.device)
        except (SvlmError, torch.OutOfMemoryError) as error:
            self.stopped = str(error).splitlines()[0]
            return
        ms = (time.perf_counter() - begin) * 1e3
        self.costs.append(Cost(ms, result.cache_tokens, result.stage_ms))
        context = self.session.context
        if self.untrained_at is None and context.next_position - context.origin > self._model.max_positions:
            self.untrained_at = chunk.index
        recent_ms = float(np.median(self.ms()[-_SLOW_CHUNKS:]))
        if stop_ms is not None and len(self.costs) >= _SLOW_CHUNKS and recent_ms > stop_ms:
            self.stopped = f"a chunk takes {recent_ms:.0f} ms, more than {stop_ms:g} ms"

    def ms(self) -> np.ndarray:
        """Wall time of each chunk, float64 [chunks], milliseconds."""
        return np.array([cost.ms for cost in self.costs])


def measure_efficiency(
    model: StreamModel,
    shape: Shape,
    config: StreamConfig,
    policies: Sequence[str],
    chunks: int,
    progress: Progress,
    stop_ms: float | None = None,
) -> dict[str, Any]:
    """Run all policies round-robin, a chunk each, so that what disturbs the machine disturbs all alike.

    Towards the end young streams of the same policies join in. They come to chunk EARLY_CHUNK when the old
    ones come to their last chunks, so old and young are compared within the same minutes.

    Args:
        model: the model.
        shape: its geometry.
        config: the settings of all streams, but for the policy.
        policies: names from svlm_core.config.POLICIES.
        chunks: most chunks of each; Ctrl-C ends earlier and keeps what was measured.
        progress: counts rounds of all policies.
        stop_ms: a policy whose chunks take longer has broken; None lets them take as long as they will.

    Returns:
        policies: for each name `chunk_ms`, `cache_tokens`, `cache_bytes` (lists, an entry for each chunk),
            `allocated_bytes`, `stopped` (None or the reason), `untrained_at` (None or a chunk) and `summary`.
        interrupted: whether Ctrl-C ended it.
    """
    camera = NoiseCamera(config, shape.frame_px)
    old, young = [Lane(model, config, policy) for policy in policies], list[Lane]()
    young_from = chunks - EARLY_CHUNK - span_of(chunks)
    interrupted = False
    try:
        for number in range(chunks):
            if number == young_from > 0:
                young = [Lane(model, config, lane.policy) for lane in old if not lane.stopped]
            running = [lane for lane in (*old, *young) if not lane.stopped]
            if not running:
                break
            turn = number % len(running)  # nobody always runs behind the same neighbour
            for lane in (*running[turn:], *running[:turn]):
                lane.step(camera, stop_ms)
            progress.update(1)
            progress.set_postfix_str(" ".join(f"{lane.policy} {_now(lane)}" for lane in old), refresh=False)
    except KeyboardInterrupt:
        interrupted = True
    token_bytes = shape.kv_bytes_per_token(model.dtype.itemsize)
    none = np.empty(0)
    reference = next((lane.ms() for lane in old if lane.policy == REFERENCE), none)
    twins = {lane.policy: lane.ms() for lane in young}
    return {
        "policies": {
            lane.policy: {
                "chunk_ms": [round(cost.ms, 3) for cost in lane.costs],
                "cache_tokens": [cost.cache_tokens for cost in lane.costs],
                "cache_bytes": [cost.cache_tokens * token_bytes for cost in lane.costs],
                "allocated_bytes": lane.session.capacity_tokens * token_bytes,
                "stopped": lane.stopped,
                "untrained_at": lane.untrained_at,
                "summary": summarise(
                    lane.costs, none if lane.stopped else twins.get(lane.policy, none), reference
                ),
            }
            for lane in old
        },
        "interrupted": interrupted,
    }


def span_of(chunks: int) -> int:
    """How many chunks stand for an age in a run of `chunks`: SPAN_CHUNKS, fewer in a short one."""
    return min(SPAN_CHUNKS, max(1, (chunks - EARLY_CHUNK) // 2))


def summarise(costs: Sequence[Cost], young_ms: np.ndarray, reference_ms: np.ndarray) -> dict[str, Any]:
    """The figures of one policy.

    Args:
        costs: of each chunk.
        young_ms: chunk times of a young stream of the policy, whose last chunk came beside the last of these;
            empty without one.
        reference_ms: chunk times of the policy REFERENCE in the same run, the first beside the first.

    Returns:
        p50_ms, p99_ms, p99_over_p50: over all chunks from EARLY_CHUNK on, or over all in a shorter run.
        early_ms, late_ms: medians over `span` chunks from EARLY_CHUNK on, and over the last ones.
        late_over_early: their ratio.
        old_over_young: median over the last `span` rounds of this stream's time over the young one's.
        over_reference: median over the last NEAR_CHUNKS of this policy's time over the reference's at the
            same chunks.
        stage_ms: median by stage over the last `span` chunks.
        span: see above.
        Figures that a run is too short for are None.
    """
    ms = np.array([cost.ms for cost in costs])
    if not len(ms):
        return {}
    span = span_of(len(ms))
    aged = len(ms) >= EARLY_CHUNK + 2 * span
    early_ms = _median(ms[EARLY_CHUNK : EARLY_CHUNK + span]) if aged else None
    late_ms = _median(ms[-span:])
    beside = min(span, len(young_ms))
    with_twin = aged and len(young_ms) >= EARLY_CHUNK + span
    near = slice(max(0, len(ms) - NEAR_CHUNKS), len(ms))
    comparable = len(reference_ms) >= len(ms)
    steady = ms[EARLY_CHUNK:] if aged else ms
    p99_ms = float(np.percentile(steady, 99))
    return {
        "p50_ms": _median(steady),
        "p99_ms": round(p99_ms, 3),
        "p99_over_p50": round(p99_ms / float(np.median(steady)), 4),
        "early_ms": early_ms,
        "late_ms": late_ms,
        "late_over_early": round(late_ms / early_ms, 4) if early_ms else None,
        "old_over_young": _median(ms[-beside:] / young_ms[-beside:], 4) if with_twin else None,
        "over_reference": _median(ms[near] / reference_ms[near], 4) if comparable else None,
        "stage_ms": {
            stage: _median(np.array([cost.stage_ms[stage] for cost in costs[-span:]]))
            for stage in costs[-1].stage_ms
        },
        "span": span,
    }


def _median(values: np.ndarray, digits: int = 3) -> float:
    return round(float(np.median(values)), digits)


def _now(lane: Lane) -> str:
    return "stopped" if lane.stopped else f"{lane.costs[-1].ms:.0f} ms"
