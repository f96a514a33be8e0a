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

"""A client of any server that speaks the chat completions protocol: cached, paced, never endless."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.message import Message
import hashlib
import http.client
import json
import os
from pathlib import Path
import threading
import time
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import build_opener, HTTPRedirectHandler, Request

from svlm_core.errors import ConfigError, EndpointError

KEY_VARIABLE = "OPENAI_API_KEY"
_ATTEMPTS = 5
_TIMEOUT_S = 120.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_MAX_ANSWER_BYTES = 1 << 20
_TRY_AGAIN = (408, 409, 425, 429, 500, 502, 503, 504)


class _NoRedirect(HTTPRedirectHandler):
    """Refuses to go elsewhere: the key is for one server."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Not followed."""


@dataclass(frozen=True)
class EndpointSettings:
    """Where and whom to ask.

    Attributes:
        url: base of the server's API, for example http://localhost:8000/v1.
        model: name of the model there.
        requests_per_minute: at most so many are sent.
        parallel: requests under way at once.
        attempts: how often one question is asked before it is given up.
    """

    url: str
    model: str
    requests_per_minute: float = 600.0
    parallel: int = 8
    attempts: int = _ATTEMPTS

    def __post_init__(self) -> None:
        """Raise ConfigError that names the field."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"the endpoint must be http://HOST/v1 or https://HOST/v1, got {self.url!r}")
        for name in ("requests_per_minute", "parallel", "attempts"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be above 0, got {getattr(self, name)}")


class Pace:
    """Lets threads through at a steady rate."""

    def __init__(
        self, per_minute: float, clock: Callable[[], float], sleep: Callable[[float], object]
    ) -> None:
        """Start now.

        Args:
            per_minute: how many may pass.
            clock: seconds that never go back.
            sleep: waits for that many.
        """
        self._period_s, self._clock, self._sleep = 60.0 / per_minute, clock, sleep
        self._lock = threading.Lock()
        self._next_s = clock()

    def wait(self) -> None:
        """Return when it is this thread's turn."""
        with self._lock:
            now_s = self._clock()
            turn_s = max(now_s, self._next_s)
            self._next_s = turn_s + self._period_s
        if turn_s > now_s:
            self._sleep(turn_s - now_s)


class Endpoint:
    """Asks, and remembers the answers on disk by the hash of what was asked.

    Attributes:
        asked: requests sent so far, all attempts counted.
    """

    def __init__(
        self,
        settings: EndpointSettings,
        cache: Path,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            settings: where and whom to ask.
            cache: folder of the answers; made if it is not there.
            clock: seconds that never go back.
            sleep: waits for that many; not given: until then or until all is to end.
        """
        self._settings, self._cache = settings, cache
        self._ended = threading.Event()
        self._sleep = sleep or self._ended.wait
        self._pace = Pace(settings.requests_per_minute, clock, self._sleep)
        self._lock = threading.Lock()
        self._opener = build_opener(_NoRedirect)
        self.asked = 0
        try:
            cache.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{cache}: cannot be made ({error.strerror})") from error

    def ask_all(
        self,
        system: str,
        questions: list[str],
        understand: Callable[[str, str], Any],
        progress: Callable[[int], object],
    ) -> list[Any]:
        """Ask all, several at once; the results in order, as `understand` gives them.

        Args:
            system: what the model is told before each question.
            questions: what it is asked.
            understand: (question, answer) -> a result; ValueError when the answer makes no sense: it is asked
                again, as often as `attempts` allows.
            progress: called with the number of questions done.

        Returns:
            A result for each; None where no answer made sense.

        Raises:
            EndpointError: the server refuses, or cannot be reached.
        """

        def work(question: str) -> Any:
            try:
                return self._ask(system, question, understand)
            except EndpointError:
                self._ended.set()  # what fails for one fails for all: the others are not even tried
                raise

        results = []
        pool = ThreadPoolExecutor(self._settings.parallel)
        try:
            for result in pool.map(work, questions):
                results.append(result)
                progress(1)
        except BaseException:
            self._ended.set()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
        return results

    def _ask(self, system: str, question: str, understand: Callable[[str, str], Any]) -> Any:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": question}]
        body = {"model": self._settings.model, "messages": messages, "temperature": 0}
        encoded = json.dumps(body, sort_keys=True).encode()
        file = self._cache / f"{hashlib.sha256(encoded).hexdigest()}.json"
        if file.exists():
            return understand(question, json.loads(file.read_text(encoding="utf-8"))["answer"])
        for _ in range(self._settings.attempts):
            answer = self._send(encoded)
            try:
                result = understand(question, answer)
            except ValueError:
                continue
            partial = file.with_suffix(f".{threading.get_ident()}.partial")
            partial.write_text(json.dumps({"question": question, "answer": answer}), encoding="utf-8")
            partial.replace(file)
            return result
        return None

    def _send(self, body: bytes) -> str:
        """One answer; trouble that may pass is waited out, longer each time."""
        url = f"{self._settings.url.rstrip('/')}/chat/completions"
        headers = {"Content-Type": "application/json", "User-Agent": "svlm"}
        key = os.environ.get(KEY_VARIABLE)
        if key:
            headers["Authorization"] = f"Bearer {key}"
        reason = ""
        for attempt in range(self._settings.attempts):
            pause_s = min(_FIRST_PAUSE_S * 2**attempt, _LONGEST_PAUSE_S)
            self._pace.wait()
            if self._ended.is_set():
                raise EndpointError(f"{url}: not asked any more")
            with self._lock:
                self.asked += 1
            try:
                with self._opener.open(Request(url, body, headers), timeout=_TIMEOUT_S) as response:
                    return _content(response.read(_MAX_ANSWER_BYTES))
            except HTTPError as error:
                reason = f"HTTP {error.code} {error.reason}"
                if error.code not in _TRY_AGAIN:
                    said = " ".join(error.read(400).decode("utf-8", "replace").split())
                    raise EndpointError(f"{url} refused: {reason}: {said}") from None
                pause_s = _retry_after_s(error.headers, pause_s)
            except (URLError, OSError, http.client.HTTPException, ValueError) as error:
                reason = str(getattr(error, "reason", None) or error or type(error).__name__)
            if attempt + 1 < self._settings.attempts:
                self._sleep(pause_s)
        raise EndpointError(f"{url}: no answer after {self._settings.attempts} attempts ({reason})")


def _content(data: bytes) -> str:
    """The words in a completion; ValueError when it has none."""
    try:
        content = json.loads(data)["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError, RecursionError) as error:
        raise ValueError("the answer is not a chat completion") from error
    if not isinstance(content, str):
        raise ValueError("the answer has no words")
    return content


def _retry_after_s(headers: Message, otherwise_s: float) -> float:
    """What the server asks for, within reason."""
    try:
        return min(max(0.0, float(headers.get("Retry-After", ""))), _LONGEST_PAUSE_S)
    except ValueError:
        return otherwise_s
