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

"""An endpoint that speaks OpenAI's chat completions: where it is, and how patiently it is asked."""

from __future__ import annotations

from dataclasses import dataclass
import os
from urllib.parse import urlsplit

from svlm_core.errors import ConfigError

KEY_VARIABLE = "OPENAI_API_KEY"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


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
        max_tokens: of a reply; None leaves it to the server.
        seed: sent with each request if there is one; servers that know it repeat themselves.
    """

    url: str
    model: str
    key_variable: str = KEY_VARIABLE
    requests_per_s: float = 4.0
    timeout_s: float = 60.0
    attempts: int = 4
    max_tokens: int | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        """Raise ConfigError that names the field."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                f"the endpoint's url must be http://HOST/v1 or https://HOST/v1, got {self.url!r}"
            )
        if not self.model:
            raise ConfigError("the endpoint's model must be named")
        if self.attempts < 1 or (self.max_tokens is not None and self.max_tokens < 1):
            raise ConfigError("the endpoint's attempts and max_tokens must be at least 1")
        if not (self.timeout_s > 0 and self.requests_per_s >= 0):
            raise ConfigError("the endpoint's timeout_s must be above 0, its requests_per_s not below 0")
        if self.key and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise ConfigError(
                f"{self.url}: the key in {self.key_variable} would travel in the clear: use https or unset it"
            )

    @property
    def key(self) -> str:
        """The key, "" without one; never written anywhere."""
        return os.environ.get(self.key_variable, "")
