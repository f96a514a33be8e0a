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

"""What a stream has said, as far as a robot remembers it for a server that has forgotten."""

from __future__ import annotations

MOST_CHARACTERS = 16_384  # even if each takes four bytes, a Hello is far below its limit


class SaidText:
    """A text that grows at its end; when it is too long, its beginning and its end stay."""

    def __init__(self, text: str = "", most: int = MOST_CHARACTERS) -> None:
        """Begin with a text.

        Args:
            text: said before.
            most: characters that are kept; half of them are the first ones.
        """
        self._most = most
        self._first, self._rest = "", ""
        self.append(text)

    def __str__(self) -> str:
        return self._first + self._rest

    def append(self, text: str) -> None:
        """More was said; a space comes before it."""
        if not text:
            return
        text = f" {text}" if self._first else text
        room = self._most // 2 - len(self._first)
        if room > 0 and not self._rest:
            self._first, text = self._first + text[:room], text[room:]
        self._rest = (self._rest + text)[-(self._most - self._most // 2) :]
