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

"""The policies, as what is left after they are applied."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from properties import invariant
import pytest
from svlm_core.cache.segments import HEAD, Role, Segment, VisionSpan
from svlm_core.cache.window import Limits, POLICIES, Retention, trim
from svlm_core.config import POLICIES as NAMES

limits_of = st.builds(
    Limits, chunks=st.integers(1, 6), text_sink=st.integers(0, 8), text_window=st.integers(0, 8)
)


@dataclass
class Stream:
    """A context as a session builds it, and the number of the next chunk."""

    segments: list[Segment]
    chunk: int


@st.composite
def streams(draw: st.DrawFn) -> Stream:
    """Every token has an id of its own, so that order can be checked."""
    ids = iter(range(100_000))

    def segment(role: Role, chunk: int, tokens: int, vision: VisionSpan | None = None) -> Segment:
        return Segment(role, chunk, [next(ids) for _ in range(tokens)], vision)

    segments = [
        segment(Role.SYSTEM, HEAD, 5),
        segment(Role.PREVIOUS_OPEN, HEAD, 3),
        segment(Role.PREVIOUS, HEAD, draw(st.integers(0, 20))),
        segment(Role.PREVIOUS_CLOSE, HEAD, 2),
    ]
    if draw(st.booleans()):
        segments.append(segment(Role.QUERY, HEAD, 4))
    chunk = -1
    for gap in draw(st.lists(st.sampled_from([1, 1, 1, 2, 5]), max_size=8)):
        chunk += gap
        segments += [
            segment(Role.USER, chunk, 6, VisionSpan(2, 3, (1, 2, 6))),
            segment(Role.ANSWER_OPEN, chunk, 2),
            segment(Role.SPEECH, chunk, draw(st.integers(0, 5))),
            segment(Role.ANSWER_CLOSE, chunk, 2),
        ]
    return Stream(segments, chunk + draw(st.integers(1, 7)))


def apply(segments: list[Segment], retention: Retention) -> list[Segment]:
    """What is left, done the simplest way."""
    left = copy.deepcopy(segments)
    (previous,) = (segment for segment in left if segment.role is Role.PREVIOUS)
    for i in retention.move:
        previous.ids += left[i].ids
    start, stop = retention.forget
    del previous.ids[start:stop]
    return [each for i, each in enumerate(left) if i not in retention.evict and i not in retention.move]


def text(segments: list[Segment], role: Role) -> list[int]:
    return [i for segment in segments if segment.role is role for i in segment.ids]


def test_there_is_a_policy_for_every_name_in_the_settings() -> None:
    assert set(POLICIES) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
@invariant
@given(stream=streams(), limits=limits_of)
def test_the_head_stays_the_order_is_kept_and_nothing_is_touched(
    name: str, stream: Stream, limits: Limits
) -> None:
    before = copy.deepcopy(stream.segments)
    retention = POLICIES[name].retain(stream.segments, stream.chunk, limits)
    assert stream.segments == before, "a policy only decides"
    leaving = [*retention.evict, *retention.move]
    assert len(set(leaving)) == len(leaving)
    assert all(before[i].chunk != HEAD for i in leaving), "a part of the head is evicted"
    assert all(before[i].role is Role.SPEECH for i in retention.move)
    left = apply(before, retention)
    head = [segment for segment in before if segment.chunk == HEAD and segment.role is not Role.PREVIOUS]
    assert [each for each in left if each.chunk == HEAD and each.role is not Role.PREVIOUS] == head
    ids = [i for segment in before for i in segment.ids]
    recent = [i for segment in left if segment.chunk != HEAD for i in segment.ids]
    assert recent == [i for i in ids if i in set(recent)], "tokens changed their order"
    old = text(left, Role.PREVIOUS)
    assert old == sorted(old), "the old text is not in the order in which it was said"
    assert bool(retention) == (left != before)


@pytest.mark.parametrize("name", ["streaming", "full", "window-recompute", "native-positions", "last-frames"])
@invariant
@given(stream=streams(), limits=limits_of)
def test_deciding_again_changes_nothing(name: str, stream: Stream, limits: Limits) -> None:
    policy = POLICIES[name].retain
    left = apply(stream.segments, policy(stream.segments, stream.chunk, limits))
    assert not policy(left, stream.chunk, limits)


@invariant
@given(stream=streams(), limits=limits_of)
def test_streaming_keeps_recent_chunks_whole_and_the_ends_of_the_old_text(
    stream: Stream, limits: Limits
) -> None:
    left = apply(stream.segments, POLICIES["streaming"].retain(stream.segments, stream.chunk, limits))
    first = stream.chunk - limits.chunks + 1  # with the next chunk, `chunks` of them
    recent = [segment for segment in stream.segments if segment.chunk >= max(first, 0)]
    assert [segment for segment in left if segment.chunk != HEAD] == recent
    gone = [segment for segment in stream.segments if HEAD < segment.chunk < first]
    said = text(stream.segments, Role.PREVIOUS) + text(gone, Role.SPEECH)
    if len(said) > limits.text_sink + limits.text_window:
        said = said[: limits.text_sink] + said[len(said) - limits.text_window :]
    assert text(left, Role.PREVIOUS) == said


@invariant
@given(stream=streams(), limits=limits_of)
def test_full_attention_keeps_everything(stream: Stream, limits: Limits) -> None:
    assert POLICIES["full"].retain(stream.segments, stream.chunk, limits) == Retention()


@invariant
@given(stream=streams(), limits=limits_of)
def test_the_restarting_window_drops_all_chunks_or_none(stream: Stream, limits: Limits) -> None:
    chunks = {segment.chunk for segment in stream.segments} - {HEAD}
    left = apply(stream.segments, POLICIES["window"].retain(stream.segments, stream.chunk, limits))
    kept = {segment.chunk for segment in left} - {HEAD}
    assert kept == (chunks if len(chunks) < limits.chunks else set())


@invariant
@given(stream=streams(), limits=limits_of)
def test_the_sliding_window_keeps_the_recent_chunks_and_no_other_words(
    stream: Stream, limits: Limits
) -> None:
    left = apply(stream.segments, POLICIES["window-recompute"].retain(stream.segments, stream.chunk, limits))
    first = stream.chunk - limits.chunks + 1
    assert left == [each for each in stream.segments if each.chunk == HEAD or each.chunk >= first]


@invariant
@given(stream=streams(), limits=limits_of)
def test_last_frames_has_no_memory(stream: Stream, limits: Limits) -> None:
    left = apply(stream.segments, POLICIES["last-frames"].retain(stream.segments, stream.chunk, limits))
    assert left == [segment for segment in stream.segments if segment.chunk == HEAD]


@invariant
@given(tokens=st.integers(0, 40), sink=st.integers(0, 12), window=st.integers(0, 12))
def test_only_the_middle_of_a_text_that_does_not_fit_is_forgotten(
    tokens: int, sink: int, window: int
) -> None:
    start, stop = trim(tokens, Limits(1, sink, window))
    assert tokens - (stop - start) == min(tokens, sink + window)
    if start < stop:
        assert (start, tokens - stop) == (sink, window)
