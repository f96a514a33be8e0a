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

"""A smallest stream that shows whether a device still understands anything, when no robot asks it to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
import logging

import numpy as np
from svlm_core.config import StreamConfig
from svlm_core.frames import Chunk, Frame
from svlm_core.offload.streams import is_out_of_memory
from svlm_core.offload.vitals import PROBE_EVERY_S
from svlm_core.stream.engine import Engine
from svlm_core.stream.result import ChunkResult

LOG = logging.getLogger(__name__)

_SIDE_PX = 56
_SETTINGS = {  # as little as goes through every part: vision, prefill, a decode step
    **{"policy": "last-frames", "min_visual_tokens": 1, "max_visual_tokens": 16, "max_new_tokens": 2},
    **{
        "prompt": "",
        "previous_text": "",
        "text_sink_tokens": 0,
        "text_window_tokens": 0,
        "max_query_tokens": 0,
    },
}


class Probe:
    """One dark picture, two tokens."""

    def __init__(self, engine: Engine, config: StreamConfig, decoded: Callable[[], object]) -> None:
        """Open the stream.

        Args:
            engine: the one to probe.
            config: what its streams begin with.
            decoded: called after each token, in the engine's thread.
        """
        self._engine, self._decoded = engine, decoded
        self._stream = engine.open(config.replace(_SETTINGS, "the probe"))
        self._stream.pause()  # so that no batch waits for it
        self._running: Future[ChunkResult] | None = None

    def look(self, since_decode_s: float | None) -> None:
        """Begin a step if nobody was given a token for PROBE_EVERY_S and nothing is in work; does not wait.

        Args:
            since_decode_s: since a token was decoded; None for never.

        Raises:
            Exception: what the last one failed with, but for want of memory, which may come back.
        """
        if self._running is not None:
            if not self._running.done():
                return
            done, self._running = self._running, None
            if (error := done.exception()) is not None:
                if not is_out_of_memory(error):
                    raise error
                LOG.warning("no memory for the probe: %s", error)
        due = since_decode_s is None or since_decode_s >= PROBE_EVERY_S
        if due and not self._engine.health().running:
            self._stream.reset()
            picture = Frame(0, np.zeros((_SIDE_PX, _SIDE_PX, 3), np.uint8), "the probe")
            self._stream.resume()
            self._running = self._stream.submit(Chunk(0, (picture,)), hear=self._hear)
            self._running.add_done_callback(lambda _: self._stream.pause())

    def _hear(self, token_ids: Sequence[int]) -> None:
        self._decoded()
