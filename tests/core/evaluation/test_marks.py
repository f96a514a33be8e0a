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

from __future__ import annotations

from svlm_core.evaluation.marks import Mark, marks, MISSED, OPEN, RIGHT, WRONG
from svlm_core.evaluation.truth import Heard, judge, Truth


def heard(*words: str) -> list[Heard]:
    return [Heard(k, k + 1, text) for k, text in enumerate(words)]


def test_everything_said_or_missed_has_one_mark() -> None:
    chunks = heard("", "cat", "dog", "", "eel", "fox", "")
    truths = [
        Truth(0, 1, ""),
        Truth(1, 3, "cat"),  # right, in its first chunk; "dog" goes on beside it
        Truth(3, 4, "ant"),
        Truth(4, 5, "elk"),
        Truth(5, 7, ""),
    ]
    assert marks(chunks, judge(truths, chunks)[0]) == [
        Mark(1, 3, "cat", "cat", RIGHT, 1),
        Mark(2, 3, "dog", "", OPEN, 2),
        Mark(3, 4, "", "ant", MISSED, 3),
        Mark(4, 5, "eel", "elk", WRONG, 4),
        Mark(5, 6, "fox", "", WRONG, 5),
    ]


def test_without_a_truth_nothing_is_judged() -> None:
    assert marks(heard("", "cat"), []) == [Mark(1, 2, "cat", "", OPEN, 1)]
