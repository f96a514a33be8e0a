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

"""The synthetic world as a source."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
import threading

from svlm_core.frames import Frame, NS_PER_S
from svlm_core.sources.source import Source
from svlm_core.world.render import Renderer
from svlm_core.world.scene import seconds, WORLD_FPS


class WorldSource(Source):
    """The pictures of one seed's world, as fast as they are asked for; wrap it in Paced for real time."""

    live = False

    def __init__(self, seed: int, seconds: int | None = None) -> None:
        """Choose the world.

        Args:
            seed: 0 or more; the same seed is the same world, pixel by pixel.
            seconds: how long it goes on; None for ever.
        """
        self.name = f"world://{seed}"
        self.fps = float(WORLD_FPS)
        self.frames_total: int | None = None if seconds is None else seconds * WORLD_FPS
        self._seed = seed
        self._seconds = seconds
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        """The pictures from second 0, stamped from 0."""
        renderer = Renderer(self._seed)
        number = 0
        for second in islice(seconds(self._seed), self._seconds):
            for rgb in renderer.frames(second):
                if self._closed.is_set():
                    return
                yield Frame(number * NS_PER_S // WORLD_FPS, rgb, self.name)
                number += 1

    def close(self) -> None:
        """End the iteration at its next frame."""
        self._closed.set()
