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

"""Shows that an engine still decodes when no robot asks for anything."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

import numpy as np
from svlm_core.config import StreamConfig
from svlm_core.frames import Chunk, Frame
from svlm_core.stream.engine import Engine
from svlm_core.stream.result import ChunkResult

_SIDE_PX = 64
_SETTINGS = {  # as little as goes through every part: vision, prefill, decode steps
    "policy": "last-frames",
    "text_sink_tokens": 0,
    "text_window_tokens": 0,
    "prompt": "",
    "previous_text": "",
    "max_query_tokens": 0,
    "max_new_tokens": 2,
}


class Probe:
    """A stream of the server's own, whose chunks are one grey picture.

    It is paused but for its own chunks, so that robots' batches never wait for it.
    """

    def __init__(self, engine: Engine, config: StreamConfig) -> None:
        """Join the engine; `config` is the server's."""
        self._config = config.replace(_SETTINGS, "the probe")
        self._stream = engine.open(self._config)
        self._stream.pause()
        self._index = 0
        self._running: Future[ChunkResult] | None = None
        self._picture = np.full((_SIDE_PX, _SIDE_PX, 3), 128, np.uint8)

    def step(self, done: Callable[[Future[ChunkResult]], object]) -> None:
        """Begin a chunk, unless the last one is in work still.

        Args:
            done: called with the outcome, in a thread of the engine.
        """
        if self._running is not None and not self._running.done():
            return
        stamp_ns = round(self._index * self._config.chunk_s * 1e9)
        chunk = Chunk(self._index, (Frame(stamp_ns, self._picture, "the probe"),))
        self._index += 1
        self._stream.resume()
        self._running = self._stream.submit(chunk)
        self._running.add_done_callback(lambda _: self._stream.pause())
        self._running.add_done_callback(done)
