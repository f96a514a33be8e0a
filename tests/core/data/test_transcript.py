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

"""Transcripts of every kind, and what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from svlm_core.data.cues import BAD_TIMES, NO_CUE, OUT_OF_ORDER, OVERLAPPING
from svlm_core.data.transcript import read_transcript, write_words
from svlm_core.data.whisper import BORROWED_TIME, NO_SEGMENT_TIME, NOT_A_WORD, NOT_JSON
from svlm_core.data.words import Word
from svlm_core.errors import SourceError

SRT = """1
00:00:01,000 --> 00:00:03,000
<i>Here we</i> go.

2
00:00:xx,000 --> 00:00:05,000
Lost.

3
01:00:00,500 --> 01:00:01,500
An hour.

stray text
"""
VTT = """WEBVTT
Kind: captions

NOTE
nobody hears this

00:01.000 --> 00:03.000 align:start
<v Ann>one<00:02.000><c> two</c>

00:03.000 --> 00:05.000
one two
three &amp; four
"""


def texts(words: list[Word]) -> list[str]:
    return [word.text for word in words]


def test_srt_words_share_their_cues_time_and_broken_cues_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.srt"
    path.write_text(SRT, encoding="utf-8-sig")
    read = read_transcript(path)
    assert texts(read.words) == ["Here", "we", "go.", "An", "hour."]
    assert read.words[0].start_s == 1.0
    assert read.words[2].end_s == 3.0
    assert read.words[-1].end_s == 3601.5
    assert read.problems.places == {BAD_TIMES: [f"{path}:6"], NO_CUE: [f"{path}:13"]}


def test_cues_out_of_order_or_overlapping_keep_their_phrases_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.vtt"
    cues = [
        "00:05.000 --> 00:06.000\nthree",
        "00:01.000 --> 00:04.000\none one",
        "00:02.000 --> 00:03.000\ntwo two",
    ]
    path.write_text("WEBVTT\n\n" + "\n\n".join(cues))
    read = read_transcript(path)
    assert texts(read.words) == ["one", "one", "two", "two", "three"]
    assert [word.end_s for word in read.words] == [2.5, 4.0, 4.0, 4.0, 6.0]
    assert read.problems.counts == {OUT_OF_ORDER: 1, OVERLAPPING: 1}


def test_vtt_word_times_are_used_and_a_rolling_line_is_taken_once(tmp_path: Path) -> None:
    path = tmp_path / "a.vtt"
    path.write_text(VTT)
    read = read_transcript(path)
    assert texts(read.words) == ["one", "two", "three", "&", "four"]
    assert [read.words[0].end_s, read.words[1].start_s, read.words[1].end_s] == [2.0, 2.0, 3.0]
    assert not read.problems.counts


def test_whisperx_words_without_times_lie_between_their_neighbours(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    words = [
        {"word": "scored", "start": 1.0, "end": 1.5},
        {"word": "42"},
        {"word": "points", "start": 2.5, "end": 3.0},
        {"word": "today", "start": float("nan"), "end": float("nan")},
    ]
    segments = [
        {"start": 1.0, "end": 4.0, "text": "", "words": words},
        {"start": 5.0, "end": 6.0, "text": " only text"},
        {"text": "no times"},
        "not a segment",
    ]
    path.write_text(json.dumps({"segments": segments}))
    read = read_transcript(path)
    assert read.words[:4] == [
        Word(1.0, 1.5, "scored"),
        Word(1.5, 2.5, "42"),
        Word(2.5, 3.0, "points"),
        Word(3.0, 4.0, "today"),
    ]
    assert texts(read.words[4:]) == ["only", "text"]
    assert read.problems.counts == {BORROWED_TIME: 2, NO_SEGMENT_TIME: 2}


def test_word_lines_name_the_broken_ones(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"start": 0, "end": 1, "word": "one"}\n{"start": 1, "end"\n[1, 2, "two"]\n'
        '{"start": NaN, "end": 3, "word": "nan"}\n{"start": 4, "end": 3, "word": "back"}\n7\n'
    )
    read = read_transcript(path)
    assert read.words == [Word(0.0, 1.0, "one"), Word(1.0, 2.0, "two")]
    assert read.problems.places == {
        NOT_JSON: [f"{path}:2"],
        NOT_A_WORD: [f"{path}:4", f"{path}:5", f"{path}:6"],
    }


def test_written_words_are_read_back(tmp_path: Path) -> None:
    words = [Word(0.25, 1.5, "ein"), Word(1.5, 2.0, "Wörtchen")]
    write_words(words, tmp_path / "a.jsonl")
    assert read_transcript(tmp_path / "a.jsonl").words == words


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "hello", "not a transcript; these are .srt, .vtt, .json, .jsonl"),
        ("a.srt", "", "not one word in it .it is empty"),
        ("a.json", "{", "not a transcript of Whisper"),
        ("a.json", '{"text": "hi"}', "no list of segments"),
        ("a.json", "[" * 100_000, "not a transcript of Whisper"),
        ("a.jsonl", "{", "1 times a line that is not JSON"),
    ],
)
def test_what_is_no_transcript_is_refused_by_name(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(SourceError, match=message) as refused:
        read_transcript(path)
    assert str(path) in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"a\.srt: cannot be read"):
        read_transcript(tmp_path / "a.srt")
