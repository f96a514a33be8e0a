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

"""A client of any endpoint that speaks chat completions: cached, paced, never endless."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from email.utils import parsedate_to_datetime
import http.client
import json
import threading
import time
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import build_opener, HTTPRedirectHandler, Request

from svlm_core.chat.endpoint import Endpoint
from svlm_core.chat.pace import Pace
from svlm_core.chat.reply import (
    Answer,
    answer,
    BROKEN,
    message,
    NoReplyError,
    Reply,
    shown,
    TIMED_OUT,
    UnreadableError,
)
from svlm_core.chat.reply_cache import ReplyCache
from svlm_core.errors import EndpointError

Message = dict[str, Any]

_RETRIED = (408, 409, 425, 429, 500, 502, 503, 504)
_WRONG_SETUP = (401, 402, 403, 404, 405)  # no item will fare better: the run ends
_LONGEST_WAIT_S = 60.0
_MAX_REPLY_BYTES = 4 << 20


class ChatClient:
    """Asks an endpoint; replies are kept on disk, so no question is paid for twice. Threads may share it."""

    def __init__(
        self, endpoint: Endpoint, cache: ReplyCache, sleep: Callable[[float], object] | None = None
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            endpoint: whom to ask.
            cache: keeps the replies.
            sleep: waits so many seconds; not given: that long or until `stop`.
        """
        self.endpoint = endpoint
        self._cache = cache
        self._stopped, self._reason = threading.Event(), ""
        self._sleep = sleep or self._stopped.wait
        self._pace = Pace(endpoint.requests_per_s, self._sleep)
        self._opener = build_opener(_NoRedirect)

    def ask(self, messages: Sequence[Message], read: Callable[[str], Answer]) -> Answer:
        """What `read` makes of the reply.

        Args:
            messages: the conversation.
            read: makes of the reply's words what is wanted of them; a reply that it refuses with ValueError
                is not kept, so that it can be asked for again.

        Raises:
            UnreadableError: the reply is of no use.
            NoReplyError: this request came to nothing.
            EndpointError: no request can come to anything: wrong key, wrong model, nobody there.
            ConfigError: the cache cannot be written.
        """
        endpoint = self.endpoint
        body = {"model": endpoint.model, "messages": list(messages), "temperature": 0}
        if endpoint.seed is not None:
            body["seed"] = endpoint.seed
        if endpoint.max_tokens is not None:
            body["max_tokens"] = endpoint.max_tokens
        key = self._cache.key(endpoint.url, body)
        kept = self._cache.get(key)
        if kept is not None:
            with suppress(UnreadableError):  # it was written by another version, or by hand
                return answer(kept, read)
        reply = self._request(body)
        found = answer(reply, read)
        self._cache.put(key, reply)
        return found

    def stop(self, reason: str) -> None:
        """Send nothing more: whoever waits or asks from now on gets EndpointError with the reason."""
        self._reason = self._reason or reason
        self._stopped.set()

    def _request(self, body: dict[str, Any]) -> Reply:
        """Attempts until one succeeds, with longer and longer waits between them."""
        url, attempts = self.endpoint.url, self.endpoint.attempts
        reason, wait_s, nobody = "", 0.0, False
        for attempt in range(attempts):
            if attempt:
                self._sleep(min(wait_s, _LONGEST_WAIT_S))
            wait_s = 2.0**attempt
            self._pace.wait()
            if self._stopped.is_set():
                raise EndpointError(self._reason)
            nobody = False
            try:
                return self._once(body)
            except HTTPError as error:
                said = _said(error)
                if error.code in _WRONG_SETUP:
                    self.stop(f"{url} answers {error.code}: {said}")
                    raise EndpointError(self._reason) from None
                reason = f"{BROKEN}: {error.code} {said}"
                if error.code not in _RETRIED:
                    raise NoReplyError(reason) from None
                wait_s = max(wait_s, _retry_after_s(error.headers.get("Retry-After", "")))
            except (http.client.HTTPException, OSError) as error:
                cause = error.reason if isinstance(error, URLError) else error
                nobody = isinstance(error, URLError) and not isinstance(cause, TimeoutError)
                if isinstance(cause, TimeoutError):
                    reason = f"{TIMED_OUT} after {self.endpoint.timeout_s:g} s"
                elif nobody:
                    reason = f"nobody answers: {cause}"
                else:
                    reason = f"{BROKEN}: {type(cause).__name__} {cause}".rstrip()
            except (ValueError, RecursionError) as error:
                reason = f"{BROKEN}: {error}"
        if nobody:
            self.stop(f"{url}: {reason}; what was done is kept, run the command again")
            raise EndpointError(self._reason)
        raise NoReplyError(f"{reason} ({attempts} attempts)")

    def _once(self, body: dict[str, Any]) -> Reply:
        headers = {"Content-Type": "application/json", "User-Agent": "svlm"}
        if self.endpoint.key:
            headers["Authorization"] = f"Bearer {self.endpoint.key}"
        url = self.endpoint.url.rstrip("/") + "/chat/completions"
        request = Request(url, json.dumps(body).encode(), headers, method="POST")
        with self._opener.open(request, timeout=self.endpoint.timeout_s) as response:
            data = response.read(_MAX_REPLY_BYTES + 1)
        if len(data) > _MAX_REPLY_BYTES:
            raise ValueError(f"more than {_MAX_REPLY_BYTES} bytes")
        reply: Reply = json.loads(data)
        message(reply)
        return reply


class _NoRedirect(HTTPRedirectHandler):
    """A redirect would carry the key to another host."""

    def redirect_request(self, *_: Any) -> None:
        """Follow none; the 3xx becomes an HTTPError."""


def _said(error: HTTPError) -> str:
    """What a server gives as the reason, "" if it does not finish."""
    with error:
        try:
            return shown(error.read(_MAX_REPLY_BYTES).decode(errors="replace"))
        except (http.client.HTTPException, OSError):
            return ""


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
