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

"""The score against tables worked out by hand."""

from __future__ import annotations

from svlm_core.evaluation.score import Judged, score


def quiet(said: str = "") -> Judged:
    return Judged(said, "", "silence", "silence", None)


def seen(truth: str, said: str) -> Judged:
    return Judged(said, truth, "new", "seen now", None)


def moved(truth: str, said: str) -> Judged:
    return Judged(said, truth, truth.split()[1], "motion", None)


def remembered(truth: str, said: str, age_s: int) -> Judged:
    return Judged(said, truth, "back", "memory", age_s)


STREAM = [
    # first quarter: two events, one right
    seen("new red 3", "new red 3"),
    quiet(),
    moved("red stops", ""),  # missed: a silent second that should not be
    # second: one event, right; one invented
    quiet("blue stops"),
    moved("red gone left", "red gone left"),
    quiet(),
    # third: one memory, wrong digit
    remembered("back red 3", "back red 4", 29),
    quiet(),
    quiet(),
    # fourth: memories of two ages
    remembered("back blue 1", "back blue 1", 30),
    remembered("back red 3", "back red 3", 600),
    moved("red stops", "red stops"),
]


def test_shares_are_those_counted_by_hand() -> None:
    figures = score(STREAM)
    assert figures["n_events"] == 7
    assert figures["event_accuracy"] == round(5 / 7, 4)
    assert figures["silence_precision"] == round(4 / 5, 4)
    assert figures["silence_recall"] == round(4 / 5, 4)
    assert figures["accuracy_by_quarter"] == [0.5, 1.0, 0.0, 1.0]


def test_accuracy_is_told_by_verb_and_by_sense() -> None:
    assert score(STREAM)["accuracy_by_kind"] == {
        "back": round(2 / 3, 4),
        "gone": 1.0,
        "memory": round(2 / 3, 4),
        "motion": round(2 / 3, 4),
        "new": 1.0,
        "seen now": 1.0,
        "stops": 0.5,
    }


def test_memory_is_told_by_age_with_open_end() -> None:
    assert score(STREAM)["memory_by_age"] == {
        "0-30 s": {"accuracy": 0.0, "n": 1},
        "30-60 s": {"accuracy": 1.0, "n": 1},
        "60-120 s": {"accuracy": None, "n": 0},
        "120-300 s": {"accuracy": None, "n": 0},
        "300-600 s": {"accuracy": None, "n": 0},
        "600 s and more": {"accuracy": 1.0, "n": 1},
    }


def test_one_wrong_word_is_wrong() -> None:
    for said in ("new red 4", "new red", "new red 3 3", "New red 3"):
        assert score([seen("new red 3", said)])["event_accuracy"] == 0.0


def test_what_did_not_occur_has_no_share() -> None:
    figures = score([quiet("red stops")] * 2)
    assert (figures["n_events"], figures["event_accuracy"], figures["silence_precision"]) == (0, None, None)
    assert figures["silence_recall"] == 0.0
    assert figures["accuracy_by_kind"] == {}
    assert figures["accuracy_by_quarter"] == [None] * 4
