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

"""The numbers a model is run with: half precision where the device has it, and weights of eight bits."""

from __future__ import annotations

from collections.abc import Callable
import logging
from pathlib import Path
import time

from svlm_core.errors import ModelError
from svlm_core.model.adapter import StreamModel
from svlm_core.model.load import find_checkpoint
from svlm_core.model.vision import read_json
import torch
from torch import Tensor
from torch.nn import functional

log = logging.getLogger(__name__)

Seconds = Callable[[Tensor, Tensor], float]  # (x [rows, in], weight [out, in]) -> time of their product

# A chunk's products: one prefill, then a token at a time.
_PREFILL_ROWS, _DECODE_STEPS = 64, 16
_REPEATS = 3
_TOLERATED = 1.1  # times slower than float32, which half the memory is worth and timing may err by


def best_seconds(x: Tensor, weight: Tensor) -> float:
    """The quickest of a few products."""
    times_s = []
    for _ in range(_REPEATS + 1):  # the first sets up the kernel
        begin = time.perf_counter()
        functional.linear(x, weight)
        times_s.append(time.perf_counter() - begin)
    return min(times_s)


@torch.inference_mode()
def slowdown(dtype: torch.dtype, widths: tuple[int, int], seconds: Seconds = best_seconds) -> float:
    """How many times longer than in float32 the products of a chunk take on this CPU.

    Args:
        dtype: of the weights.
        widths: hidden size and width of the MLP: the kernels, and what they cost, depend on them.
        seconds: measures one product.
    """
    took_s = {}
    for each in (torch.float32, dtype):
        weight = torch.ones(widths[1], widths[0], dtype=each)
        prefill, decode = (torch.ones(rows, widths[0], dtype=each) for rows in (_PREFILL_ROWS, 1))
        took_s[each] = seconds(prefill, weight) + _DECODE_STEPS * seconds(decode, weight)
    return took_s[dtype] / took_s[torch.float32]


def affordable_dtype(name: str, dtype: str, device: str, seconds: Seconds = best_seconds) -> str:
    """The dtype to load a checkpoint with: the one asked for, unless this CPU is slower with it.

    Measured with products of the checkpoint's widths, a few milliseconds for a small one. A warning says
    what the dtype would have cost.

    Args:
        name: see load_model, like the rest.
        dtype: see load_model.
        device: see load_model.
        seconds: measures one product.

    Returns:
        `dtype`, or "float32".

    Raises:
        ModelError: the checkpoint cannot be found.
    """
    if dtype == "float32" or not device.startswith("cpu"):
        return dtype
    widths = _widths(find_checkpoint(name))
    if widths is None:
        return dtype  # load_model says what is wrong with the checkpoint
    times = slowdown(getattr(torch, dtype), widths, seconds)
    if times <= _TOLERATED:
        return dtype
    log.warning(
        "%s is slow on this CPU: the matrix products of %s would take %.1f times as long as in float32, "
        "which is used instead; the weights take twice the memory",
        *(dtype, name, times),
    )
    return "float32"


def quantize(model: StreamModel, kind: str) -> None:
    """Round the weights of the decoder's matrix products to eight bits, in place, one scale for each row.

    Vision tower, embeddings, norms and head stay as they are. The products themselves are computed in the
    model's dtype, so this saves memory, and time where reading the weights is what takes it.

    Args:
        model: freshly loaded.
        kind: one of svlm_core.config.QUANTIZATIONS: whole numbers, or floats of the format e4m3.

    Raises:
        ModelError: torchao is not installed.
    """
    try:
        from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig, quantize_
    except ImportError as error:
        raise ModelError(
            f"weights of {kind} need torchao ({error}): pip install 'svlm_ros[quantize]'"
        ) from error
    config = {"int8": Int8WeightOnlyConfig, "fp8": Float8WeightOnlyConfig}[kind]
    quantize_(model.decoder.blocks, config(set_inductor_config=False))


def _widths(folder: Path) -> tuple[int, int] | None:
    """Hidden size and MLP width of a checkpoint's language model, if its config.json has them."""
    path = folder / "config.json"
    config = read_json(path) if path.is_file() else {}
    text = {**config, **(config.get("text_config") or {})}
    hidden, ffn = text.get("hidden_size"), text.get("intermediate_size")
    return (hidden, ffn) if isinstance(hidden, int) and isinstance(ffn, int) else None
