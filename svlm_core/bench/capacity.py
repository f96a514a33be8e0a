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

"""How many cameras one device holds in real time: batched by the engine, and beside it one after another."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import as_completed
import time
from typing import Any, NamedTuple

import numpy as np
from svlm_core.bench.efficiency import Progress
from svlm_core.bench.kernels import BareModel, ChunkKernels, ChunkSizes, run_ms
from svlm_core.bench.shapes import Shape
from svlm_core.bench.workload import filled, NoiseCamera, Talker
from svlm_core.config import StreamConfig
from svlm_core.frames import Chunk
from svlm_core.model.adapter import StreamModel
from svlm_core.stream.engine import Engine, EngineStream
from svlm_core.stream.session import StreamSession

_BARE_ROUNDS = 5


class Round(NamedTuple):
    """One chunk of each camera, all arrived at the same moment.

    Attributes:
        latency_ms: of each camera's chunk, from arrival to answer.
        wall_s: until the last answer.
    """

    latency_ms: list[float]
    wall_s: float


class Cameras:
    """Some cameras, each with a stream on an engine and, to compare, a session that runs alone."""

    def __init__(self, model: StreamModel, shape: Shape, config: StreamConfig, engine: Engine) -> None:
        """Begin without a camera."""
        self._model, self._shape, self._engine = model, shape, engine
        self._config = filled(config, model)
        self._camera = NoiseCamera(config, shape.frame_px)
        self._streams: list[EngineStream] = []
        self._sessions: list[StreamSession] = []
        self._index = 0

    def grow(self, count: int) -> None:
        """Open streams until there are `count`, and fill the windows of the new ones."""
        model, config = self._model, self._config
        new = range(len(self._streams), count)
        self._streams += [self._engine.open(config, Talker(model, config)) for _ in new]
        self._sessions += [StreamSession(model, config, Talker(model, config)) for _ in new]
        for _ in range(config.window_chunks):
            chunk = self._next()
            _batched(self._streams[new.start :], chunk)
            _in_turn(self._sessions[new.start :], chunk)

    def batched(self) -> Round:
        """One round on the engine."""
        return _batched(self._streams, self._next())

    def in_turn(self) -> Round:
        """One round, a session after the other."""
        return _in_turn(self._sessions, self._next())

    def bare_speedup(self) -> float:
        """Bare kernels of all cameras' chunks in turn over the same in one batch, a median."""
        session, count = self._sessions[0], len(self._sessions)
        sizes = ChunkSizes.of(session, self._next())
        bare, arena = BareModel(self._model, self._shape), session.context.arena
        alone, together = bare.chunk(sizes, arena), bare.chunk(sizes, arena, count)
        ratios = [count * self._bare_ms(alone) / self._bare_ms(together) for _ in range(_BARE_ROUNDS)]
        return float(np.median(ratios))

    def _bare_ms(self, kernels: ChunkKernels) -> float:
        return sum(
            run_ms(calls, self._model.device, times)
            for (_, kind), (calls, times) in kernels.items()
            if kind == "kernels"
        )

    def _next(self) -> Chunk:
        self._index += 1
        return self._camera.chunk(self._index)


def measure_capacity(
    model: StreamModel,
    shape: Shape,
    config: StreamConfig,
    counts: Sequence[int],
    rounds: int,
    stop_when_late: bool,
    progress: Progress,
) -> dict[str, Any]:
    """For each number of cameras, rounds in which every camera hands over a chunk at the same moment.

    Rounds on the engine and rounds of the same number of sessions one after another alternate.

    Args:
        model: the model.
        shape: its geometry.
        config: the settings of every stream.
        counts: numbers of cameras, rising.
        rounds: measured rounds of each number; Ctrl-C ends earlier and keeps the numbers that are done.
        stop_when_late: end with the first number whose p99 is longer than a chunk.
        progress: counts the numbers done.

    Returns:
        cameras: for each number done `cameras`, `batched` and `in_turn` (each with p50_ms, p95_ms, p99_ms of
            the time from a chunk's arrival to its answer, and chunks_per_s), `speedup` (median over the
            rounds of the time in turn over the time batched), `bare_speedup` (the same of the model's bare
            matrix products and attention kernels: what this device gives at best) and `held` (whether the
            batched p99 is within a chunk).
        held: the largest number held, 0 if none.
        interrupted: whether Ctrl-C ended it.
    """
    figures: list[dict[str, Any]] = []
    interrupted = False
    with Engine(model, max_batch=max(counts)) as engine:
        cameras = Cameras(model, shape, config, engine)
        try:
            for count in counts:
                progress.set_postfix_str(f"{count} cameras", refresh=True)
                cameras.grow(count)
                pairs = [(cameras.batched(), cameras.in_turn()) for _ in range(rounds)]
                figures.append(_figures(count, pairs, cameras.bare_speedup(), config.chunk_s))
                progress.update(1)
                if stop_when_late and not figures[-1]["held"]:
                    break
        except KeyboardInterrupt:
            interrupted = True
    held = max((figure["cameras"] for figure in figures if figure["held"]), default=0)
    return {"cameras": figures, "held": held, "interrupted": interrupted}


def _batched(streams: Sequence[EngineStream], chunk: Chunk) -> Round:
    begin = time.perf_counter()
    ends = []
    for answered in as_completed([stream.submit(chunk) for stream in streams]):
        answered.result()
        ends.append(time.perf_counter())
    return Round([(end - begin) * 1e3 for end in ends], ends[-1] - begin)


def _in_turn(sessions: Sequence[StreamSession], chunk: Chunk) -> Round:
    begin = time.perf_counter()
    ends = []
    for session in sessions:
        session.step(chunk)
        ends.append(time.perf_counter())
    return Round([(end - begin) * 1e3 for end in ends], ends[-1] - begin)


def _figures(
    count: int, pairs: Sequence[tuple[Round, Round]], bare_speedup: float, chunk_s: float
) -> dict[str, Any]:
    batched = _latencies([together for together, _ in pairs])
    ratios = [alone.wall_s / together.wall_s for together, alone in pairs]
    return {
        "cameras": count,
        "batched": batched,
        "in_turn": _latencies([alone for _, alone in pairs]),
        "speedup": round(float(np.median(ratios)), 3),
        "bare_speedup": round(bare_speedup, 3),
        "held": batched["p99_ms"] <= chunk_s * 1e3,
    }


def _latencies(rounds: Sequence[Round]) -> dict[str, float]:
    latencies = np.array([ms for one in rounds for ms in one.latency_ms])
    p50, p95, p99 = (round(float(q), 3) for q in np.percentile(latencies, (50, 95, 99)))
    per_s = len(latencies) / sum(one.wall_s for one in rounds)
    return {"p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "chunks_per_s": round(per_s, 3)}
