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

from concurrent.futures import Future

import numpy as np
from svlm_core.config import StreamConfig
from svlm_core.frames import Chunk, Frame
from svlm_core.offload.vitals import PROBE_EVERY_S
from svlm_core.stream.engine import Engine
from svlm_core.stream.result import ChunkResult

_SIDE_PX = 56
_SETTINGS = {
    **{"policy": "last-frames", "min_visual_tokens": 1, "max_visual_tokens": 16, "max_new_tokens": 1},
    **{
        "prompt": "",
        "previous_text": "",
        "text_sink_tokens": 0,
        "text_window_tokens": 0,
        "max_query_tokens": 0,
    },
}


class Probe:
    """One dark picture, one token."""

    def __init__(self, engine: Engine, config: StreamConfig) -> None:
        """Open the stream.

        Args:
            engine: the one to probe.
            config: what its streams begin with.
        """
        self._engine = engine
        self._stream = engine.open(config.replace(_SETTINGS, "the probe"))
        self._stream.pause()  # so that no batch waits for it
        self._running: Future[ChunkResult] | None = None

    def look(self) -> None:
        """Begin a step if there was none for PROBE_EVERY_S, and none is under way; does not wait for it.

        Raises:
            Exception: what the last one failed with.
        """
        if self._running is not None:
            if not self._running.done():
                return
            self._stream.pause()
            done, self._running = self._running, None
            done.result()
        if self._engine.health().since_step_s >= PROBE_EVERY_S:
            self._stream.reset()
            picture = Frame(0, np.zeros((_SIDE_PX, _SIDE_PX, 3), np.uint8), "the probe")
            self._stream.resume()
            self._running = self._stream.submit(Chunk(0, (picture,)))
