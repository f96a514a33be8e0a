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

"""The cached context of one stream: which tokens are in the arena, in which order, and where they stand.

RoPE sees only differences of positions. When a block leaves between the head (system turn, previous text)
and the recent chunks, differences inside the recent chunks stay as they are; only the head comes closer. So
the recent keys are left alone and the head's keys, kept un-rotated in float32 beside the arena, are rotated
to their new places: the cost does not depend on the window, and rounding does not add up with age. Speech
that grows old changes its place only, from its chunk to the end of the previous text.

Under a policy with native positions nothing is ever rotated again; under one that recomputes, `restart` makes
everything pending.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple
from itertools import takewhile
from typing import Any

import numpy as np
from svlm_core.cache.arena import KVArena
from svlm_core.cache.segments import HEAD, Role, Segment, VisionSpan
from svlm_core.cache.window import Retention
import torch
from torch import Tensor

Rotate = Callable[..., Tensor]  # StreamModel.rotate


class CachedContext:
    """The live tokens of one stream, in logical order.

    Attributes:
        arena: storage; only this class changes it between forward passes.
        segments: everything the model has been given or has said, oldest first. The last tokens may not be in
            the arena yet: see `pending`.
        origin: absolute position of the head's first token.
        next_position: absolute position at which the next token continues.
    """

    def __init__(self, arena: KVArena, rotate: Rotate, vocabulary: int, contiguous: bool = True) -> None:
        """Start empty.

        Args:
            arena: storage.
            rotate: the model's rotary embedding (StreamModel.rotate).
            vocabulary: number of token ids.
            contiguous: see svlm_core.cache.window.Policy.
        """
        self.arena = arena
        self.segments: list[Segment] = []
        self._tokens = 0  # in all segments
        self._counts = torch.zeros(vocabulary, dtype=torch.int32, device=arena.keys.device)
        self._changes: tuple[list[int], list[int]] = (
            [],
            [],
        )  # ids, and what is to be added to the count of each
        self._slot_of = np.empty(arena.capacity, np.int64)
        self._position_of = np.empty((3, arena.capacity), np.float32)
        self._rotate, self._contiguous = rotate, contiguous
        self.restart()

    def restart(self) -> None:
        """Empty the arena; every segment is pending again, from position 0."""
        self.arena.clear()
        self.origin = 0.0
        self.next_position = 0.0
        self._cached = 0
        # Un-rotated, float32 [layers, kv_heads, tokens, head_dim]: the head's, each chunk's speech.
        self._head_keys: Tensor | None = None
        self._speech_keys: dict[int, Tensor] = {}

    @property
    def ids(self) -> list[int]:
        """All token ids in logical order, pending ones included."""
        return [i for segment in self.segments for i in segment.ids]

    @property
    def pending(self) -> int:
        """Tokens at the end that the model has not been run on yet."""
        return self._tokens - self._cached

    @property
    def cached_tokens(self) -> int:
        """Tokens in the arena."""
        return self._cached

    @property
    def counts(self) -> Tensor:
        """How often each token id is in the segments, int32 [vocabulary], on the arena's device."""
        if self._changes[0]:  # all that came since the last pass, as one kernel
            index, change = torch.tensor(self._changes, device=self._counts.device)
            self._counts.index_add_(0, index, change.int())
            self._changes = [], []
        return self._counts

    @property
    def positions(self) -> Tensor:
        """Positions counted from the head's first token, float32 [3, cached tokens], logical order."""
        return torch.from_numpy(self._positions - np.float32(self.origin))

    @property
    def slots(self) -> np.ndarray:
        """Arena slot of each cached token, int64 [cached tokens], logical order."""
        return self._slot_of[: self._cached]

    @property
    def _positions(self) -> np.ndarray:
        """Absolute M-RoPE position of each cached token, float32 [3, cached tokens], logical order."""
        return self._position_of[:, : self._cached]

    def freeze(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that `thaw` needs to go on from here to the same numbers: tensors, and JSON's types.

        Raises:
            RuntimeError: a chunk is in work.
        """
        if any(segment.features is not None for segment in self.segments):
            raise RuntimeError("freeze() between chunks only")
        live = self.arena.length
        tensors = {
            "kv": self.arena.kv[:, :, :, :live].contiguous(),
            "slots": torch.from_numpy(self.slots),
            "positions": torch.from_numpy(self._positions),
            **{f"speech.{chunk}": keys for chunk, keys in self._speech_keys.items()},
        }
        if self._head_keys is not None:
            tensors["head"] = self._head_keys
        segments = [
            (segment.role.value, segment.chunk, segment.ids, segment.vision and astuple(segment.vision))
            for segment in self.segments
        ]
        plain = {"segments": segments, "origin": self.origin, "next_position": self.next_position}
        return tensors, plain

    def thaw(self, tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> None:
        """Go on from where another context was frozen; this one is empty, and has room for it.

        Raises:
            CacheFullError: it has not.
        """
        self.arena.reserve(live := tensors["kv"].shape[3])
        self.arena.extend(live)
        self.arena.kv[:, :, :, :live] = tensors["kv"].to(self.arena.kv)
        self._cached = len(tensors["slots"])
        self._slot_of[: self._cached] = tensors["slots"].numpy()
        self._position_of[:, : self._cached] = tensors["positions"].numpy()
        self.origin, self.next_position = plain["origin"], plain["next_position"]
        keys = {name: tensor.to(self.arena.kv.device) for name, tensor in tensors.items()}
        self._head_keys = keys.get("head")
        self._speech_keys = {
            int(name.removeprefix("speech.")): tensor
            for name, tensor in keys.items()
            if name.startswith("speech.")
        }
        for role, chunk, ids, vision in plain["segments"]:
            span = vision and VisionSpan(vision[0], vision[1], tuple(vision[2]))
            self.append(Segment(Role(role), chunk, list(ids), span))

    def append(self, *segments: Segment) -> None:
        """Add segments at the end; their tokens are pending."""
        self.segments += segments
        self._tokens += sum(len(segment.ids) for segment in segments)
        self._count([i for segment in segments for i in segment.ids], 1)

    def say(self, token: int) -> None:
        """Add a token to the last segment; it is pending."""
        self.segments[-1].ids.append(token)
        self._tokens += 1
        self._counts[token] += 1

    def end_speech(self, speech: list[int], close: Segment) -> None:
        """Settle what the last segment says, and close the turn; may take pending tokens back."""
        self._count(self.segments[-1].ids, -1)
        self._tokens += len(speech) - len(self.segments[-1].ids)
        self.segments[-1].ids = speech
        self._count(speech, 1)
        self.append(close)

    def extend(self, positions: np.ndarray, next_position: float) -> None:
        """Take over the tokens that a forward pass has just written into the arena.

        Args:
            positions: their absolute positions, float32 [3, L]; they are the first L pending tokens.
            next_position: where the token after them continues.
        """
        before, self._cached = self._cached, self._cached + positions.shape[1]
        self._slot_of[before : self._cached] = self.arena.extend(positions.shape[1])
        self._position_of[:, before : self._cached] = positions
        self.next_position = next_position

    def drop_pending(self) -> None:
        """Cut off the tokens that the model has not been run on."""
        excess = self.pending
        for segment in reversed(self.segments):
            kept = len(segment.ids) - min(excess, len(segment.ids))
            excess -= len(segment.ids) - kept
            self._count(segment.ids[kept:], -1)
            segment.ids = segment.ids[:kept]
        self._tokens = self._cached

    def remember_text(self) -> None:
        """Keep the un-rotated keys of the head and of finished speech, while they were rounded only once.

        Call after a prefill, when nothing that is finished is pending.
        """
        if not self._contiguous:
            return
        spans = self._spans()
        if self._head_keys is None:
            self._head_keys = self._unrotated(0, self._head_tokens())
        for segment, (start, stop) in zip(self.segments, spans, strict=True):
            if segment.role is Role.SPEECH and segment.ids and segment.chunk not in self._speech_keys:
                self._speech_keys[segment.chunk] = self._unrotated(start, stop)

    def retain(self, retention: Retention) -> None:
        """Carry out a policy's decision: evict, move, forget, and rotate the head to where it now stands.

        No token of an evicted or moved segment may be pending; those of the segments that stay may.
        """
        if not retention:
            return
        spans = self._spans()
        moved = [self.segments[i] for i in retention.move]
        going = {*retention.evict, *retention.move}
        at = next(i for i, segment in enumerate(self.segments) if segment.role is Role.PREVIOUS)
        previous = self.segments[at]
        # The old text grows by the moved speech, then loses its middle.
        tokens = _indices([spans[at], *(spans[i] for i in retention.move)])
        start, stop = retention.forget
        before = np.arange(spans[at][0])
        stays = np.ones(self._tokens, bool)
        for i in going:
            stays[slice(*spans[i])] = False
        after = spans[at][1] + np.flatnonzero(
            stays[spans[at][1] : self._cached]
        )  # what is pending stays pending
        order = np.concatenate([before, tokens[:start], tokens[stop:], after])
        leaving = np.concatenate([tokens[start:stop], _indices([spans[i] for i in retention.evict])])
        if self._contiguous:
            self._keep_head_keys(moved, len(before), spans[at][1], start, stop)
        text = previous.ids + [i for segment in moved for i in segment.ids]
        self._count(text[start:stop] + [i for k in retention.evict for i in self.segments[k].ids], -1)
        self._tokens -= len(leaving)
        previous.ids = text[:start] + text[stop:]
        renamed = self.arena.evict(self.slots[leaving])
        self._slot_of[: len(order)] = renamed[self.slots[order]]
        self._position_of[:, : len(order)] = self._positions[:, order]
        self._cached = len(order)
        self.segments = [segment for i, segment in enumerate(self.segments) if i not in going]
        if self._contiguous:
            self._place_head()

    def rebase(self) -> None:
        """Once the head has come to positive positions, count anew so that the next token stands at 0.

        Float32 angles are finest around 0: positions stay between minus and plus one context length, however
        long the stream. Differences, and so all results, are unchanged. A recent key is rotated here at most
        once in its life: by the next time, the head stands where it stood.
        """
        if self.origin <= 0 or not self._contiguous:
            return
        head, shift = self._head_tokens(), -self.next_position
        recent = self.slots[head:]
        shifts = torch.full((3, len(recent)), shift, device=self.arena.keys.device)
        self.arena.write_keys(recent, self._rotate(self.arena.read_keys(recent), shifts))
        self._positions[:] += np.float32(shift)
        self.origin += shift
        self.next_position = 0.0
        self._rotate_head()

    def _place_head(self) -> None:
        """Let the head end where the recent chunks begin; without recent chunks it stays where it is."""
        head = self._head_tokens()
        recent = self._positions[:, head:]
        if recent.shape[1] == 0 and self.pending == 0:
            self.next_position = self.origin + head
            origin = self.origin
        else:
            begin = float(recent[0, 0]) if recent.shape[1] else self.next_position
            origin = begin - head
        stands = self._positions[0, :head]
        self.origin = origin
        if not np.array_equal(stands, np.arange(head, dtype=np.float32) + np.float32(origin)):
            self._rotate_head()

    def _rotate_head(self) -> None:
        head = self._head_tokens()
        # text: all axes alike
        self._positions[:, :head] = np.arange(head, dtype=np.float32) + np.float32(self.origin)
        keys = self._rotate(self._head_keys, self._positions_of(0, head))
        self.arena.write_keys(self.slots[:head], keys)

    def _keep_head_keys(
        self, moved: Sequence[Segment], text: int, text_end: int, start: int, stop: int
    ) -> None:
        """The head's un-rotated keys after the move: before, old text + moved speech - middle, after."""
        keys = self._head_keys
        if keys is None:
            raise RuntimeError("retain() before the first remember_text()")
        speech = [self._speech_keys[segment.chunk] for segment in moved]
        if stop <= text_end - text:  # what is forgotten was old before: copy once
            parts = [keys[..., : text + start, :], keys[..., text + stop : text_end, :], *speech]
        else:
            grown = torch.cat([keys[..., text:text_end, :], *speech], dim=-2)
            parts = [keys[..., :text, :], grown[..., :start, :], grown[..., stop:, :]]
        self._head_keys = torch.cat([*parts, keys[..., text_end:, :]], dim=-2)
        for segment in moved:
            del self._speech_keys[segment.chunk]

    def _unrotated(self, start: int, stop: int) -> Tensor:
        """Un-rotated keys of the tokens [start, stop) in logical order, float32."""
        keys = self.arena.read_keys(self.slots[start:stop])
        return self._rotate(keys, self._positions_of(start, stop), inverse=True)

    def _positions_of(self, start: int, stop: int) -> Tensor:
        """Absolute positions [3, n] of the tokens [start, stop) in logical order, on the arena's device."""
        return torch.from_numpy(self._positions[:, start:stop]).to(self.arena.keys.device)

    def _count(self, ids: list[int], change: int) -> None:
        self._changes[0].extend(ids)
        self._changes[1].extend([change] * len(ids))

    def _head_tokens(self) -> int:
        head = takewhile(lambda segment: segment.chunk == HEAD, self.segments)
        return sum(len(segment.ids) for segment in head)

    def _spans(self) -> list[tuple[int, int]]:
        """[start, stop) of each segment in logical order."""
        stops = np.cumsum([len(segment.ids) for segment in self.segments]).tolist()
        return list(zip([0, *stops[:-1]], stops, strict=True)) if stops else []


def _indices(spans: Sequence[tuple[int, int]]) -> np.ndarray:
    """The numbers in some [start, stop), one span behind the other, int64."""
    return np.concatenate([np.empty(0, np.int64), *(np.arange(*span, dtype=np.int64) for span in spans)])
