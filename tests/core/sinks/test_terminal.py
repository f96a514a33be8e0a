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

import io

import pytest
from svlm_core.events import KIND_ANSWER, KIND_GAP, KIND_PARTIAL, KIND_RESET
from svlm_core.sinks.terminal import Terminal


class FakeScreen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def shown(event, stream=None, **options):
    stream = stream or io.StringIO()
    with Terminal(stream, **options) as terminal:
        terminal.write(event)
    assert not stream.closed
    return stream.getvalue()


@pytest.mark.parametrize(
    ("seconds", "clock"), [(0, "00:00.0"), (9.96, "00:09.9"), (61.5, "01:01.5"), (4503.2, "75:03.2")]
)
def test_one_line_with_time_words_and_latency(new_event, seconds, clock):
    event = new_event("red stops", round(seconds * 10**9))
    assert shown(event) == f"[{clock}] red stops   (12 ms)\n"


def test_times_count_from_the_origin(new_event):
    now_ns = 1_700_000_000_000_000_000
    assert shown(new_event("hi", now_ns + 2 * 10**9), origin_ns=now_ns).startswith("[00:02.0] hi")
    assert shown(new_event("hi", now_ns - 1), origin_ns=now_ns).startswith("[00:00.0] hi")


def test_a_gap_is_marked_with_what_was_lost_and_dimmed_only_on_a_screen(new_event):
    event = new_event("", kind=KIND_GAP, frames_dropped={"stale": 3, "rate": 1, "late": 0})
    line = "[00:00.0] -- gap: 4 frames not seen (3 stale, 1 rate) --"
    assert shown(event) == f"{line}\n"
    assert shown(event, FakeScreen()) == f"\x1b[2m{line}\x1b[0m\n"


def test_a_reset_is_marked_with_its_reason_and_dimmed_only_on_a_screen(new_event):
    event = new_event("time jumped back by 3.2 s", kind=KIND_RESET)
    line = "[00:00.0] -- reset: time jumped back by 3.2 s --"
    assert shown(event) == f"{line}\n"
    assert shown(event, FakeScreen()) == f"\x1b[2m{line}\x1b[0m\n"


def test_an_answer_names_its_question_and_says_so_when_it_has_no_words(new_event):
    answer = new_event("two", kind=KIND_ANSWER, query_id="q1")
    assert shown(answer) == "[00:00.0] answer q1: two   (12 ms)\n"
    assert (
        shown(new_event("", kind=KIND_ANSWER, query_id="q2")) == "[00:00.0] answer q2: (no words)   (12 ms)\n"
    )
    assert shown(new_event("two", kind=KIND_ANSWER)) == "[00:00.0] answer: two   (12 ms)\n"
    assert shown(new_event("two", kind=KIND_ANSWER, query_id="\x1b[2J\n")).startswith(
        "[00:00.0] answer [2J: two "
    )


def test_a_models_words_cannot_steer_the_terminal(new_event):
    assert shown(new_event("a\x1b[2Jb\r\n c\x07é")) == "[00:00.0] a [2Jb c é   (12 ms)\n"


def test_partial_words_are_shown_on_a_screen_until_the_next_event_takes_their_line(new_event):
    screen, file = FakeScreen(), io.StringIO()
    for stream in (screen, file):
        with Terminal(stream) as terminal:
            for event in (new_event("red", kind=KIND_PARTIAL), new_event("red " * 500, kind=KIND_PARTIAL)):
                terminal.write(event)
            terminal.write(new_event("red stops"))
            terminal.write(new_event("red goes"))
    assert file.getvalue() == "[00:00.0] red stops   (12 ms)\n[00:00.0] red goes   (12 ms)\n"
    first, second, rest = screen.getvalue().split("\r\x1b[K")[1:]
    assert first == "\x1b[2m[00:00.0] red\x1b[0m" and "\n" not in second and len(second) < 500
    assert rest == file.getvalue()
