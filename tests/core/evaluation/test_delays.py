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

"""How late words come: by hand, and the two ways of counting against each other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from svlm_core.evaluation.delays import Delays, LATEST_S, recorded_delays
from svlm_core.evaluation.truth import Heard, Truth

S = 10**9
WORDS = st.sampled_from(["", "", "a", "b", "c"])


def test_words_that_come_late_are_told_by_how_late() -> None:
    delays = Delays()
    spoken = [("red stops", "red stops"), ("", "new blue 1"), ("", ""), ("new blue 1", "")]
    for said, truth in [*spoken, ("", "red gone up"), *[("", "")] * LATEST_S, ("red gone up", "")]:
        delays = Delays(delays.counts, delays.waiting)  # as after a restart
        delays.add(said, truth)
    assert delays.counts == [1, 0, 1, 0, 0, 0, 1]
    assert delays.shares == {"0 s": 0.3333, "1 s": 0.0, "2 s": 0.3333} | dict.fromkeys(
        ("3 s", "4 s", "5 s"), 0.0
    ) | {"missed": 0.3333}


def test_a_sentence_said_once_counts_for_one_event() -> None:
    delays = Delays()
    for said, truth in (("", "a"), ("a", "a"), ("a", "")):
        delays.add(said, truth)
    assert delays.counts[:3] == [0, 2, 0]


def truth(start_s: float, text: str, end_s: float | None = None) -> Truth:
    return Truth(round(start_s * S), round((start_s + 1 if end_s is None else end_s) * S), text)


def heard(start_s: float, text: str, length_s: float = 1.0) -> Heard:
    return Heard(round(start_s * S), round((start_s + length_s) * S), text)


def test_delays_of_a_recording_by_hand() -> None:
    truths = [truth(0, ""), truth(0.5, "a", 9), truth(1, "b"), truth(2, "b"), truth(2.5, "c")]
    chunks = [heard(0, "a", 2), heard(2, "b", 2), heard(4, "b", 2), heard(6, "", 2), heard(20, "c", 2)]
    # a: in its own chunk; b: 1 s late; the second b: 2 s late, once each; c: too late, across a gap
    assert recorded_delays(truths, chunks).counts == [1, 1, 1, 0, 0, 0, 1]
    assert recorded_delays(truths, []).counts == [0] * (LATEST_S + 2)
    rates = recorded_delays(truths, chunks).rates
    assert rates["missed"] == {"mean": 0.25, "low": None, "high": None, "n": 1}


@given(st.lists(st.tuples(WORDS, WORDS), max_size=40))
def test_a_recording_of_seconds_is_counted_as_a_stream_is(seconds: list[tuple[str, str]]) -> None:
    stream = Delays()
    for said, true in seconds:
        stream.add(said, true)
    truths = [truth(k, true) for k, (_, true) in enumerate(seconds)]
    recorded = recorded_delays(truths, [heard(k, said) for k, (said, _) in enumerate(seconds)])
    assert recorded.counts == stream.counts
