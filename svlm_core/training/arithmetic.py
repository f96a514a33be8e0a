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

"""What a fine-tuning costs, counted from the model's shape: bytes of memory and floating point operations.

Good to a factor of 1.25: tests measure the same on a small model. Nothing of it needs the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from svlm_core.model.adapter import StreamModel
from svlm_core.training.finetune_recipe import FinetuneRecipe
from svlm_core.training.packing import Pack
from torch import nn

_ADAM_STATES = 2
_FLOAT_BYTES = 4
# of NF4 with its scales rounded too (QLoRA, arXiv 2305.14314, section 3): 4 + 8 / 64 + 32 / (64 * 256) bits
_NF4_BYTES = (4 + 8 / 64 + 32 / (64 * 256)) / 8
_LOSS_COPIES = 3  # logits, their logarithms, and the gradient of those


@dataclass(frozen=True)
class Memory:
    """Bytes, over all devices.

    Attributes:
        weights: of the whole model.
        gradients: of what learns.
        optimizer: Adam's states of what learns.
    """

    weights: int
    gradients: int
    optimizer: int


def memory(model: StreamModel, recipe: FinetuneRecipe) -> Memory:
    """What stays from step to step, whatever the rows."""
    weights = learned = 0.0
    rounded = bool(recipe.lora and recipe.lora.base)
    for name, parameter in model.hf.named_parameters():
        size = parameter.numel() * parameter.element_size()
        learned += size * parameter.requires_grad
        in_four_bits = rounded and name.endswith(".base_layer.weight")
        weights += parameter.numel() * _NF4_BYTES if in_four_bits else size
    return Memory(round(weights), round(learned), round(_ADAM_STATES * learned))


def activation_bytes(model: StreamModel, recipe: FinetuneRecipe, row: Pack) -> int:
    """What the forward pass of a row keeps for the backward one, on the device that computes it."""
    shape = _Shape.of(model, row)
    hf: Any = model.hf
    half = bool(recipe.trainer.get("bf16") or recipe.trainer.get("fp16"))
    item = 2 if half else model.dtype.itemsize
    total = _LOSS_COPIES * shape.learned * model.vocab_size * _FLOAT_BYTES
    text = hf.config.get_text_config(decoder=True)
    # a norm keeps what comes in, that scaled to one, and what goes out; attention queries, keys and values of
    # each query head, and what it found; the MLP its products, the gate and what was let through
    layer = shape.tokens * (
        6 * text.hidden_size + 4 * text.num_attention_heads * model.head_dim + 4 * text.intermediate_size
    )
    total += _kept(layer, shape.tokens * text.hidden_size, model.layers, recipe) * item
    if recipe.vision:
        tower = hf.config.vision_config
        wide = getattr(tower, "embed_dim", None) or tower.hidden_size
        inner = getattr(tower, "intermediate_size", None) or round(wide * getattr(tower, "mlp_ratio", 4))
        block = shape.patches * (6 * wide + 4 * wide + 4 * inner)
        depth = getattr(tower, "depth", None) or tower.num_hidden_layers
        total += _kept(block, shape.patches * wide, depth, recipe) * item
    return total


def row_flops(model: StreamModel, recipe: FinetuneRecipe, row: Pack) -> int:
    """Operations of one row, forward and backward; a multiplication and an addition are two."""
    shape, hf = _Shape.of(model, row), model.hf
    language = _linear_weights(hf.model.language_model)
    text = hf.config.get_text_config(decoder=True)
    # queries with keys, and what was found with values: all of the row with all of it, masked or not
    seen = 4 * shape.tokens**2 * text.num_attention_heads * model.head_dim * model.layers
    decoder = 2 * language * shape.tokens + seen
    head = 2 * model.hidden_size * model.vocab_size * shape.learned
    merging = getattr(hf.model.visual, "merger", None)
    merger = _linear_weights(merging) if merging is not None else 0
    tower = 2 * ((_linear_weights(hf.model.visual) - merger) * shape.patches + merger * shape.visual)
    learns = recipe.language and not recipe.lora
    return (
        _passes(recipe.vision, recipe.vision, recipe) * tower
        + _passes(True, learns, recipe) * decoder
        + (3 if learns else 2) * head
    )


@dataclass(frozen=True)
class _Shape:
    """What a row is made of.

    Attributes:
        tokens: all of them.
        learned: those that are targets.
        visual: those that are seen.
        patches: rows of what the vision tower takes.
    """

    tokens: int
    learned: int
    visual: int
    patches: int

    @classmethod
    def of(cls, model: StreamModel, row: Pack) -> _Shape:
        visual = int((row.ids == model.video_token_id).sum())
        patches = sum(v.grid[0] * v.grid[1] * v.grid[2] for v in row.vision)
        return cls(row.ids.numel(), int((row.weights > 0).sum()), visual, patches)


def _kept(layer: int, between: int, layers: int, recipe: FinetuneRecipe) -> int:
    """Numbers that a stack of layers keeps: all, or what lies between them and all of the one in work."""
    return layers * between + layer if recipe.gradient_checkpointing else layers * layer


def _passes(differentiated: bool, learns: bool, recipe: FinetuneRecipe) -> int:
    """Times as many operations as forward: gradients of what comes in, and of weights, cost as much each."""
    return 1 + differentiated * (1 + learns + recipe.gradient_checkpointing)


def _linear_weights(module: nn.Module) -> int:
    return sum(
        layer.weight.numel()
        for layer in module.modules()
        if isinstance(layer, (nn.Linear, nn.Conv3d, nn.Conv2d))
    )
