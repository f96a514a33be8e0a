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

"""Runs what streams ask of the model, many streams at once."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
import math
from typing import Any, cast, TypeVar

from svlm_core.errors import NumericsError
from svlm_core.model.adapter import StreamModel, VisionInput
from svlm_core.model.decoder import Piece
from svlm_core.stream.graphs import GraphDecoder
from svlm_core.stream.lanes import VisionLane
import torch
from torch import Tensor

Choose = Callable[[Tensor, Tensor], Tensor | int]  # (logits [vocabulary], counts [vocabulary]) -> token id

# The kernel a BLAS takes for a matrix product, and so its rounding, depends on the number of rows. Passes are
# padded to a multiple of this; measured with one and two threads, float32 and bfloat16: a row's numbers then
# do not depend on the others.
_BATCH_ROWS = 8
_BATCH_VISUAL_TOKENS = 16  # the same for the vision tower, whose products have a row for each of these

_NOT_FINITE = (
    "the model gave NaN or infinite scores; this stream has forgotten everything and begins anew "
    "(is the checkpoint damaged, or made for another dtype?)"
)


@dataclass(frozen=True)
class Encode:
    """Frames to encode; answered with their features [vision.tokens, feature_size]."""

    vision: VisionInput


@dataclass(frozen=True)
class Forward:
    """Tokens to run through the decoder; answered with the next token's id, None if nobody chooses it.

    Attributes:
        piece: the tokens and their stream's cache.
        choose: picks the next token; None where only the cache is wanted.
        counts: int32 [vocabulary], how often each id is in the stream's context.
    """

    piece: Piece
    choose: Choose | None
    counts: Tensor


Work = Encode | Forward
Answer = Tensor | int | Exception | None
_Result = TypeVar("_Result")


class Runner:
    """One model on one device; whoever holds it runs one batch at a time."""

    def __init__(self, model: StreamModel, batched: bool = False) -> None:
        """Run works on `model`.

        Args:
            model: used by one thread at a time.
            batched: a stream's numbers shall not depend on who else is in a batch; costs a few rows.
        """
        self._model = model
        self._rows = _BATCH_ROWS if batched else 1
        self._visual_tokens = _BATCH_VISUAL_TOKENS if batched else 1
        on_gpu = model.device.type == "cuda"
        self._graphs = GraphDecoder(model) if on_gpu else None
        self._lane = VisionLane(model.encode_vision, model.device) if on_gpu else None

    @torch.inference_mode()
    def run(self, works: Sequence[Work]) -> list[Answer]:
        """Do the works, each kind as one batch.

        Args:
            works: of distinct streams.

        Returns:
            The answers, in the order of the works; an exception where one stream's work failed alone.
        """
        answers: dict[int, Answer] = {}
        same_size: dict[tuple[int, ...], dict[int, VisionInput]] = {}
        forwards: dict[int, Forward] = {}
        for i, work in enumerate(works):
            if isinstance(work, Encode):
                size = work.vision.grid[1:]
                same_size.setdefault(size, {})[i] = work.vision
            else:
                forwards[i] = work
        for visions in same_size.values():
            answers |= zip(visions, self._encode(list(visions.values())), strict=True)
        if forwards:
            answers |= zip(forwards, self._forward(list(forwards.values())), strict=True)
        return [answers[i] for i in range(len(works))]

    def _encode(self, visions: list[VisionInput]) -> list[Tensor]:
        """Features of frames of one size, one pass."""
        tokens = [vision.tokens for vision in visions]
        filling = max(0, -(-(self._visual_tokens - sum(tokens)) // tokens[0]))
        encode = self._lane.encode if self._lane else self._model.encode_vision
        features = encode(VisionInput.join([*visions, *visions[:1] * filling]))
        return list(features[: sum(tokens)].split(tokens))

    def _forward(self, batch: Sequence[Forward]) -> list[int | Exception | None]:
        """One pass of all pieces, one choice for each, one read-back to the CPU for all."""
        pieces = [work.piece for work in batch]
        logits = self._graphs(pieces, self._packed) if self._graphs else self._packed(pieces)
        answers: list[int | Exception | None] = [None] * len(batch)
        chosen: dict[int, Tensor] = {}
        for i, work in enumerate(batch):
            if work.choose is None:
                continue
            try:
                chosen[i] = torch.as_tensor(work.choose(logits[i], work.counts), device=logits[i].device)
            except Exception as error:  # a stream's choice is its own affair
                answers[i] = error
        if chosen:
            tokens = torch.stack(list(chosen.values())).tolist()
            sums = torch.stack([logits[i].sum() for i in chosen]).tolist()  # not finite if one score is not
            for i, token, total in zip(chosen, tokens, sums, strict=True):
                answers[i] = token if math.isfinite(total) else NumericsError(_NOT_FINITE)
        return answers

    def _packed(self, pieces: Sequence[Piece]) -> Sequence[Tensor]:
        """The logits behind each piece, float32 [vocabulary], at least; one pass."""
        if self._lane and any(piece.visual for piece in pieces):
            self._lane.join()
        last = self._model.decoder(pieces, self._rows)  # [n, hidden]
        if padding := -len(last) % self._rows:
            last = torch.cat([last, last.new_zeros(padding, last.shape[1])])
        return self._model.head(last).unbind()  # n + padding


def drive(steps: Generator[Work, Any, _Result], run: Callable[[Sequence[Work]], list[Answer]]) -> _Result:
    """Take one stream's steps to their end with `run` (Runner.run); its errors are those of the steps."""
    try:
        work = next(steps)
        while True:
            (answer,) = run([work])
            work = steps.throw(answer) if isinstance(answer, Exception) else steps.send(answer)
    except StopIteration as end:
        return cast(_Result, end.value)
