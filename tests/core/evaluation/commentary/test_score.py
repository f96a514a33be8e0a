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

"""Figures of events against a reference: by hand, and against independent implementations."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest
from svlm_core.cli.main import main
from svlm_core.errors import ConfigError
from svlm_core.evaluation.commentary.alignment import speaking, windows
from svlm_core.evaluation.commentary.repetition import contradictions, repetition
from svlm_core.evaluation.commentary.score import score_events
from svlm_core.evaluation.commentary.text_scores import rouge_l, text_scores
from svlm_core.evaluation.commentary.timed_text import read_events, read_reference, TimedLine
from svlm_core.evaluation.commentary.timeliness import match, timeliness
from svlm_core.events import CommentaryEvent
from svlm_core.frames import NS_PER_S

WORDS = st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), min_size=1, max_size=8).map(" ".join)


def line(start_s: float, text: str, end_s: float | None = None) -> TimedLine:
    return TimedLine(f"{start_s}", start_s, start_s + 1 if end_s is None else end_s, text, start_s)


def event(seq: int, second: float, text: str, **fields: Any) -> str:
    stamp = round(second * NS_PER_S)
    whole = {
        "kind": "commentary",
        "camera": "c",
        "frame_id": "",
        "chunk_index": seq,
        "frames_used": 2,
        **fields,
    }
    return CommentaryEvent(text, seq=seq, stamp_oldest_ns=stamp, stamp_newest_ns=stamp, **whole).to_json()


@pytest.mark.parametrize(
    ("delay_s", "worth"), [(0, 1), (2, 1), (7, 0.5), (12, 0.25), (-5, 0.5), (-10, 0.25), (4.5, 0.5**0.5)]
)
def test_timeliness_by_hand(delay_s: float, worth: float) -> None:
    assert timeliness(delay_s) == pytest.approx(worth)


def test_each_line_is_told_once_by_the_best() -> None:
    reference = [line(10, "red goes left"), line(20, "blue stops")]
    said = [line(11, "red goes left"), line(12, "red goes left"), line(27, "blue stops")]
    found = match(said, reference, lambda a, b: float(a == b))
    assert [(m.said, m.reference, m.delay_s, m.worth) for m in found] == [(0, 0, 1, 1), (2, 1, 7, 0.5)]


def test_figures_by_hand() -> None:
    reference = [line(10, "red goes left"), line(20, "blue stops")]
    said = [line(11, "red goes left"), line(12, "red goes left"), line(27, "blue stops")]
    figures, records = score_events(said, reference)
    assert figures["timely_recall"] == pytest.approx(1.5 / 2)
    assert figures["timely_precision"] == pytest.approx(1.5 / 3)
    assert (figures["quality"], figures["delay_s_p50"]) == (1, 4)
    assert figures["repeated_lines"] == pytest.approx(1 / 3, abs=1e-6)
    assert figures["speaking_recall"] == 0
    assert [record["score"] for record in records] == [1, 0, 0.5]


def test_words_that_are_half_right_and_late_by_hand() -> None:
    reference = [line(10, "red goes left"), line(20, "blue stops now")]
    said = [line(17, "red goes up"), line(15, "blue stops now")]
    figures, records = score_events(sorted(said, key=lambda event: event.start_s), reference)
    # blue: whole, 5 s early: 1 x 1/2; red: two of three words (F1 2/3), 7 s late: 2/3 x 1/2
    assert [record["score"] for record in records] == pytest.approx([1 / 2, 1 / 3], abs=1e-6)
    assert figures["timely_recall"] == pytest.approx(5 / 12, abs=1e-6)
    assert figures["quality"] == pytest.approx(5 / 6, abs=1e-6)
    assert figures["delay_s_p50"] == pytest.approx(1)


def test_speaking_by_hand() -> None:
    said, reference = [line(0, "x", 2), line(5, "y")], [line(1, "z", 5.5)]
    assert speaking(said, reference) == (2 / 3, 2 / 5)
    assert speaking([], reference) == (None, 0.0)


def test_words_of_a_line_are_spread_over_its_seconds() -> None:
    assert windows([line(3, "said")], [line(0, "one two three four", 4)], 2) == [
        ("", "one two"),
        ("said", "three four"),
    ]


@settings(max_examples=40, deadline=None)
@given(WORDS, WORDS)
def test_rouge_l_is_the_longest_common_subsequence(said: str, reference: str) -> None:
    a, b = said.split(), reference.split()
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
    common = table[-1][-1]
    expected = 2 * common / (len(a) + len(b))
    assert rouge_l()(said, reference) == pytest.approx(expected)


def test_bleu_by_hand() -> None:
    said, reference = (
        ["the", "cat", "sat", "on", "the", "mat", "today"],
        ["the", "cat", "sat", "on", "a", "mat", "today"],
    )
    precisions = []
    for n in range(1, 5):
        grams = [tuple(said[i : i + n]) for i in range(len(said) - n + 1)]
        known = [tuple(reference[i : i + n]) for i in range(len(reference) - n + 1)]
        precisions.append(sum(min(grams.count(g), known.count(g)) for g in set(grams)) / len(grams))
    expected = 100 * math.exp(sum(map(math.log, precisions)) / 4)
    assert text_scores([" ".join(said)], [" ".join(reference)])["bleu"] == pytest.approx(expected, abs=1e-3)


def test_repetition_by_hand() -> None:
    words = "one two three four five"
    said = [line(0, words), line(30, words.capitalize() + "!"), line(100, words)]
    found = repetition(said)
    assert found.lines == pytest.approx(1 / 3), "again after 30 s, but no longer after 70"
    assert found.grams == pytest.approx(2 / 6)
    assert repetition([]) == (None, None)


def test_contradictions() -> None:
    said = [
        line(0, "red goes left"),
        line(1, "red goes right"),
        line(2, "it is open"),
        line(3, "it is not open"),
    ]
    assert contradictions(said, said) == [(1, 0), (3, 2)]
    assert contradictions([line(9, "red goes left")], said) == [], "another moment"
    assert contradictions([line(0, "red stops")], said) == [], "other words are no contradiction"
    assert contradictions([line(0, "5 to go")], [line(1, "six to go")]) == [(0, 0)]


def test_references_of_all_kinds(tmp_path: Path) -> None:
    vtt = tmp_path / "r.vtt"
    vtt.write_text(
        "WEBVTT\n\n00:01.000 --> 00:02.500\n<b>red</b> stops\n\n01:00:00.000 --> 01:00:01.000\nlate\n"
    )
    srt = tmp_path / "r.srt"
    srt.write_text("1\n00:00:01,000 --> 00:00:02,500\nred stops\n")
    rows = [
        {"second": 1, "sentence": "red stops"},
        {"second": 2, "sentence": None},
        {"start_ns": 5 * NS_PER_S, "end_ns": 6 * NS_PER_S, "text": "x"},
    ]
    lines = tmp_path / "r.jsonl"
    lines.write_text("\n".join(map(json.dumps, rows)))
    for path, count in ((vtt, 2), (srt, 1), (lines, 2)):
        found, excluded = read_reference(path, None)
        assert (found[0].text, found[0].start_s, len(found), excluded) == ("red stops", 1, count, [])


def test_bad_references(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    rows = [{"start_s": 1, "end_s": 2, "text": "a"}, {"start_s": 9_000_000, "end_s": 9_001_000, "text": "b"}]
    rows += [{"text": "when?"}, {"start_s": 4, "end_s": 3, "text": "c"}]
    path.write_text("\n".join(map(json.dumps, rows)) + "\nnot json\n")
    found, excluded = read_reference(path, None)
    assert len(found) == 1
    assert sorted(item.reason for item in excluded) == ["malformed item"] * 3 + [
        "outside the video; mixed time units?"
    ]
    path.write_text("\n")
    with pytest.raises(ConfigError, match="empty reference"):
        read_reference(path, None)


def test_events_with_dates_need_an_origin(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    path.write_text(event(0, 1_700_000_003, "hello"))
    with pytest.raises(ConfigError, match="--origin-ns"):
        read_events(path, None)
    (found,), _ = read_events(path, 1_700_000_000 * NS_PER_S)
    assert found.start_s == pytest.approx(3)


def test_svlm_eval_events(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        event(0, 1, "red stops", latency_ms=500.0),
        event(1, 4, "", kind="gap"),
        event(2, 8, "blue goes left"),
    ]
    (tmp_path / "e.jsonl").write_text("\n".join([*rows, rows[-1], "{}"]))
    truth = [{"second": 1, "sentence": "red stops"}, {"second": 8, "sentence": "blue goes right"}]
    (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, truth)))
    words = ["eval", "events", str(tmp_path / "e.jsonl"), "--reference", str(tmp_path / "r.jsonl")]
    assert main([*words, "--out", str(tmp_path / "out")]) == 1
    assert "2 of 4 items are excluded" in capsys.readouterr().err
    assert main([*words, "--out", str(tmp_path / "out"), "--max-excluded", "0.5"]) == 0
    found = json.loads((tmp_path / "out" / "result.json").read_text())
    assert found["accounting"]["by_reason"] == {"duplicate id": 1, "malformed item": 1}
    figures = found["figures"]
    assert figures["timely_recall"] == pytest.approx((1 + 2 / 3) / 2, abs=1e-6)
    assert figures["delay_s_p50"] == pytest.approx(0.25)
    assert figures["contradicts_reference"] == 0.5
    assert "blue goes left" in (tmp_path / "out" / "report.html").read_text()
