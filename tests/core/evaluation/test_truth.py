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

"""Truth files, and what was said against them, worked out by hand and by brute force."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from properties import invariant
import pytest
from svlm_core.errors import ConfigError
from svlm_core.evaluation.score import Judged
from svlm_core.evaluation.truth import Heard, judge, read_truth, Truth
from svlm_core.world.scene import seconds
from svlm_core.world.truth import truth_line

S = 10**9
ORIGIN_NS = 1_700_000_000 * S


def truth_file(tmp_path: Path, *lines: Any) -> Path:
    path = tmp_path / "truth.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def heard(*words: str, chunk_s: float = 1.0) -> list[Heard]:
    chunk_ns = int(chunk_s * S)
    return [Heard(k * chunk_ns, (k + 1) * chunk_ns, text) for k, text in enumerate(words)]


def said_and_true(truths: list[Truth], chunks: list[Heard]) -> list[tuple[str, str]]:
    return [(v.judged.said, v.judged.truth) for v in judge(truths, chunks)[0]]


def true(start_s: float, end_s: float, sentence: str = "") -> Truth:
    return Truth(int(start_s * S), int(end_s * S), sentence)


def test_every_way_to_say_when_is_read(tmp_path: Path) -> None:
    path = truth_file(
        tmp_path,
        {"start_s": 3.25, "end_s": 4.5, "sentence": "a door opens", "kind": "door"},
        "",
        {"second": 2, "sentence": None},
        {
            "start_ns": ORIGIN_NS - 5,
            "end_ns": ORIGIN_NS + 7,
            "sentence": "a person enters",
            "note": "ignored",
        },
    )
    assert read_truth(path, ORIGIN_NS) == [
        Truth(ORIGIN_NS - 5, ORIGIN_NS + 7, "a person enters"),
        Truth(ORIGIN_NS + 2 * S, ORIGIN_NS + 3 * S, ""),
        Truth(ORIGIN_NS + 3 * S + S // 4, ORIGIN_NS + 4 * S + S // 2, "a door opens", "door", "door"),
    ]


def test_the_worlds_own_truth_is_read(tmp_path: Path) -> None:
    world = list(itertools.islice(seconds(1_000_007), 60))
    truths = read_truth(truth_file(tmp_path, *map(truth_line, world)), ORIGIN_NS)
    assert [truth.sentence for truth in truths] == [second.sentence or "" for second in world]
    assert [(t.kind, t.sense, t.age_s) for t in truths] == [(s.kind, s.sense, s.age_s) for s in world]
    assert [(t.start_ns - ORIGIN_NS) / S for t in truths] == list(range(60))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 2: Expecting property name"),
        ("[1]", "line 2: not a JSON object"),
        ({"second": 1}, 'line 2: "sentence" is missing; null means'),
        ({"second": 1, "sentence": 5}, 'line 2: "sentence" must be words, or null for silence; got 5'),
        ({"second": 1, "sentence": ""}, "must be words, or null for silence; got ''"),
        ({"sentence": "x"}, 'it does not say when: "second", or "start_s" and "end_s"'),
        ({"start_s": 1, "sentence": "x"}, "it does not say when"),
        ({"second": "1", "sentence": "x"}, "\"second\" must be a number, got '1'"),
        ({"second": True, "sentence": "x"}, '"second" must be a number, got True'),
        ('{"second": NaN, "sentence": "x"}', '"second" must be a number, got nan'),
        ('{"second": 1e300, "sentence": "x"}', '"second" must be a number'),
        ({"start_s": 2, "end_s": 2, "sentence": "x"}, "the span ends before it begins"),
        ("[" * 100_000, "line 2: "),
    ],
)
def test_a_wrong_line_is_named_with_its_number(line: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_truth(truth_file(tmp_path, {"second": 0, "sentence": None}, line), 0)
    assert says in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none.jsonl: cannot be read"):
        read_truth(tmp_path / "none.jsonl", 0)
    with pytest.raises(ConfigError, match="there is no line in it"):
        read_truth(truth_file(tmp_path, ""), 0)
    (tmp_path / "latin.jsonl").write_bytes(b"\xe9")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_truth(tmp_path / "latin.jsonl", 0)


def test_a_sentence_counts_once_and_anywhere_in_its_span() -> None:
    chunks = heard("", "cat", "", "dog")
    assert said_and_true([true(0, 3, "cat")], chunks) == [("cat", "cat")]
    assert said_and_true([true(2, 4, "cat")], chunks) == [("dog", "cat")]
    assert said_and_true([true(2, 2.5, "cat")], chunks) == [("", "cat")]


def test_silence_is_judged_chunk_by_chunk_where_no_sentence_claims_it() -> None:
    chunks = heard("", "cat", "", "dog", "eel")
    truths = [true(0, 5), true(1, 2, "cat"), true(0, 1)]
    assert said_and_true(truths, chunks) == [("", ""), ("cat", "cat"), ("", ""), ("dog", ""), ("eel", "")]


def test_what_no_line_covers_is_not_judged() -> None:
    assert said_and_true([true(2, 3)], heard("a", "b", "c", "d")) == [("c", "")]


def test_a_sentence_that_no_frame_shows_is_counted_apart() -> None:
    verdicts, unseen = judge([true(7, 8, "late"), true(0, 1, "a"), true(9, 10)], heard("a"))
    assert [verdict.judged for verdict in verdicts] == [Judged("a", "a", "", "", None)]
    assert unseen == 1


@pytest.mark.parametrize(("chunk_s", "words"), [(0.5, ["", "", "", "b"]), (2.0, ["b"])])
def test_the_length_of_a_chunk_does_not_matter(chunk_s: float, words: list[str]) -> None:
    truths = [true(0, 1), true(1, 2, "b")]
    assert ("b", "b") in said_and_true(truths, heard(*words, chunk_s=chunk_s))


SPANS = st.tuples(st.integers(0, 40), st.integers(1, 12), st.sampled_from(["", "cat", "dog"]))


@invariant
@given(st.lists(SPANS, max_size=8), st.lists(st.sampled_from(["", "cat", "dog"]), max_size=12), st.data())
def test_verdicts_are_those_of_a_search_through_all_pairs(
    spans: list[tuple[int, int, str]], words: list[str], data: st.DataObject
) -> None:
    missing = data.draw(st.sets(st.integers(0, 11)))  # holes in the recording
    chunks = [c for k, c in enumerate(heard(*words, chunk_s=2.0)) if k not in missing]
    truths = [true(start / 2, (start + length) / 2, sentence) for start, length, sentence in spans]

    def overlap(truth: Truth) -> list[int]:
        return [
            i
            for i, chunk in enumerate(chunks)
            if chunk.start_ns < truth.end_ns and truth.start_ns < chunk.end_ns
        ]

    sentences = [truth for truth in truths if truth.sentence]
    claimed = {i for truth in sentences for i in overlap(truth)}
    quiet = {i for truth in truths if not truth.sentence for i in overlap(truth)} - claimed
    verdicts, unseen = judge(truths, chunks)
    assert unseen == sum(not overlap(truth) for truth in sentences)
    assert sum(v.judged.right for v in verdicts if v.judged.truth) == sum(
        any(chunks[i].text == truth.sentence for i in overlap(truth)) for truth in sentences
    )
    assert sorted(v.chunks[0] for v in verdicts if not v.judged.truth) == sorted(quiet)
    assert [v.start_ns for v in verdicts] == sorted(v.start_ns for v in verdicts)
