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

"""What the link adds to a chunk: a real `svlm serve` with keys, and the same model in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
import re
import subprocess
import sys
from tempfile import TemporaryDirectory
import threading
import time
from typing import Any

import cv2
import numpy as np
from svlm_core.bench.efficiency import Progress
from svlm_core.config import StreamConfig
from svlm_core.errors import LinkError
from svlm_core.frames import Chunk, Frame, NS_PER_S
from svlm_core.model.adapter import StreamModel
from svlm_core.offload import images, wire
from svlm_core.offload.client import Client
from svlm_core.offload.coded import CodedFrames
from svlm_core.offload.curve import ClientKeys
from svlm_core.offload.keys import KeyStore, SERVER
from svlm_core.offload.link import LIVE
from svlm_core.stream.result import ChunkResult
from svlm_core.stream.session import StreamSession

LIMIT_MS = 2.0  # what the link may add to a chunk of LIMIT_PX, the pictures' coding not counted
LIMIT_PX = (480, 640)
_PICTURES = 8  # made once; the camera shows them in turn
_BLOB_PX, _GRAIN = 24, 5.0  # about 1.9 bits per pixel at quality 85, as of a camera that looks at a room
_QUALITY = 85  # what a Client begins with
_STAGES = (
    "preprocess",
    "vision",
    "cache",
    "prefill",
    "decode",
)  # at a server, the first decodes pictures, too
_ROBOT = "bench"
_READY = re.compile(r"ready at (tcp://[\w.:]+)")
_LIVE_LIMIT_S, _END_LIMIT_S = 60.0, 30.0


class GrainyCamera:
    """Chunks of soft blobs under a camera's grain: as many bytes as JPEG makes of real pictures."""

    def __init__(self, config: StreamConfig, size_px: tuple[int, int]) -> None:
        """Make the pictures, of (height, width) `size_px`."""
        rng, (height, width) = np.random.default_rng(0), size_px
        self._fps, self._frames = config.fps, round(config.chunk_s * config.fps)
        self._pictures = []
        for _ in range(_PICTURES):
            blobs = rng.integers(0, 256, (height // _BLOB_PX, width // _BLOB_PX, 3), dtype=np.uint8)
            soft = cv2.resize(blobs, (width, height), interpolation=cv2.INTER_CUBIC)
            grainy = soft + rng.normal(0.0, _GRAIN, (height, width, 1))
            self._pictures.append(np.clip(grainy, 0, 255).astype(np.uint8))

    def chunk(self, index: int) -> Chunk:
        """Chunk `index`."""
        numbers = range(index * self._frames, (index + 1) * self._frames)
        pictures = [self._pictures[n % _PICTURES] for n in numbers]
        stamps_ns = [round(n * NS_PER_S / self._fps) for n in numbers]
        return Chunk(index, tuple(map(Frame, stamps_ns, pictures)))


@contextmanager
def server(model: str, threads: int) -> Iterator[tuple[str, ClientKeys]]:
    """Run `svlm serve` on loopback with keys, both only for as long as this lasts.

    Args:
        model: --model of it.
        threads: --threads of it.

    Yields:
        Its endpoint, and the keys of a robot that it allows.

    Raises:
        LinkError: it did not start; the message has its last line.
    """
    with TemporaryDirectory(prefix="svlm-bench-") as folder:
        keys = Path(folder) / "keys"
        store = KeyStore(keys)
        public = store.new(SERVER)
        store.allow(_ROBOT, store.new(_ROBOT))
        serve = [
            sys.executable,
            "-m",
            "svlm_core.cli",
            "serve",
            "--bind",
            "tcp://127.0.0.1:*",
            "--metrics",
            "",
        ]
        options = ["--keys", str(keys), "--model", model, "--threads", str(threads)]
        options += ["--journal", str(Path(folder) / "journal")]
        process = subprocess.Popen([*serve, *options], stderr=subprocess.PIPE, text=True)
        try:
            yield _endpoint(process), ClientKeys.read(keys / f"{_ROBOT}.key", public.decode())
        finally:
            process.terminate()
            process.wait(_END_LIMIT_S)


def _endpoint(process: subprocess.Popen[str]) -> str:
    """Where a server that was just started listens, once it is ready."""
    assert process.stderr is not None
    line = ""
    for line in process.stderr:
        if ready := _READY.search(line):
            threading.Thread(target=process.stderr.read, name="svlm-bench-log", daemon=True).start()
            return ready[1]
    raise LinkError(f"the server did not start: {line.strip()}")


def measure_link(
    model: StreamModel,
    config: StreamConfig,
    endpoint: str,
    keys: ClientKeys,
    sizes_px: Sequence[tuple[int, int]],
    rounds: int,
    progress: Progress,
) -> dict[str, Any]:
    """The same chunks through a session here and over the link, in turn, one at a time.

    Args:
        model: what the server at `endpoint` runs, too.
        config: the settings of both streams.
        endpoint: of the server.
        keys: of a robot that it allows.
        sizes_px: (height, width) of the pictures that go over the link.
        rounds: measured chunks of each size, after as many as the vision window holds.
        progress: counts chunks.

    Returns:
        sizes: for each of sizes_px `height_px`, `width_px`, `chunk_bytes` (the pictures of a chunk, coded)
            and medians: `encode_ms` and `decode_ms` (of a chunk's pictures, here), `here_ms` and
            `over_link_ms` (a step), `overhead_ms` (what a step over the link takes beside the pictures' and
            the model's stages, less what one here takes beside them; quartiles `overhead_ms_p25` and
            `_p75`), `transport_ms` (of a step, the time in which the server did not have the chunk) and
            `mb_per_s` (the pictures' bytes over that time).
        overhead_ms: at LIMIT_PX; None if that is not measured.
        limit_ms: LIMIT_MS.
        within_limit: whether the former is at most the latter; None likewise.
    """
    rows = []
    for size_px in sizes_px:
        with Client(endpoint, asdict(config), camera=_ROBOT, keys=keys) as client:
            if client.wait_until_live(_LIVE_LIMIT_S).name != LIVE:
                raise LinkError(f"the link to {endpoint} is {client.state.name}: {client.state.reason}")
            session = StreamSession(model, config)
            rows.append(_measure_size(session, client, config, size_px, rounds, progress))
    at_limit = [row["overhead_ms"] for row in rows if (row["height_px"], row["width_px"]) == LIMIT_PX]
    overhead_ms = at_limit[0] if at_limit else None
    return {
        "sizes": rows,
        "overhead_ms": overhead_ms,
        "limit_ms": LIMIT_MS,
        "within_limit": None if overhead_ms is None else overhead_ms <= LIMIT_MS,
    }


def _measure_size(
    session: StreamSession,
    client: Client,
    config: StreamConfig,
    size_px: tuple[int, int],
    rounds: int,
    progress: Progress,
) -> dict[str, Any]:
    camera = GrainyCamera(config, size_px)
    columns = ("encode", "decode", "here", "over_link", "overhead", "transport")
    ms: dict[str, list[float]] = {name: [] for name in columns}
    chunk_bytes = []
    for index in range(config.window_chunks + rounds):
        chunk = camera.chunk(index)
        times_s = [time.perf_counter()]
        here = session.step(chunk)
        times_s.append(time.perf_counter())
        coded = _coded(chunk)
        times_s.append(time.perf_counter())
        there = client.step(chunk, coded)
        times_s.append(time.perf_counter())
        for data in coded.pictures:
            images.decode(data, wire.Picture.JPEG, *size_px)
        times_s.append(time.perf_counter())
        progress.update(1)
        if index < config.window_chunks:
            continue
        here_ms, encode_ms, over_link_ms, decode_ms = (np.diff(times_s) * 1e3).tolist()
        overhead_ms = (over_link_ms - _counted(there)) - (here_ms - _counted(here))
        row = (encode_ms, decode_ms, here_ms, over_link_ms, overhead_ms, there.stage_ms["link"])
        for name, value in zip(columns, row, strict=True):
            ms[name].append(value)
        chunk_bytes.append(sum(map(len, coded.pictures)))
    medians = {f"{name}_ms": round(float(np.median(values)), 3) for name, values in ms.items()}
    p25, p75 = np.percentile(ms["overhead"], (25, 75))
    size_bytes = float(np.median(chunk_bytes))
    return {
        "height_px": size_px[0],
        "width_px": size_px[1],
        "chunk_bytes": int(size_bytes),
        **medians,
        "overhead_ms_p25": round(float(p25), 3),
        "overhead_ms_p75": round(float(p75), 3),
        "mb_per_s": round(size_bytes / medians["transport_ms"] / 1e3, 1),
    }


def _coded(chunk: Chunk) -> CodedFrames:
    """A chunk as the robot sends it, but not scaled down to what the model looks at."""
    pictures = images.encode([frame.rgb for frame in chunk.frames], wire.Picture.JPEG, _QUALITY, None)
    return CodedFrames(tuple(pictures), *chunk.frames[0].size_px, encode_ms=0.0)


def _counted(result: ChunkResult) -> float:
    """The time of a step that went into pictures and the model, wherever they are."""
    return sum(result.stage_ms[stage] for stage in _STAGES)
