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

"""From verdicts to what a reader is shown: one mark for everything that was said or should have been."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from svlm_core.evaluation.truth import Heard, Verdict

RIGHT, WRONG, MISSED, OPEN = "right", "wrong", "missed", "open"  # open: said, and no truth judges it


@dataclass(frozen=True)
class Mark:
    """Something said, something to be said, or both.

    Attributes:
        start_ns: of the truth; of the chunk where there is none.
        end_ns: the same.
        said: the words, "" for silence.
        truth: the true sentence, "" where nothing was to be said or nothing is known.
        status: RIGHT, WRONG, MISSED or OPEN.
        chunk: position of the chunk in which it was said; of the first one about it when nothing was said.
    """

    start_ns: int
    end_ns: int
    said: str
    truth: str
    status: str
    chunk: int


def marks(heard: Sequence[Heard], verdicts: Sequence[Verdict]) -> list[Mark]:
    """Everything worth showing, in the order of time; silence that was right is not."""
    shown: list[Mark] = []
    explained: set[int] = set()  # chunks whose words a mark has
    for verdict in verdicts:
        said, truth = verdict.judged.said, verdict.judged.truth
        if not said and not truth:
            continue
        chunk = next((i for i in verdict.chunks if said and heard[i].text == said), verdict.chunks[0])
        explained.add(chunk)
        status = RIGHT if verdict.judged.right else WRONG if said else MISSED
        shown.append(Mark(verdict.start_ns, verdict.end_ns, said, truth, status, chunk))
    shown += [
        Mark(chunk.start_ns, chunk.end_ns, chunk.text, "", OPEN, i)
        for i, chunk in enumerate(heard)
        if chunk.text and i not in explained
    ]
    return sorted(shown, key=lambda mark: (mark.start_ns, mark.chunk))
