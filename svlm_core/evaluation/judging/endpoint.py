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

"""An OpenAI-compatible endpoint: chat completions over plain HTTP, with the standard library alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
import http.client
import json
import os
import time
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import build_opener, HTTPRedirectHandler, Request

from svlm_core.errors import ConfigError, EndpointError
from svlm_core.evaluation.judging.pace import Pace
from svlm_core.evaluation.judging.reply_cache import ReplyCache

Message = dict[str, Any]

TIMED_OUT, REFUSED, BROKEN = "timed out", "refused", "broken reply"  # why an item has no reply

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_RETRIED = (408, 409, 425, 429, 500, 502, 503, 504)
_WRONG_SETUP = (401, 402, 403, 404, 405)  # no item will fare better: the run ends
_LONGEST_WAIT_S = 60.0
_MAX_REPLY_BYTES = 4 << 20
_SHOWN = 200  # characters of a foreign message


class NoReplyError(Exception):
    """One request came to nothing; others may fare better.

    Attributes:
        reason: TIMED_OUT, REFUSED or BROKEN, with details.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Endpoint:
    """Where a model is asked, and how patiently.

    Attributes:
        url: up to and including the version, for example http://localhost:8000/v1.
        model: its name there.
        key_variable: environment variable with the key; no key is sent where it is not set.
        requests_per_s: most requests that begin in a second; 0 sets no limit.
        timeout_s: of one attempt.
        attempts: of one request, the first included.
        max_tokens: of a reply.
        seed: sent with each request; servers that know it repeat themselves.
    """

    url: str
    model: str
    key_variable: str = "OPENAI_API_KEY"
    requests_per_s: float = 4.0
    timeout_s: float = 60.0
    attempts: int = 4
    max_tokens: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise ConfigError that names the field."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                f"the endpoint's url must be http://HOST/v1 or https://HOST/v1, got {self.url!r}"
            )
        if not self.model:
            raise ConfigError("the endpoint's model must be named")
        if self.attempts < 1 or self.max_tokens < 1:
            raise ConfigError("the endpoint's attempts and max_tokens must be at least 1")
        if self.timeout_s <= 0 or self.requests_per_s < 0:
            raise ConfigError("the endpoint's timeout_s must be above 0, its requests_per_s not below 0")
        if self.key and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise ConfigError(
                f"{self.url}: the key in {self.key_variable} would travel in the clear: use https or unset it"
            )

    @property
    def key(self) -> str:
        """The key, "" without one; never written anywhere."""
        return os.environ.get(self.key_variable, "")


class ChatClient:
    """Asks an endpoint; replies are kept on disk, so no question is paid for twice. Threads may share it."""

    def __init__(
        self, endpoint: Endpoint, cache: ReplyCache, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.endpoint = endpoint
        self._cache, self._sleep = cache, sleep
        self._pace = Pace(endpoint.requests_per_s, sleep)
        self._opener = build_opener(_NoRedirect)

    def ask(self, messages: Sequence[Message], read: Callable[[str], str] = str) -> str:
        """What the reply says.

        Args:
            messages: the conversation.
            read: makes of the reply's words what is wanted of them; a reply that it refuses with NoReplyError
                is not kept, so that it can be asked for again.

        Raises:
            NoReplyError: this request came to nothing.
            EndpointError: no request can come to anything: wrong key, wrong model, nobody there.
        """
        endpoint = self.endpoint
        body = {
            "model": endpoint.model,
            "messages": list(messages),
            "temperature": 0,
            "seed": endpoint.seed,
            "max_tokens": endpoint.max_tokens,
        }
        key = self._cache.key(endpoint.url, body)
        reply = self._cache.get(key)
        if reply is not None:
            return read(_words(reply))
        reply = self._request(body)
        said = read(_words(reply))
        self._cache.put(key, reply)
        return said

    def _request(self, body: dict[str, Any]) -> dict[str, Any]:
        """Attempts until one succeeds, with longer and longer waits between them."""
        reason, wait_s = "", 0.0
        for attempt in range(self.endpoint.attempts):
            if attempt:
                self._sleep(min(wait_s, _LONGEST_WAIT_S))
            wait_s = 2.0**attempt
            self._pace.wait()
            try:
                return self._once(body)
            except HTTPError as error:
                with error:
                    said = error.read(_MAX_REPLY_BYTES).decode(errors="replace")
                said = " ".join(said.split())[:_SHOWN]
                if error.code in _WRONG_SETUP:
                    raise EndpointError(f"{self.endpoint.url} answers {error.code}: {said}") from None
                reason = f"{BROKEN}: {error.code} {said}"
                if error.code not in _RETRIED:
                    raise NoReplyError(reason) from None
                wait_s = max(wait_s, _retry_after_s(error.headers.get("Retry-After", "")))
            except (TimeoutError, URLError, http.client.HTTPException, OSError) as error:
                cause = error.reason if isinstance(error, URLError) else error
                if isinstance(cause, TimeoutError):
                    reason = f"{TIMED_OUT} after {self.endpoint.timeout_s:g} s"
                elif isinstance(error, URLError):
                    reason = f"nobody answers: {cause}"
                else:
                    reason = f"{BROKEN}: {type(cause).__name__} {cause}".rstrip()
            except ValueError as error:
                reason = f"{BROKEN}: {error}"
        if reason.startswith("nobody"):
            raise EndpointError(
                f"{self.endpoint.url}: {reason}; what was done is kept, run the command again"
            )
        raise NoReplyError(f"{reason} ({self.endpoint.attempts} attempts)")

    def _once(self, body: dict[str, Any]) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        if self.endpoint.key:
            headers["Authorization"] = f"Bearer {self.endpoint.key}"
        url = self.endpoint.url.rstrip("/") + "/chat/completions"
        request = Request(url, json.dumps(body).encode(), headers, method="POST")
        with self._opener.open(request, timeout=self.endpoint.timeout_s) as response:
            data = response.read(_MAX_REPLY_BYTES + 1)
        if len(data) > _MAX_REPLY_BYTES:
            raise ValueError(f"more than {_MAX_REPLY_BYTES} bytes")
        reply = json.loads(data)
        if not isinstance(reply, dict):
            raise ValueError("not a JSON object")
        return reply


class _NoRedirect(HTTPRedirectHandler):
    """A redirect would carry the key to another host."""

    def redirect_request(self, *_: Any) -> None:
        """Follow none; the 3xx becomes an HTTPError."""


def _words(reply: dict[str, Any]) -> str:
    """The text of a chat completion; NoReplyError says what stands in its place."""
    try:
        choice = reply["choices"][0]
        message = choice["message"]
        content, refusal = message.get("content"), message.get("refusal")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise NoReplyError(f"{BROKEN}: no choices[0].message in it") from None
    if refusal or choice.get("finish_reason") == "content_filter":
        raise NoReplyError(f"{REFUSED}: {' '.join(str(refusal or 'content filter').split())[:_SHOWN]}")
    if not isinstance(content, str):
        raise NoReplyError(f"{BROKEN}: its content is {type(content).__name__}, not text")
    return content


def _retry_after_s(header: str) -> float:
    """Seconds that a Retry-After header asks for, 0 when it asks for nothing."""
    try:
        return float(header)
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, TypeError):
        return 0.0
