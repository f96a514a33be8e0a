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

"""Several sources at once, each with a stream of its own on one engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
import queue
import threading

from svlm_core.errors import SvlmError
from svlm_core.stream.run import Step, StreamRun


class ParallelRuns:
    """Iterates over what several runs give, in the order in which it happens.

    A recorded source goes no further ahead than one chunk that nobody has taken. A source that breaks, or a
    stream that fails, ends alone.

    Attributes:
        errors: number of the run -> why it ended early.
    """

    def __init__(self, runs: Sequence[StreamRun], ended: Callable[[int], None] = lambda number: None) -> None:
        """Prepare; nothing is read before the iteration begins.

        Args:
            runs: each with a source and a stream of its own.
            ended: called with the number of a run that has ended, so that no batch waits for it.
        """
        self.errors: dict[int, SvlmError] = {}
        self._runs, self._ended = runs, ended
        self._steps: queue.Queue[tuple[int, Step | BaseException | None]] = queue.Queue(len(runs))

    def __iter__(self) -> Iterator[tuple[int, Step]]:
        """Run all; yields (number of the run, its step) until every source has ended."""
        threads = [
            threading.Thread(target=self._follow, args=(number, run), name=f"svlm-run-{number}", daemon=True)
            for number, run in enumerate(self._runs)
        ]
        for thread in threads:
            thread.start()
        going = len(threads)
        while going:
            number, step = self._steps.get()
            if isinstance(step, SvlmError):
                self.errors[number] = step
            elif isinstance(step, BaseException):
                raise step
            elif step is not None:
                yield number, step
                continue
            self._ended(number)
            going -= 1

    def _follow(self, number: int, run: StreamRun) -> None:
        try:
            for step in run:
                self._steps.put((number, step))
            self._steps.put((number, None))
        except BaseException as error:  # handed to the thread that iterates
            self._steps.put((number, error))
