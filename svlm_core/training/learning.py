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

"""Which weights of a model learn: all, by LoRA, or by LoRA on top of weights of four bits."""

from __future__ import annotations

from typing import Any

from svlm_core.errors import ConfigError, MissingPackageError
from svlm_core.model.adapter import StreamModel
from svlm_core.training.finetune_recipe import FinetuneRecipe, Lora, NF4
import torch
from torch import nn
from transformers.integrations.liger import apply_liger_kernel


def choose_what_learns(model: StreamModel, recipe: FinetuneRecipe) -> Any:
    """Set what is trained.

    Returns:
        The PEFT model around `model.hf` where LoRA is used, else None.

    Raises:
        ConfigError: the model's family cannot be trained.
        MissingPackageError: says what to install.
    """
    hf: Any = model.hf
    if not hasattr(hf.model, "visual"):
        raise ConfigError(
            f"{model.name}: models of type {hf.config.model_type} can be streamed, not trained; take a Qwen"
        )
    hf.requires_grad_(False)
    adapted = None
    if recipe.language and recipe.lora:
        adapted = _adapt(hf, recipe.lora)
    elif recipe.language:
        hf.model.language_model.requires_grad_(True)
        hf.lm_head.requires_grad_(True)
    hf.model.visual.requires_grad_(recipe.vision)
    if recipe.trainer.get("use_liger_kernel"):
        # not left to Trainer, which applies it to PreTrainedModels only and would pass by our objective
        ours = {"cross_entropy": False, "fused_linear_cross_entropy": False}  # the loss is our own
        apply_liger_kernel(hf, {**ours, **(recipe.trainer.get("liger_kernel_config") or {})})
    if recipe.gradient_checkpointing:
        hf.gradient_checkpointing_enable({"use_reentrant": False})
    return adapted


def merged(adapted: Any) -> Any:
    """The plain model that answers as the adapted one does.

    Weights of four bits come back as the numbers that they stood for in training, not as the base's own: what
    LoRA learned belongs to those. No low-rank layer is left.
    """
    for name, layer in [*adapted.get_base_model().named_modules()]:
        if type(layer).__name__ == "Linear4bit" and hasattr(layer, "get_delta_weight"):
            adapted.get_base_model().set_submodule(name, _plain(layer))
    return adapted.merge_and_unload()


def _adapt(hf: Any, lora: Lora) -> Any:
    try:
        from peft import get_peft_model, LoraConfig
    except ImportError:
        raise MissingPackageError("LoRA needs the package peft: pip install 'svlm_ros[train]'") from None
    linear = [
        name
        for name, layer in hf.named_modules()
        if isinstance(layer, nn.Linear) and ".language_model.layers." in f".{name}"
    ]
    if lora.base == NF4 and hf.device.type != "meta":  # without weights there is nothing to round
        _to_four_bits(hf, linear)
    return get_peft_model(
        hf, LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=linear)
    )


def _to_four_bits(hf: Any, names: list[str]) -> None:
    """Round linear layers to NF4, scales rounded too (QLoRA, arXiv 2305.14314), where they are."""
    try:
        from bitsandbytes.nn.modules import Linear4bit, Params4bit
    except ImportError:
        raise MissingPackageError(
            "lora.base nf4 needs the package bitsandbytes: pip install 'svlm_ros[qlora]'"
        ) from None
    for name in names:
        plain = hf.get_submodule(name)
        weight, device = plain.weight.data, plain.weight.device
        rounded = Linear4bit(
            plain.in_features, plain.out_features, False, compute_dtype=weight.dtype, device="meta"
        )
        rounded.weight = Params4bit(weight, requires_grad=False, quant_type=NF4, module=rounded)
        rounded.bias = plain.bias
        rounded.quant_state = None
        # else the first pass in eval mode packs the weights for bfloat16, out of which no training leads
        rounded.support_avx512bf16_for_cpu = False
        hf.set_submodule(name, rounded.to(device))
    hf.is_loaded_in_4bit = True  # by which PEFT tells


def _plain(layer: Any) -> nn.Linear:
    """A linear layer of a low-rank one around four bits."""
    from bitsandbytes.functional import dequantize_4bit

    base = layer.get_base_layer()
    weight = dequantize_4bit(base.weight.data, base.weight.quant_state)
    plain = nn.Linear(base.in_features, base.out_features, base.bias is not None, device="meta")
    with torch.no_grad():
        for adapter in layer.active_adapters:
            weight = weight + layer.get_delta_weight(adapter).to(weight.dtype)
    plain.weight, plain.bias = nn.Parameter(weight), base.bias
    return plain
