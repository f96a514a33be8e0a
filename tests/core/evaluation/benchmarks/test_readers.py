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

"""Format readers against small samples made from the published descriptions."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from svlm_core.errors import ConfigError
from svlm_core.evaluation.benchmarks import inf_streams, livesports, ovo, streamingbench
from svlm_core.evaluation.benchmarks.question import Question
from svlm_core.evaluation.benchmarks.reading import MalformedError, seconds
from svlm_core.evaluation.runs.exclusions import DUPLICATE, EMPTY_REFERENCE, Excluded, MALFORMED, OUTSIDE


def written(folder: Path, items: list[Any], name: str = "data.json") -> Path:
    path = folder / name
    lines = "\n".join(json.dumps(item) for item in items)
    path.write_text(lines if name.endswith("l") else json.dumps(items))
    return path


OVO = [
    {
        "id": 7,
        "task": "EPM",
        "video": "Ego4D/a.mp4",
        "realtime": 215,
        "question": "Who?",
        "answer": "c",
        "options": ["a", "b", "c"],
        "gt": 2,
    },
    {
        "id": 8,
        "task": "REC",
        "video": "p/b.mp4",
        "activity": "breaking something",
        "test_info": [{"realtime": 17, "count": 1}, {"realtime": 32.5, "count": 2}],
    },
    {
        "id": 9,
        "task": "SSR",
        "video": "p/c.mp4",
        "tutorial": "T",
        "test_info": [{"realtime": 27, "step": "comb", "type": 1}],
    },
    {
        "id": 10,
        "task": "CRR",
        "video": "p/d.mp4",
        "question": "What next?",
        "test_info": [{"realtime": 297, "type": 0}],
    },
]


def test_ovo(tmp_path: Path) -> None:
    items = ovo.read(written(tmp_path, OVO))
    assert all(isinstance(item, Question) for item in items)
    seen = [(q.id, q.at_s, q.answer, q.task, q.group) for q in items]
    assert seen == [
        ("7", 215, "C", "EPM", "backward"),
        ("8_0", 17, "1", "REC", "forward"),
        ("8_1", 32.5, "2", "REC", "forward"),
        ("9_0", 27, "Yes", "SSR", "forward"),
        ("10_0", 297, "No", "CRR", "forward"),
    ]
    assert "breaking something" in items[1].text and "comb" in items[3].text


def test_ovo_with_and_without_forward_by_hand() -> None:
    published = dict.fromkeys(("OCR", "ACR", "ATR", "STU", "FPD", "OJR"), "realtime")
    published |= dict.fromkeys(("EPM", "ASI", "HLD"), "backward")
    published |= dict.fromkeys(("REC", "SSR", "CRR"), "forward")
    assert published == ovo.GROUPS

    def answers(task: str, *right: int) -> list[dict[str, Any]]:
        group = published[task]
        common = {"task": task, "group": group, "tags": [], "video": "v", "at_s": 1, "read": "A"}
        return [{"id": f"{task}{n}", "right": bool(value), **common} for n, value in enumerate(right)]

    records = [
        *answers("EPM", 1, 1, 1, 0),  # .75
        *answers("HLD", 0, 1),  # .5    -> backward .625
        *answers("OCR", 1),  # 1.       -> realtime 1.
        *answers("REC", 0, 0, 0),  # 0.
        *answers("SSR", 1, 0),  # .5    -> forward .25
    ]
    figures = ovo.figures(records, 0)
    assert figures["by_group"] == {"backward": 0.625, "forward": 0.25, "realtime": 1.0}
    assert figures["without_forward"] == pytest.approx((0.625 + 1) / 2)
    assert figures["with_forward"] == pytest.approx((0.625 + 1 + 0.25) / 3, abs=1e-6)
    assert figures["all"]["mean"] == pytest.approx(6 / 12)
    assert ovo.figures(answers("EPM", 1), 0)["with_forward"] is None, "no total over what was not measured"


def test_streamingbench(tmp_path: Path) -> None:
    video = {"time": "[0:00:00 - 0:00:10]", "video_path": "./videos/s.mp4"}
    real = {
        "task_type": "Counting",
        "question": "How many?",
        "time_stamp": "00:01:31",
        "answer": "C",
        "options": ["A. 1", "B. 2", "C. 3", "D. 4"],
        "required_ability": "working memory",
    }
    proactive = {
        "task_type": "Proactive Output",
        "question": 'When it shows 3, output "3".',
        "time_stamp": "00:00:20",
        "ground_truth_time_stamp": "00:00:29",
        "ground_truth_output": "3",
    }
    first, second = streamingbench.read(
        written(tmp_path, [{**video, "questions": [real]}, {**video, "questions": [proactive]}])
    )
    assert (first.video, first.at_s, first.answer, first.task) == ("s.mp4", 91, "C", "Counting")
    assert first.tags == ("ability: working memory",) and "C. 3" in first.text
    assert second.about == {"polls": [float(t) for t in range(21, 34)], "due_s": 29}


def test_streamingbench_sequential_questions_know_what_was_answered(tmp_path: Path) -> None:
    def turn(at: str, words: str) -> dict[str, Any]:
        question = {
            "task_type": "Sequential Question Answering",
            "question": words,
            "time_stamp": at,
            "answer": "B",
            "options": ["one.", "two.", "three.", "four."],
        }
        return {"video_path": "./videos/s.mp4", "questions": [question]}

    path = written(tmp_path, [[turn("00:00:36", "Who serves?"), turn("00:03:02", "And now?")]])
    first, second = streamingbench.read(path)
    assert "Asked before" not in first.text
    assert "At 36 s: Who serves? two." in second.text


def test_livesports_qa_as_json_lines_and_as_csv(tmp_path: Path) -> None:
    row = {
        "video": "a.mp4",
        "begin": 57.8,
        "end": 72.3,
        "question_id": "q1",
        "q_type": "When",
        "OCR": 1,
        "question": "When?",
        "answer": "D",
    }
    lines = written(tmp_path, [{**row, "options": ["A. 1", "B. 2", "C. 3", "D. 4"]}], "qa.jsonl")
    table = tmp_path / "qa.csv"
    with table.open("w", newline="") as file:
        columns = {f"option_{letter}": str(n) for n, letter in enumerate("ABCD", 1)}
        writer = csv.DictWriter(file, [*row, *columns])
        writer.writeheader()
        writer.writerow({**row, **columns})
    (a,), (b,) = livesports.read_qa(lines), livesports.read_qa(table)
    assert a.text == b.text
    for question in (a, b):
        seen = (question.start_s, question.at_s, question.answer, question.task, question.tags)
        assert seen == (57.8, 72.3, "D", "When", ("OCR",))


def test_livesports_cc(tmp_path: Path) -> None:
    event = {
        "video_id": "x",
        "video": "x.mp4",
        "event_id": 10,
        "begin": 57.8,
        "end": 72.3,
        "event_title": "Race",
        "preasr_text": "off they go",
        "event_asr_text": "and they turn",
    }
    empty = {**event, "event_id": 11, "event_asr_text": " "}
    stretches, segments, excluded = livesports.read_cc(written(tmp_path, [event, empty, event]))
    assert [(s.id, s.before, s.title) for s in stretches] == [("x_10", "off they go", "Race")]
    assert [(s.reference, s.start_s) for s in segments] == [("and they turn", 57.8)]
    assert [(e.id, e.reason) for e in excluded] == [("x_11", EMPTY_REFERENCE), ("x_10 (again, 2)", DUPLICATE)]


def test_inf_streams_cuts_whole_videos_between_lines(tmp_path: Path) -> None:
    content = [[t, t + 9, f"line {t}"] for t in range(0, 300, 10)]
    path = written(tmp_path, [{"video": "games/g.mp4", "title": "G", "content": content}], "m.jsonl")
    (stretch,), segments, excluded = inf_streams.read(path, segment_s=50, start_s=100)
    assert not excluded
    assert (stretch.start_s, stretch.end_s, stretch.video) == (100, 299, "games/g.mp4")
    assert stretch.before.startswith("line 0 line 10") and "line 100" not in stretch.before
    assert [(s.start_s, s.end_s) for s in segments] == [(100, 149), (150, 199), (200, 249), (250, 299)]
    words = " ".join(segment.reference for segment in segments)
    assert words == " ".join(f"line {t}" for t in range(100, 300, 10)), "nothing is lost, nothing twice"


def test_inf_streams_takes_clips_of_one_video_as_one_stream(tmp_path: Path) -> None:
    clips = [{"video": "g.mp4", "content": [[t, t + 60, "words"]]} for t in (1000, 1100, 1100)]
    (stretch,), segments, excluded = inf_streams.read(written(tmp_path, clips, "c.jsonl"), 100, 1000)
    assert [segment.start_s for segment in segments] == [1000, 1100] and stretch.end_s == 1160
    assert [item.reason for item in excluded] == [DUPLICATE]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([[1000, 1009, "a"], [1010000, 1019000, "b"]], OUTSIDE),  # seconds, then milliseconds
        ([[0, 5, "a"], [3, 1, "b"]], MALFORMED),
        ([[5, 9, "a"], [1, 2, "b"]], MALFORMED),
        ([[0, 5]], MALFORMED),
        ([], MALFORMED),
        ([[0, 9, " "]], EMPTY_REFERENCE),
    ],
)
def test_inf_streams_excludes_what_it_cannot_use(content: list[Any], reason: str, tmp_path: Path) -> None:
    items = [{"video": "g.mp4", "content": content}, {"video": "h.mp4", "content": [[0, 9, "fine"]]}]
    _, segments, excluded = inf_streams.read(written(tmp_path, items, "m.jsonl"), 100, 0)
    assert [segment.stretch for segment in segments] == ["h.mp4"]
    assert [item.reason for item in excluded] == [reason]


def test_malformed_items_are_told_and_the_others_kept(tmp_path: Path) -> None:
    wrong = [
        {**OVO[0], "id": 1, "gt": 3},
        {**OVO[0], "id": 2, "task": "XYZ"},
        {**OVO[0], "id": 3, "realtime": "soon"},
        {**OVO[0], "id": 4, "options": None},
        "text",
    ]
    items = ovo.read(written(tmp_path, [*wrong, OVO[0], OVO[0]]))
    reasons = [item.reason for item in items if isinstance(item, Excluded)]
    assert reasons == [MALFORMED] * 5 + [DUPLICATE]
    assert [item.id for item in items if isinstance(item, Question)] == ["7"]


@pytest.mark.parametrize(
    ("value", "found"),
    [(3, 3), ("3.5", 3.5), ("01:02", 62), ("00:03:10", 190), ("1:00:00.5", 3600.5)],
)
def test_times(value: Any, found: float) -> None:
    assert seconds(value) == found


@pytest.mark.parametrize("value", ["", "1:75", "1:2:3:4", None, True, -1, "nan", "inf", []])
def test_times_that_are_none(value: Any) -> None:
    with pytest.raises(MalformedError):
        seconds(value)


@pytest.mark.parametrize("text", ["[]", "{}", "{", "null"])
def test_files_that_are_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ConfigError, match=r"x\.json"):
        ovo.read(tmp_path / "x.json")
