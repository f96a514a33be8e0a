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

"""What a robot asks of a server beside chunks. All of it may be asked twice: after a Welcome it is."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
import math

from svlm_core.errors import ConfigError, LinkError, QueryError, SvlmError
from svlm_core.offload import wire
from svlm_core.offload.refusal import in_words
from svlm_core.offload.wire import Code

BUSY_RETRY_S = 0.05  # where a server that is busy does not say when to come again

_KINDS: dict[Code, type[SvlmError]] = {Code.QUERY: QueryError, Code.CONFIG: ConfigError}
_UNTIL_WELCOME = frozenset({Code.EPOCH, Code.SESSION, Code.INTERNAL, Code.ENDING, Code.FULL})


@dataclass(eq=False)
class _Request:
    message: wire.Message
    done: Future[wire.Done]
    sent: bool = False
    not_before_s: float = 0.0


class Requests:
    """Requests without an answer, by their numbers."""

    def __init__(self) -> None:
        self._open: dict[int, _Request] = {}
        self._next = 0

    def ask(self, make: Callable[[int], wire.Message], done: Future[wire.Done]) -> int:
        """Send a request when it is due; cancel `done` to let it be.

        Args:
            make: its number -> the message.
            done: takes the answer, or the error that a stream in this process would raise.

        Returns:
            Its number.
        """
        number, self._next = self._next, self._next + 1
        self._open[number] = _Request(make(number), done)
        return number

    def pending(self, kind: type[wire.Message]) -> bool:
        """Whether one of that kind is not answered."""
        return any(isinstance(request.message, kind) for request in self._open.values())

    def due(self, now_s: float) -> list[wire.Message]:
        """What is to be sent now."""
        self._open = {n: request for n, request in self._open.items() if not request.done.cancelled()}
        due = [r for r in self._open.values() if not r.sent and now_s >= r.not_before_s]
        for request in due:
            request.sent = True
        return [request.message for request in due]

    @property
    def next_s(self) -> float:
        """When `due` has something to send, on a link that is live."""
        return min((r.not_before_s for r in self._open.values() if not r.sent), default=math.inf)

    def welcomed(self) -> None:
        """The server may know nothing of them any more."""
        for request in self._open.values():
            request.sent, request.not_before_s = False, 0.0

    def answered(self, done: wire.Done) -> None:
        """One was carried out."""
        request = self._open.pop(done.id, None)
        if request is not None and request.done.set_running_or_notify_cancel():
            request.done.set_result(done)

    def refused(self, number: int, error: wire.Error, now_s: float) -> None:
        """One was not; those that the server cannot see to now are asked again."""
        request = self._open.get(number)
        if request is None or error.code in _UNTIL_WELCOME:
            return
        if error.code is Code.RATE:
            request.sent, request.not_before_s = False, now_s + (error.retry_s or BUSY_RETRY_S)
            return
        self._fail(number, _KINDS.get(error.code, LinkError)(in_words(error)))

    def close(self, error: SvlmError) -> None:
        """Fail all."""
        for number in list(self._open):
            self._fail(number, error)

    def _fail(self, number: int, error: SvlmError) -> None:
        done = self._open.pop(number).done
        if done.set_running_or_notify_cancel():
            done.set_exception(error)
