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

"""The chat client against a real HTTP server: cache, retries, patience, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chat_server import chat_server, completion, Reply
import pytest
from svlm_core.chat.client import ChatClient
from svlm_core.chat.endpoint import Endpoint
from svlm_core.chat.reply import NoReplyError, UnreadableError
from svlm_core.chat.reply_cache import ReplyCache
from svlm_core.errors import ConfigError, EndpointError

HELLO = [{"role": "user", "content": "hello"}]


def make(url: str, folder: Path, waited: list[float] | None = None, **fields: Any) -> ChatClient:
    sleep = (waited if waited is not None else []).append
    endpoint = Endpoint(url, "judge", **{"requests_per_s": 0, "timeout_s": 0.3, **fields})
    return ChatClient(endpoint, ReplyCache(folder), sleep)


def outcome(reply: Reply, folder: Path, **fields: Any) -> tuple[str, int]:
    with chat_server(reply) as server:
        try:
            said = make(server.url, folder, **fields).ask(HELLO, str)
        except NoReplyError as error:
            said = str(error)
        return said, len(server.bodies)


def test_a_reply_is_paid_for_once(tmp_path: Path) -> None:
    with chat_server(lambda body: "A") as server:
        assert [make(server.url, tmp_path).ask(HELLO, str) for _ in range(3)] == ["A"] * 3
        assert len(server.bodies) == 1
        assert server.bodies[0] == {
            "model": "judge",
            "messages": HELLO,
            "temperature": 0,
        }
        make(server.url, tmp_path, seed=1, max_tokens=16).ask(HELLO, str)
        assert len(server.bodies) == 2, "another seed is another question"
        assert (server.bodies[1]["seed"], server.bodies[1]["max_tokens"]) == (1, 16)


def test_the_key_is_sent_and_kept_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "s3cret")
    with chat_server(lambda body: "A") as server:
        client = make(server.url, tmp_path)
        client.ask(HELLO, str)
        assert server.headers[0]["Authorization"] == "Bearer s3cret"
    assert "s3cret" not in repr(client.endpoint)
    assert not any(b"s3cret" in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    with pytest.raises(ConfigError, match="in the clear"):
        Endpoint("http://example.org/v1", "judge")


def test_what_passes_is_tried_again(tmp_path: Path) -> None:
    later = [(429, {"_headers": {"Retry-After": pause}}) for pause in ("7", "86400", "soon")]
    replies = iter([(500, {}), *later, "B"])
    waited: list[float] = []
    with chat_server(lambda body: next(replies)) as server:
        assert make(server.url, tmp_path, waited, attempts=5).ask(HELLO, str) == "B"
    assert waited == [1.0, 7.0, 60.0, 8.0]


def test_attempts_are_bounded(tmp_path: Path) -> None:
    said, asked = outcome(lambda body: (503, {"error": "busy"}), tmp_path, attempts=3)
    assert asked == 3
    assert said.startswith("broken reply: 503") and "3 attempts" in said


def test_a_time_out_is_told_as_one(tmp_path: Path) -> None:
    said, asked = outcome(lambda body: None, tmp_path, attempts=2)
    assert said.startswith("timed out after 0.3 s") and asked == 2


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ((200, completion(None, refusal="I will not")), "refused: I will not"),
        ((200, completion(None)), "broken reply: its content is NoneType"),
        ((400, {"error": "too long"}), "broken reply: 400"),
    ],
)
def test_what_is_no_reply_is_not_kept(reply: Any, reason: str, tmp_path: Path) -> None:
    said, asked = outcome(lambda body: reply, tmp_path)
    assert said.startswith(reason) and asked == 1
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("body", [b"not json", b"[1]", b'{"choices": []}', b"[" * 100_000])
def test_what_is_no_completion_is_tried_again(body: bytes, tmp_path: Path) -> None:
    said, asked = outcome(lambda _: (200, body), tmp_path, attempts=2)
    assert said.startswith("broken reply: ") and asked == 2


def test_the_key_does_not_follow_a_redirect(tmp_path: Path) -> None:
    with chat_server(lambda body: "A") as other:
        location = {"_headers": {"Location": f"{other.url}/chat/completions"}}
        said, _ = outcome(lambda body: (302, location), tmp_path)
        assert said.startswith("broken reply: 302") and not other.bodies


@pytest.mark.parametrize("code", [401, 404])
def test_a_wrong_key_or_model_ends_the_run(code: int, tmp_path: Path) -> None:
    with chat_server(lambda body: (code, {"error": "no"})) as server:
        client = make(server.url, tmp_path)
        with pytest.raises(EndpointError, match=str(code)):
            client.ask(HELLO, str)
        assert len(server.bodies) == 1
        client.stop("another reason")
        with pytest.raises(EndpointError, match=str(code)):
            client.ask(HELLO, str)
        assert len(server.bodies) == 1, "nothing more is sent"


def test_nobody_there_ends_the_run(tmp_path: Path) -> None:
    with chat_server(lambda body: "A") as server:
        url = server.url
    with pytest.raises(EndpointError, match="nobody answers"):
        make(url, tmp_path).ask(HELLO, str)


def test_a_damaged_cache_file_is_asked_for_again(tmp_path: Path) -> None:
    with chat_server(lambda body: "A") as server:
        make(server.url, tmp_path).ask(HELLO, str)
        (file,) = tmp_path.rglob("*.json")
        file.write_text('{"choi')
        assert make(server.url, tmp_path).ask(HELLO, str) == "A"
        assert len(server.bodies) == 2


def test_what_cannot_be_read_is_not_kept(tmp_path: Path) -> None:
    with chat_server(lambda body: str(len(server.bodies))) as server:
        client = make(server.url, tmp_path)
        with pytest.raises(UnreadableError, match="could not convert|invalid literal"):
            client.ask(HELLO, lambda words: int(words + "?"))
        assert client.ask(HELLO, int) == 2
        assert (
            client.ask(HELLO, lambda words: {"3": "read otherwise"}.get(words) or int("x"))
            == "read otherwise"
        )


def test_one_who_waits_is_let_go(tmp_path: Path) -> None:
    with chat_server(lambda body: client.stop("enough") or (503, {})) as server:
        client = ChatClient(Endpoint(server.url, "judge", attempts=9), ReplyCache(tmp_path))
        with pytest.raises(EndpointError, match="enough"):
            client.ask(HELLO, str)
        assert len(server.bodies) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "ftp://x"},
        {"url": "localhost:8000"},
        {"url": "http://"},
        {"model": ""},
        {"attempts": 0},
        {"timeout_s": 0},
    ],
)
def test_endpoints_that_cannot_be_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Endpoint(**{"url": "http://localhost/v1", "model": "judge", **fields})
