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

"""Many questions at once, against a real HTTP server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from chat_server import chat_server, ChatServer, completion
import pytest
from svlm_core.chat.batch import ask_all
from svlm_core.chat.client import ChatClient
from svlm_core.chat.endpoint import Endpoint
from svlm_core.chat.reply_cache import ReplyCache
from svlm_core.errors import EndpointError


def upper(body: dict[str, Any]) -> str:
    return body["messages"][1]["content"].upper()


def ask(
    server: ChatServer,
    folder: Path,
    *questions: str,
    understand: Callable[[str, str], Any] = lambda question, words: words,
) -> list[Any]:
    client = ChatClient(Endpoint(server.url, "judge", requests_per_s=0, attempts=2), ReplyCache(folder))
    done: list[int] = []
    results = ask_all(client, "be brief", questions, understand, done.append)
    assert len(done) == len(questions)
    return results


def test_answers_come_in_order_and_once(tmp_path: Path) -> None:
    questions = [f"question {n}" for n in range(30)]
    with chat_server(upper) as server:
        for asked in (questions[:20], questions):
            assert ask(server, tmp_path, *asked) == [question.upper() for question in asked]
        assert len(server.bodies) == 30
    assert [message["role"] for message in server.bodies[0]["messages"]] == ["system", "user"]


def test_answers_that_make_no_sense_are_asked_for_again_then_none(tmp_path: Path) -> None:
    first: dict[str, int] = {}

    def reply(body: dict[str, Any]) -> Any:
        question = body["messages"][1]["content"]
        first[question] = first.get(question, 0) + 1
        if question == "refused":
            return 200, completion(None, refusal="no")
        return "7" if question == "hasty" and first[question] == 2 else "what?"

    with chat_server(reply) as server:
        found = ask(
            server, tmp_path, "hasty", "dull", "refused", understand=lambda question, words: int(words)
        )
        assert found == [7, None, None] and len(server.bodies) == 6


@pytest.mark.parametrize(("code", "attempts"), [(401, 1), (400, 1), (503, 2)])
def test_a_server_that_refuses_ends_it_and_says_why(code: int, attempts: int, tmp_path: Path) -> None:
    with chat_server(lambda body: (code, {"error": "because"})) as server:
        with pytest.raises(EndpointError, match=f"{code}.*because"):
            ask(server, tmp_path, *map(str, range(100)))
        assert len(server.bodies) <= 8 * attempts, "the others were not even tried"
