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

"""Questions from the topic `query` and from the service ~/describe, and who waits for their answers."""

from __future__ import annotations

from collections.abc import Sequence
import itertools
import json

from rclpy.node import Node
from rclpy.task import Future
from svlm_core.errors import QueryError
from svlm_core.events import CommentaryEvent, KIND_ANSWER
from svlm_core.stream.query import Query


def read_query(line: str) -> Query:
    """A question as it comes on the topic: plain text, or JSON {"id": "...", "text": "..."}.

    Raises:
        QueryError: it begins like JSON and is not that, or the question is empty or too long.
    """
    if not line.lstrip().startswith("{"):
        return Query(line)
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise QueryError(f"the question begins like JSON but is none ({error}): {line[:60]!r}") from None
    text, query_id = data.get("text"), data.get("id", "")
    if not isinstance(text, str) or not isinstance(query_id, (str, int)):
        raise QueryError(f'a question in JSON is {{"id": "...", "text": "..."}}, got {line[:60]!r}')
    return Query(text, str(query_id))


class Answers:
    """Futures of answers, by the question's id; the executor waits, any thread answers."""

    def __init__(self, node: Node) -> None:
        """Nobody waits yet."""
        self._wake = node.create_guard_condition(lambda: None)  # a future alone does not wake the executor
        self._node = node
        self._waiting: dict[str, Future[str | None]] = {}
        self._number = itertools.count()

    def new_id(self, prefix: str) -> str:
        """An id for a question of the node's own."""
        return f"{prefix}-{next(self._number)}"

    def wait_for(self, query_id: str) -> Future[str | None]:
        """A future for the answer's text; None when no answer will come."""
        future: Future[str | None] = Future()
        self._waiting[query_id] = future
        return future

    def hear(self, events: Sequence[CommentaryEvent]) -> None:
        """Hand answers to whoever waits for them."""
        for event in events:
            if event.kind == KIND_ANSWER:
                self._settle(event.query_id, event.text)

    def give_up(self, query_id: str) -> None:
        """Let the one who waits for this answer go."""
        self._settle(query_id, None)

    def close(self) -> None:
        """Let everyone go."""
        for query_id in list(self._waiting):
            self._settle(query_id, None)
        self._node.destroy_guard_condition(self._wake)

    def _settle(self, query_id: str, text: str | None) -> None:
        future = self._waiting.pop(query_id, None)
        if future is not None:
            future.set_result(text)
            self._wake.trigger()
