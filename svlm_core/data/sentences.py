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

"""Words to sentences, to be judged one by one, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from svlm_core.data.words import joined, spread, Word

_ENDS = (".", "?", "!", "\u3002", "\uff1f", "\uff01")  # the last three are Chinese and Japanese
_QUOTES = "\"')]}\u00bb\u201d\u2019"
PAUSE_S = 1.5  # a longer silence ends a sentence, marked or not
MAX_WORDS = 40  # and so does this length: speech recognisers may mark no end at all


@dataclass(frozen=True)
class Sentence:
    """Words that belong together; at least one."""

    words: tuple[Word, ...]

    @property
    def text(self) -> str:
        """The words as text."""
        return joined(self.words)

    def said_otherwise(self, text: str) -> list[Word]:
        """Other words in its place and time: each word that stays keeps its time if none was changed."""
        if text.split() == self.text.split():
            return list(self.words)
        return spread(self.words[0].start_s, self.words[-1].end_s, text)


def sentences(words: Sequence[Word]) -> list[Sentence]:
    """Group words in order; a sentence ends at its mark, at a pause, or when it grows too long."""
    groups: list[list[Word]] = []
    for word in words:
        last = groups[-1] if groups else None
        if (
            last is None
            or last[-1].text.rstrip(_QUOTES).endswith(_ENDS)
            or word.start_s - last[-1].end_s > PAUSE_S
            or len(last) >= MAX_WORDS
        ):
            groups.append([word])
        else:
            last.append(word)
    return [Sentence(tuple(group)) for group in groups]
