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

from html import unescape
import itertools
import os
import re
import threading

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest
from svlm_core.events import KIND_ANSWER, KIND_GAP, KIND_RESET
from svlm_core.sinks.webvtt import WebVtt

TIMES = re.compile(r"(\d{2,}):([0-5]\d):([0-5]\d)\.(\d{3}) --> (\d{2,}):([0-5]\d):([0-5]\d)\.(\d{3})")
MS = 1_000_000


def parse(vtt: str) -> list[tuple[int, int, str]]:
    """Read WebVTT strictly: (start ms, end ms, words) of every cue."""
    header, *blocks = vtt.split("\n\n")
    assert header == "WEBVTT" and blocks.pop() == ""
    cues = []
    for block in blocks:
        times, text = block.split("\n")
        match = TIMES.fullmatch(times)
        assert match, times
        numbers = [int(group) for group in match.groups()]
        start, end = (((h * 60 + m) * 60 + s) * 1000 + ms for h, m, s, ms in (numbers[:4], numbers[4:]))
        assert text.strip() and "-->" not in text and "<" not in text and "\r" not in text
        cues.append((start, end, unescape(text)))
    return cues


def test_a_cue_lasts_until_the_next_begins_but_at_most_the_show_time(tmp_path, new_event):
    with WebVtt(tmp_path / "a.vtt", show_s=3.0) as sink:
        for seconds, text in ((0, "one"), (1.5, "two"), (3600, "three")):
            sink.write(new_event(text, round(seconds * 10**9)))
    assert (tmp_path / "a.vtt").read_text() == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\none\n\n00:00:01.500 --> 00:00:04.500\ntwo\n\n"
        "01:00:00.000 --> 01:00:03.000\nthree\n\n"
    )


TEXTS = st.text("ab<>&-\n\r\t\0 é-->", min_size=1, max_size=12)
STARTS = st.integers(-5000, 10**9) | st.integers(359_990_000, 360_010_000) | st.integers(0, 20)


@settings(deadline=None)
@given(st.lists(st.tuples(STARTS, TEXTS), max_size=8), st.sampled_from([0.0001, 1.0, 30.0]))
def test_the_file_is_valid_after_every_event_with_cues_in_order_and_hardly_overlapping(
    tmp_path_factory, new_event, events, show_s
):
    path = tmp_path_factory.mktemp("vtt") / "a.vtt"
    sink, words = WebVtt(path, show_s), []
    assert parse(path.read_bytes().decode()) == []
    for start_ms, text in events:
        sink.write(new_event(text, start_ms * MS))
        said = " ".join(text.replace("\0", " ").split())
        words += [said] if said else []
        cues = parse(path.read_bytes().decode())
        assert [cue[2] for cue in cues] == words
        assert all(start < end <= start + max(1, round(show_s * 1000)) for start, end, _ in cues)
        for (start, end, _), (next_start, _, _) in itertools.pairwise(cues):
            assert start <= next_start and end <= max(next_start, start + 1)
    sink.close()


def test_an_answer_is_a_cue_with_a_voice_of_its_own(tmp_path, new_event):
    with WebVtt(tmp_path / "a.vtt") as sink:
        sink.write(new_event("red stops", 0))
        sink.write(new_event("two < three", 1000 * MS, kind=KIND_ANSWER, query_id="q1"))
    cue = (tmp_path / "a.vtt").read_text().split("\n\n")[2]
    assert cue == "00:00:01.000 --> 00:00:04.000\n<v Answer>two &lt; three</v>"


def test_gaps_resets_and_empty_words_make_no_cue(tmp_path, new_event):
    with WebVtt(tmp_path / "a.vtt") as sink:
        sink.write(new_event("", kind=KIND_GAP))
        sink.write(new_event("time jumped back by 3.2 s", kind=KIND_RESET))
        sink.write(new_event("", kind=KIND_ANSWER, query_id="q1"))
        sink.write(new_event(" \n"))
    assert parse((tmp_path / "a.vtt").read_text()) == []


def test_times_count_from_the_origin(tmp_path, new_event):
    now_ns = 1_700_000_000_000_000_000
    with WebVtt(tmp_path / "a.vtt", origin_ns=now_ns) as sink:
        sink.write(new_event("hi", now_ns + 2000 * MS))
    assert parse((tmp_path / "a.vtt").read_text()) == [(2000, 5000, "hi")]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_gets_every_cue(tmp_path, new_event):
    os.mkfifo(tmp_path / "pipe")
    received = []
    reader = threading.Thread(target=lambda: received.append((tmp_path / "pipe").read_text()))
    reader.start()
    with WebVtt(tmp_path / "pipe") as sink:
        sink.write(new_event("one", 0))
        sink.write(new_event("two", 1000 * MS))
    reader.join(10)
    assert parse(received[0]) == [(0, 3000, "one"), (1000, 4000, "two")]
