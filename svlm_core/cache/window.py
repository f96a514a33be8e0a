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

"""What stays in the cache: pure functions of the segments. A policy is a value, not a branch somewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from svlm_core.cache.segments import HEAD, Role, Segment


@dataclass(frozen=True)
class Limits:
    """How much may stay.

    Attributes:
        chunks: chunks whose vision stays, the next one included.
        text_sink: first tokens of the previous text that stay.
        text_window: last tokens of the previous text that stay.
    """

    chunks: int
    text_sink: int
    text_window: int


@dataclass(frozen=True)
class Retention:
    """What leaves, and what moves, before the next chunk.

    Attributes:
        evict: indices of segments whose tokens leave.
        move: indices of SPEECH segments that become the newest previous text, oldest first.
        forget: token range [start, stop) of the previous text, the moved speech included, that leaves.
    """

    evict: tuple[int, ...] = ()
    move: tuple[int, ...] = ()
    forget: tuple[int, int] = (0, 0)

    def __bool__(self) -> bool:
        """Whether anything changes."""
        return bool(self.evict or self.move or self.forget[0] < self.forget[1])


Retain = Callable[[Sequence[Segment], int, Limits], Retention]  # (segments, number of the next chunk, limits)


@dataclass(frozen=True)
class Policy:
    """What stays in the cache, and how it stands there.

    Attributes:
        retain: decides what leaves and what moves before a chunk.
        contiguous: what stays closes ranks, so positions never exceed the window; else every token keeps the
            position it was first given, and positions grow for ever.
        recompute: everything that stays is run through the model again before a chunk.
        bounded: the cache's size follows from the settings; else it is given by full_capacity_tokens.
    """

    retain: Retain
    contiguous: bool = True
    recompute: bool = False
    bounded: bool = True


def trim(tokens: int, limits: Limits) -> tuple[int, int]:
    """The middle part [start, stop) that is forgotten of an old text of `tokens` tokens; empty if it fits."""
    if tokens <= limits.text_sink + limits.text_window:
        return tokens, tokens
    return limits.text_sink, tokens - limits.text_window


def streaming(segments: Sequence[Segment], chunk: int, limits: Limits) -> Retention:
    """As StreamingVLM does (arXiv 2510.09608, section 3.1): sinks, recent vision, and a long window of text.

    Chunks older than the vision window leave; what was said in them moves to the previous text, of which the
    first `text_sink` and the last `text_window` tokens stay.
    """
    old = [i for i, segment in enumerate(segments) if HEAD < segment.chunk <= chunk - limits.chunks]
    move = tuple(i for i in old if segments[i].role is Role.SPEECH and segments[i].ids)
    previous = sum(len(segment.ids) for segment in segments if segment.role is Role.PREVIOUS)
    previous += sum(len(segments[i].ids) for i in move)
    return Retention(tuple(i for i in old if i not in move), move, trim(previous, limits))


def full(segments: Sequence[Segment], chunk: int, limits: Limits) -> Retention:
    """Full attention: everything stays, until the cache is full."""
    return Retention()


def window(segments: Sequence[Segment], chunk: int, limits: Limits) -> Retention:
    """Sliding window without overlap: fills up to the vision window, then starts again from the head."""
    rounds = tuple(i for i, segment in enumerate(segments) if segment.chunk != HEAD)
    full_up = len({segments[i].chunk for i in rounds}) >= limits.chunks
    return Retention(rounds) if full_up else Retention()


def sliding(segments: Sequence[Segment], chunk: int, limits: Limits) -> Retention:
    """Sliding window with overlap: chunks older than the vision window leave, their words with them."""
    return Retention(
        tuple(i for i, segment in enumerate(segments) if HEAD < segment.chunk <= chunk - limits.chunks)
    )


def last_frames(segments: Sequence[Segment], chunk: int, limits: Limits) -> Retention:
    """No memory: the head and the current chunk, nothing else."""
    return Retention(tuple(i for i, segment in enumerate(segments) if segment.chunk != HEAD))


POLICIES: dict[str, Policy] = {
    "streaming": Policy(streaming),
    "full": Policy(full, bounded=False),
    "window": Policy(window),
    "window-recompute": Policy(sliding, recompute=True),
    "native-positions": Policy(streaming, contiguous=False),
    "last-frames": Policy(last_frames),
}
