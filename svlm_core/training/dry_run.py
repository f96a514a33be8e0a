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

"""What a fine-tuning would do, before it does it: counts, memory, and the first row as it will be seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast, Protocol

from svlm_core.model.adapter import StreamModel
from svlm_core.training.arithmetic import activation_bytes, memory, row_flops
from svlm_core.training.finetune_recipe import FinetuneRecipe
from svlm_core.training.packing import Pack
import torch

_GIB = 1 << 30
_UNITS = ("", "k", "M", "G", "T", "P", "E", "Z")
_LOOKED_AT = 8  # rows, spread over all, from which the others are judged


class Packs(Protocol):
    """Rows of clips."""

    def __len__(self) -> int:
        """How many."""

    def pack(self, index: int) -> Pack:
        """One of them."""


def describe(
    recipe: FinetuneRecipe, model: StreamModel, clips: int, steps: int, rows: Packs
) -> Iterator[str]:
    """Lines for people.

    Args:
        recipe: what is to be done.
        model: with what learns chosen already; its weights need not be there.
        clips: how many there are.
        steps: optimiser steps.
        rows: of all epochs.

    Raises:
        SourceError: not one clip of a row that is looked at can be read.
    """
    parameters = list(model.hf.parameters())
    everything = sum(p.numel() for p in parameters)
    learned = sum(p.numel() for p in parameters if p.requires_grad)
    yield f"model    {model.name}: {_short(everything)} parameters, {_short(learned)} of them learn"
    yield (
        f"clips    {clips} x {recipe.epochs} epochs, {recipe.clips_per_row} in a row, "
        f"{recipe.rows_per_step} rows in a step: {steps} steps"
    )
    seen = [rows.pack(len(rows) * k // _LOOKED_AT) for k in range(min(_LOOKED_AT, len(rows)))]
    yield from _memory(recipe, model, seen)
    yield from _work(recipe, model, seen, steps, len(rows))
    first = seen[0]
    tokens, spoken = first.ids.numel(), int((first.weights > 0).sum())
    visual = int((first.ids == model.video_token_id).sum())
    yield f"row 0    {tokens} tokens: {visual} visual, {tokens - visual - spoken} given, {spoken} learned"
    yield "row 0, what is learned in [brackets]:"
    yield "".join(_text(first, model))


def _memory(recipe: FinetuneRecipe, model: StreamModel, rows: Sequence[Pack]) -> Iterator[str]:
    kept = memory(model, recipe)
    largest = max(activation_bytes(model, recipe, row) for row in rows)
    parts = kept.weights, kept.gradients, kept.optimizer, largest
    weights, gradients, optimizer, activations = (f"{part / _GIB:.2f} GiB" for part in parts)
    yield (
        f"memory   weights {weights}, gradients {gradients}, Adam {optimizer}, activations of a row about "
        f"{activations}: {sum(parts) / _GIB:.2f} GiB on one device"
    )
    if recipe.sharded:
        yield "         sharded over N devices each has an Nth of it, but for the activations"


def _work(
    recipe: FinetuneRecipe, model: StreamModel, rows: Sequence[Pack], steps: int, count: int
) -> Iterator[str]:
    tokens = sum(row.ids.numel() for row in rows) / len(rows)
    flops = sum(row_flops(model, recipe, row) for row in rows) / len(rows)
    in_step = min(recipe.rows_per_step, count)
    yield (
        f"tokens   about {tokens:.0f} in a row, {_short(tokens * in_step)} in a step, "
        f"{_short(tokens * count / recipe.epochs)} in an epoch (from {len(rows)} rows)"
    )
    yield (
        f"work     about {_short(flops * in_step)} floating point operations in a step, "
        f"{_short(flops * count)} in {steps} steps"
    )


def _short(number: float) -> str:
    """With a unit: 1.3 M."""
    unit = 0
    while number >= 1000 and unit < len(_UNITS) - 1:
        number, unit = number / 1000, unit + 1
    return f"{number:.3g} {_UNITS[unit]}".rstrip()


def _text(row: Pack, model: StreamModel) -> Iterator[str]:
    """The row in words: runs of given, learned and visual tokens."""
    kinds = torch.where(row.ids[0] == model.video_token_id, 2, (row.weights[0] > 0).long())
    values, counts = torch.unique_consecutive(kinds, return_counts=True)
    start = 0
    for kind, count in zip(values.tolist(), counts.tolist(), strict=True):
        words = cast(str, model.tokenizer.decode(row.ids[0, start : start + count]))
        yield f"<{count} visual tokens>" if kind == 2 else f"[{words}]" if kind else words
        start += count
