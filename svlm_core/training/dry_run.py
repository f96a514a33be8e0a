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

from collections.abc import Iterator
from typing import cast

from svlm_core.model.adapter import StreamModel
from svlm_core.training.finetune_recipe import FinetuneRecipe
from svlm_core.training.packing import Pack
import torch

_ADAM_STATES = 2
_GIB = 1 << 30


def describe(recipe: FinetuneRecipe, model: StreamModel, clips: int, steps: int, row: Pack) -> Iterator[str]:
    """Lines for people.

    Args:
        recipe: what is to be done.
        model: with what learns chosen already.
        clips: how many there are.
        steps: optimiser steps.
        row: the first one.
    """
    parameters = list(model.hf.parameters())
    everything = sum(p.numel() for p in parameters)
    learning = [p for p in parameters if p.requires_grad]
    learned = sum(p.numel() for p in learning)
    weights = sum(p.numel() * p.element_size() for p in parameters)
    states = sum(p.numel() * p.element_size() for p in learning) * (1 + _ADAM_STATES)
    tokens, spoken = row.ids.numel(), int((row.weights > 0).sum())
    visual = int((row.ids == model.video_token_id).sum())
    yield f"model    {model.name}: {everything / 1e6:.1f} M parameters, {learned / 1e6:.1f} M of them learn"
    yield (
        f"memory   weights {weights / _GIB:.2f} GiB, gradients and Adam {states / _GIB:.2f} GiB, "
        "shared by all devices under FSDP; activations come on top and grow with the row"
    )
    yield (
        f"clips    {clips} x {recipe.epochs} epochs, {recipe.clips_per_row} in a row, "
        f"{recipe.rows_per_step} rows in a step: {steps} steps"
    )
    yield f"row 0    {tokens} tokens: {visual} visual, {tokens - visual - spoken} given, {spoken} learned"
    yield "row 0, what is learned in [brackets]:"
    yield "".join(_text(row, model))


def _text(row: Pack, model: StreamModel) -> Iterator[str]:
    """The row in words: runs of given, learned and visual tokens."""
    kinds = torch.where(row.ids[0] == model.video_token_id, 2, (row.weights[0] > 0).long())
    values, counts = torch.unique_consecutive(kinds, return_counts=True)
    start = 0
    for kind, count in zip(values.tolist(), counts.tolist(), strict=True):
        words = cast(str, model.tokenizer.decode(row.ids[0, start : start + count]))
        yield f"<{count} visual tokens>" if kind == 2 else f"[{words}]" if kind else words
        start += count
