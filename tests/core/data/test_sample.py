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

"""Samples in the published form, and the rounds they make."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
import pytest
from svlm_core.data.sample import Question, Sample, Turn
from svlm_core.data.words import in_order, Word
from svlm_core.errors import SourceError


def published() -> list[dict[str, Any]]:
    """A line as the published sets have it; times are the video's own."""
    stream = {
        "type": "text_stream",
        "text_stream": [[12.1, 12.6, "Goal"], [12.7, 13.0, " for"], [13.4, 14.2, "home!"]],
        "qa_stream": [[12.5, 13.5, "Who scored?", "Number nine."]],
    }
    video = {"type": "video", "video": "a/b.mp4", "video_start": 12.0, "video_end": 15.0}
    text = {"type": "text", "text": "Commentate.", "previous": "Kick off."}
    return [{"role": "user", "content": [video, text]}, {"role": "assistant", "content": [stream]}]


def test_a_published_line_is_read() -> None:
    sample = Sample.from_line(json.dumps(published()), "here")
    assert (sample.video, sample.start_s, sample.end_s) == ("a/b.mp4", 12.0, 15.0)
    assert (sample.previous, sample.query) == ("Kick off.", "Commentate.")
    assert sample.words == (Word(12.1, 12.6, "Goal"), Word(12.7, 13.0, "for"), Word(13.4, 14.2, "home!"))
    assert sample.questions == (Question(12.5, 13.5, "Who scored?", "Number nine."),)
    assert sample.turns(1.0) == [
        Turn("Goal for", ""),
        Turn("Number nine.", "Who scored?"),
        Turn("home!", ""),
    ]


def test_it_is_written_as_it_was_published() -> None:
    line = json.dumps(published())
    written = json.loads(Sample.from_line(line, "here").to_line())
    expected = published()
    expected[1]["content"][0]["text_stream"][1][2] = "for"  # the words alone
    assert written == expected


TIMES = st.integers(0, 6000).map(lambda ms: ms / 1000)
WORDS = st.lists(st.builds(Word, TIMES, TIMES, st.sampled_from(["a", "bc", "d"])), max_size=20)


@given(WORDS, st.sampled_from([0.5, 1.0, 2.0]))
def test_every_word_is_said_in_the_round_in_which_it_ends(words: list[Word], chunk_s: float) -> None:
    ordered, _ = in_order(words)
    sample = Sample("v", 0.0, 6.0, tuple(ordered))
    turns = sample.turns(chunk_s)
    assert len(turns) == 6.0 / chunk_s
    for number, turn in enumerate(turns):
        begin_s, stop_s = number * chunk_s, (number + 1) * chunk_s
        said = [w.text for w in ordered if begin_s < w.end_s <= stop_s or (number == 0 and w.end_s == 0)]
        assert turn.words == " ".join(said)


@given(WORDS, st.text(max_size=20), st.text(max_size=20))
def test_what_is_written_is_read_back(words: list[Word], previous: str, query: str) -> None:
    ordered, _ = in_order(words)
    asked = (Question(1.0, 2.0, "what?", "that"),)
    sample = Sample("v.mp4", 0.0, 6.0, tuple(ordered), previous, query, asked)
    assert Sample.from_line(sample.to_line(), "here") == sample


def broken(change: Any) -> str:
    conversation = published()
    change(conversation)
    return json.dumps(conversation)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "Expecting"),
        ("[]", "not enough values"),
        ("[1, 2]", "not subscriptable"),
        ("[" * 100_000, "recursion"),
        (broken(lambda c: c[0]["content"].pop(0)), "not enough values"),
        (broken(lambda c: c[0]["content"][0].pop("video_end")), "'video_end' is missing"),
        (broken(lambda c: c[0]["content"][0].update(video_end=12.0)), "no stretch of a video"),
        (broken(lambda c: c[0]["content"][0].update(video_end=float("nan"))), "no stretch of a video"),
        (broken(lambda c: c[0]["content"][0].update(video_end=36_000_000)), "no stretch of a video"),
        (broken(lambda c: c[1]["content"][0]["text_stream"].append([1, float("nan"), "x"])), "not a word"),
        (broken(lambda c: c[1]["content"][0]["text_stream"].append([1, 2, None])), "not a word"),
        (broken(lambda c: c[1]["content"][0]["qa_stream"].append([5, 4, "q", "a"])), "a question at 5 to 4"),
    ],
)
def test_what_is_no_sample_is_refused_with_its_place(line: str, reason: str) -> None:
    with pytest.raises(SourceError, match=r"^set\.jsonl: sample 7: not a sample \(") as refused:
        Sample.from_line(line, "set.jsonl: sample 7")
    assert reason in str(refused.value)
