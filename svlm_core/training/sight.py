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

"""What a stream still sees of a clip when it answers, round by round, beside training, which sees it all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from svlm_core.cache.segments import HEAD, Role, Segment
from svlm_core.cache.window import Limits, POLICIES, Retention
from svlm_core.config import StreamConfig


@dataclass(frozen=True)
class Sight:
    """What is in the cache of a stream when a round is to be answered.

    Attributes:
        chunk: number of the round's chunk.
        tokens: all that is seen.
        training_tokens: what training sees, which forgets nothing of a clip.
        rounds: chunks that are there as rounds, their frames included.
        moved: chunks whose words are there as previous text.
    """

    chunk: int
    tokens: int
    training_tokens: int
    rounds: frozenset[int]
    moved: frozenset[int]


@dataclass
class _Piece:
    """A segment in the cache and the chunk it came from."""

    segment: Segment
    origin: int


def sights(segments: Sequence[Segment], config: StreamConfig) -> list[Sight]:
    """Let the stream's own policy decide what stays before each round of a clip.

    Args:
        segments: of a rendered clip.
        config: of the stream: policy, windows.
    """
    limits = Limits(config.window_chunks, config.text_sink_tokens, config.text_window_tokens)
    retain = POLICIES[config.policy].retain
    live = [_Piece(segment, HEAD) for segment in segments if segment.chunk == HEAD]
    before = sum(len(piece.segment.ids) for piece in live)
    seen = []
    for chunk in sorted({segment.chunk for segment in segments} - {HEAD}):
        live = _carried_out(live, retain([piece.segment for piece in live], chunk, limits))
        turn = [segment for segment in segments if segment.chunk == chunk]
        asked = [segment for segment in turn if segment.role in (Role.USER, Role.ANSWER_OPEN)]
        opened = sum(len(segment.ids) for segment in asked)
        seen.append(
            Sight(
                chunk,
                sum(len(piece.segment.ids) for piece in live) + opened,
                before + opened,
                frozenset(piece.segment.chunk for piece in live if piece.segment.chunk != HEAD) | {chunk},
                frozenset(piece.origin for piece in live if piece.segment.chunk == HEAD) - {HEAD},
            )
        )
        live += [_Piece(segment, chunk) for segment in turn]
        before += sum(len(segment.ids) for segment in turn)
    return seen


def _carried_out(live: list[_Piece], retention: Retention) -> list[_Piece]:
    """The cache after a decision: what leaves has left, what moves stands behind the previous text."""
    gone = {*retention.evict, *retention.move}
    moved = [
        _Piece(replace(live[i].segment, role=Role.PREVIOUS, chunk=HEAD), live[i].origin)
        for i in retention.move
    ]
    stays = [piece for i, piece in enumerate(live) if i not in gone]
    old = [piece for piece in stays if piece.segment.role is Role.PREVIOUS] + moved
    return [
        *(piece for piece in stays if piece.segment.role in (Role.SYSTEM, Role.PREVIOUS_OPEN)),
        *_forgotten(old, *retention.forget),
        *(
            piece
            for piece in stays
            if piece.segment.role not in (Role.SYSTEM, Role.PREVIOUS_OPEN, Role.PREVIOUS)
        ),
    ]


def _forgotten(old: list[_Piece], start: int, stop: int) -> list[_Piece]:
    """The old text without its tokens [start, stop)."""
    left, at = [], 0
    for piece in old:
        ids = piece.segment.ids
        kept = [token for place, token in enumerate(ids, at) if not start <= place < stop]
        at += len(ids)
        if kept or piece.origin == HEAD:
            left.append(_Piece(replace(piece.segment, ids=kept), piece.origin))
    return left
