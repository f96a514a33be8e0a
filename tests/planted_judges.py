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

"""Judges whose taste is planted: what they say to a judge's prompt, for a chat_server to reply.

Each pair of texts is decided by a hash, whatever order they come in.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any


class Preference:
    """Prefers texts with a favourite's mark in a known share of the pairs."""

    def __init__(self, mark: str, share: float, seed: int, ties: float = 0.0) -> None:
        self.mark, self.share, self.seed, self.ties = mark, share, seed, ties

    def __call__(self, body: dict[str, Any]) -> str:
        first, second = shown(body)
        drawn = self._drawn(*sorted((first, second)))
        if drawn < self.ties:
            return "TIE"
        favourite_wins = (drawn - self.ties) / (1 - self.ties) < self.share
        return "A" if (self.mark in first) == favourite_wins else "B"

    def _drawn(self, *texts: str) -> float:
        digest = hashlib.sha256("\0".join([str(self.seed), *texts]).encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64


class Taste:
    """Prefers one of any two texts for a reason of its own, whatever order they come in."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __call__(self, body: dict[str, Any]) -> str:
        first, second = shown(body)
        if first == second:
            return "TIE"
        return "A" if self._liking(first) > self._liking(second) else "B"

    def _liking(self, text: str) -> bytes:
        return hashlib.sha256(f"{self.seed} {text}".encode()).digest()


def shown(body: dict[str, Any]) -> tuple[str, str]:
    """The two texts of a judge's prompt."""
    text = body["messages"][-1]["content"]
    found = re.search(r"## Commentary A\n(.*?)\n\n## Commentary B\n(.*)", text, re.DOTALL)
    assert found
    return found[1], found[2]
