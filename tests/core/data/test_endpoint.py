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

"""Asking a real local server: cached, paced, bounded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
import socket
from typing import Any

from chat_server import ChatServer, Reply
import pytest
from svlm_core.data.endpoint import Endpoint, EndpointSettings, KEY_VARIABLE, Pace
from svlm_core.errors import ConfigError, EndpointError

Chat = Callable[[Reply], ChatServer]


def upper(body: dict[str, Any], number: int) -> tuple[int, str]:
    return 200, body["messages"][1]["content"].upper()


def endpoint(url: str, tmp_path: Path, waits: list[float] | None = None, **changes: Any) -> Endpoint:
    """One that does not really wait."""
    settings = EndpointSettings(url, "judge", **{"requests_per_minute": 1e6, **changes})
    pauses = waits if waits is not None else []
    return Endpoint(settings, tmp_path / "answers", sleep=pauses.append)


def ask(asked: Endpoint, *questions: str, understand: Callable[[str, str], Any] | None = None) -> list[Any]:
    done: list[int] = []
    results = asked.ask_all(
        "be brief", list(questions), understand or (lambda question, answer: answer), done.append
    )
    assert len(done) == len(questions)
    return results


def test_answers_come_in_order_and_follow_the_protocol(
    chat: Chat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "secret")
    server = chat(upper)
    questions = [f"question {n}" for n in range(30)]
    assert ask(endpoint(server.url, tmp_path), *questions) == [q.upper() for q in questions]
    body = server.requests[0]
    assert body["model"] == "judge"
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert set(server.keys) == {"Bearer secret"}


def test_nothing_is_asked_twice(chat: Chat, tmp_path: Path) -> None:
    server = chat(upper)
    ask(endpoint(server.url, tmp_path), "one", "two")
    assert ask(endpoint(server.url, tmp_path), "one", "two", "three") == ["ONE", "TWO", "THREE"]
    assert len(server.requests) == 3
    assert ask(endpoint("http://127.0.0.1:9/v1", tmp_path), "one") == ["ONE"]  # not even a connection


def test_what_may_pass_is_waited_out_longer_each_time(chat: Chat, tmp_path: Path) -> None:
    server = chat(lambda body, number: (503, b"busy") if number < 3 else (200, "now"))
    waits: list[float] = []
    assert ask(endpoint(server.url, tmp_path, waits), "x") == ["now"]
    assert [wait for wait in waits if wait >= 1] == [1.0, 2.0, 4.0]


def test_the_servers_own_pause_is_kept_within_reason(chat: Chat, tmp_path: Path) -> None:
    server = chat(lambda body, number: (429, b"") if number < 1 else (200, "now"))
    server.headers = {"Retry-After": "17"}
    waits: list[float] = []
    ask(endpoint(server.url, tmp_path, waits), "x")
    server.requests.clear()
    server.headers = {"Retry-After": "86400"}
    ask(endpoint(server.url, tmp_path, waits), "y")
    assert [wait for wait in waits if wait >= 1] == [17.0, 60.0]


def test_a_server_that_never_recovers_is_given_up(chat: Chat, tmp_path: Path) -> None:
    server = chat(lambda body, number: (500, b"broken"))
    with pytest.raises(EndpointError, match=r"no answer after 3 attempts \(HTTP 500"):
        ask(endpoint(server.url, tmp_path, attempts=3, parallel=1), "x", "y", "z")
    assert len(server.requests) == 3  # the other questions were not even tried


def test_a_refusal_is_final_and_says_why(chat: Chat, tmp_path: Path) -> None:
    server = chat(lambda body, number: (401, b'{"error": "bad key"}'))
    with pytest.raises(EndpointError, match=r"refused: HTTP 401 .*bad key"):
        ask(endpoint(server.url, tmp_path, parallel=1), "x", "y")
    assert len(server.requests) == 1


def test_the_key_does_not_follow_a_redirect(chat: Chat, tmp_path: Path) -> None:
    other = chat(upper)
    server = chat(lambda body, number: (302, b""))
    server.headers = {"Location": f"{other.url}/chat/completions"}
    with pytest.raises(EndpointError, match="HTTP 302"):
        ask(endpoint(server.url, tmp_path), "x")
    assert not other.requests


@pytest.mark.parametrize("body", [b"not json", b"{}", b'{"choices": []}', b"[" * 100_000])
def test_an_answer_that_is_no_completion_is_asked_again_and_given_up(
    chat: Chat, tmp_path: Path, body: bytes
) -> None:
    server = chat(lambda request, number: (200, body))
    with pytest.raises(EndpointError, match="no answer after 2 attempts"):
        ask(endpoint(server.url, tmp_path, attempts=2), "x")
    assert len(server.requests) == 2


def test_words_that_make_no_sense_are_asked_again_then_none(chat: Chat, tmp_path: Path) -> None:
    server = chat(lambda body, number: (200, "7" if number == 1 else "what?"))

    def understand(question: str, answer: str) -> int:
        return int(answer)

    asked = endpoint(server.url, tmp_path, attempts=2, parallel=1)
    assert ask(asked, "x", "y", understand=understand) == [7, None]
    assert len(server.requests) == 4


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with pytest.raises(EndpointError, match=r"no answer after 2 attempts \(.*[Rr]efused"):
            ask(endpoint(url, tmp_path, attempts=2), "x")


def test_the_pace_is_kept() -> None:
    now_s, waits = [100.0], []

    def sleep(wait_s: float) -> None:
        waits.append(wait_s)
        now_s[0] += wait_s

    pace = Pace(120.0, lambda: now_s[0], sleep)
    for _ in range(4):
        pace.wait()
    assert waits == [0.5, 0.5, 0.5]
    now_s[0] += 60.0  # a long pause is no credit for a burst
    pace.wait()
    pace.wait()
    assert waits == [0.5] * 4


@pytest.mark.parametrize("url", ["file:///etc/passwd", "localhost:8000", "ftp://host/v1", "http://"])
def test_only_http_is_asked(url: str) -> None:
    with pytest.raises(ConfigError, match="the endpoint must be http"):
        EndpointSettings(url, "judge")
