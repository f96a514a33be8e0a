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

"""Which dtype a CPU is given, and weights of eight bits against the same weights, rounded, at full width."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import importlib
import json
import logging
from pathlib import Path
import sys

import pytest
from random_models import write_random_model
from svlm_core.cache.arena import KVArena
from svlm_core.cli.settings import add_model_options, load
from svlm_core.config import QUANTIZATIONS
from svlm_core.errors import ModelError
from svlm_core.model.adapter import StreamModel
from svlm_core.model.decoder import Piece
from svlm_core.model.load import load_model
from svlm_core.model.precision import affordable_dtype, best_seconds, quantize, slowdown
import torch

HIDDEN, FFN = 32, 64  # of the random models
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="has the products of a GPU")
HALF = (torch.bfloat16, torch.float16)


class Clock:
    """A CPU on which products of each dtype take given times, wide products and single rows apart."""

    def __init__(self, prefill_s: float, decode_s: float) -> None:
        self.times_s = {torch.float32: (1.0, 1.0), **dict.fromkeys(HALF, (prefill_s, decode_s))}
        self.asked: list[tuple[torch.dtype, tuple[int, ...], tuple[int, ...]]] = []

    def __call__(self, x: torch.Tensor, weight: torch.Tensor) -> float:
        assert x.dtype == weight.dtype
        self.asked.append((x.dtype, tuple(x.shape), tuple(weight.shape)))
        return self.times_s[x.dtype][len(x) == 1]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_model(tmp_path_factory.mktemp("precision") / "model", initializer_range=0.2)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_cpu_that_is_slower_in_half_precision_takes_float32_and_says_what_it_would_cost(
    checkpoint: Path, dtype: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert affordable_dtype(str(checkpoint), dtype, "cpu", Clock(3.0, 3.0)) == "float32"
    (record,) = caplog.records
    message = record.getMessage()
    assert message.startswith(f"{dtype} is slow on this CPU") and "\n" not in message
    assert f"{checkpoint} would take 3.0 times as long as in float32" in message


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_a_cpu_that_is_quick_in_half_precision_keeps_it(
    checkpoint: Path, device: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert affordable_dtype(str(checkpoint), "bfloat16", device, Clock(0.3, 0.5)) == "bfloat16"
    assert affordable_dtype(str(checkpoint), "bfloat16", device, Clock(1.05, 1.05)) == "bfloat16"
    assert not caplog.records


def test_where_there_is_nothing_to_decide_nothing_is_measured(checkpoint: Path, tmp_path: Path) -> None:
    clock = Clock(9.0, 9.0)
    assert affordable_dtype(str(checkpoint), "float32", "cpu", clock) == "float32"
    assert affordable_dtype(str(checkpoint), "bfloat16", "cuda:1", clock) == "bfloat16"
    assert affordable_dtype(str(tmp_path), "bfloat16", "cpu", clock) == "bfloat16", (
        "no config.json: no widths"
    )
    assert not clock.asked
    with pytest.raises(ModelError, match="no such folder"):
        affordable_dtype(str(tmp_path / "nowhere"), "bfloat16", "cpu", clock)


def test_the_products_measured_have_the_checkpoints_own_widths(checkpoint: Path, tmp_path: Path) -> None:
    clock = Clock(1.0, 1.0)
    affordable_dtype(str(checkpoint), "bfloat16", "cpu", clock)
    assert {weight for _, _, weight in clock.asked} == {(FFN, HIDDEN)}
    assert {x[1] for _, x, _ in clock.asked} == {HIDDEN}
    assert {dtype for dtype, _, _ in clock.asked} == {torch.float32, torch.bfloat16}
    # older checkpoints keep the language model's fields at the top
    old = tmp_path / "old"
    old.mkdir()
    (old / "config.json").write_text(json.dumps({"hidden_size": 48, "intermediate_size": 80}))
    clock = Clock(1.0, 1.0)
    affordable_dtype(str(old), "bfloat16", "cpu", clock)
    assert {weight for _, _, weight in clock.asked} == {(80, 48)}


@pytest.mark.parametrize(("prefill_s", "decode_s", "slow"), [(0.2, 3.0, True), (3.0, 0.5, False)])
def test_speech_weighs_more_than_one_prefill(prefill_s: float, decode_s: float, slow: bool) -> None:
    times = slowdown(torch.bfloat16, (HIDDEN, FFN), Clock(prefill_s, decode_s))
    assert (times > 1) == slow
    assert min(prefill_s, decode_s) < times < max(prefill_s, decode_s)


def test_the_real_clock_gives_a_time(checkpoint: Path) -> None:
    """How long is the machine's affair; that it is sound, is not."""
    x, weight = torch.ones(4, 256), torch.ones(512, 256)
    assert 0 < best_seconds(x, weight) < 10
    assert 1e-3 < slowdown(torch.bfloat16, (256, 512)) < 1e3
    assert affordable_dtype(str(checkpoint), "bfloat16", "cpu") in ("bfloat16", "float32")


def half_step(weight: torch.Tensor, kind: str) -> torch.Tensor:
    """How far rounding may move each weight, if a row's largest is the largest number that there is."""
    top = weight.abs().amax(1, keepdim=True)
    if kind == "int8":  # 255 steps from -top to top
        return (top / 255).expand_as(weight)
    e4m3 = torch.finfo(
        torch.float8_e4m3fn
    )  # three bits behind the point, fewer below the smallest normal number
    return torch.maximum(weight.abs() / 16, top / e4m3.max * e4m3.smallest_normal / 16)


@torch.inference_mode()
def said(model: StreamModel, ids: Sequence[int]) -> torch.Tensor:
    """Logits behind a prefill and behind each of three single tokens, [4, vocabulary]."""
    store = KVArena(model.layers, model.kv_heads, model.head_dim, 32, model.dtype, model.device)
    logits = []
    for part in (ids[:-3], ids[-3:-2], ids[-2:-1], ids[-1:]):
        positions = (torch.arange(len(part)) + float(store.length)).expand(3, -1).to(model.device)
        piece = Piece(torch.tensor(part, device=model.device), positions, store)
        logits.append(model.head(model.decoder([piece])))
        store.extend(len(part))
    return torch.cat(logits).cpu()


IDS = list(range(40, 60))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_gpu)])
@pytest.mark.parametrize("kind", QUANTIZATIONS)
def test_only_the_decoders_products_are_rounded_and_computed_with_the_rounded_weights(
    checkpoint: Path, kind: str, device: str
) -> None:
    pytest.importorskip("torchao", reason="needs the extra svlm_ros[quantize]")
    exact, quantised, rounded = (load_model(str(checkpoint), device=device) for _ in range(3))
    before = {name: weights.clone() for name, weights in quantised.hf.named_parameters()}
    quantize(quantised, kind)
    assert quantised.dtype == torch.float32
    after = dict(quantised.hf.named_parameters())
    touched = {name for name, weights in after.items() if type(weights.data) is not torch.Tensor}
    linears = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    assert touched == {
        f"model.language_model.layers.{layer}.{part}.{linear}.weight"
        for layer in range(quantised.layers)
        for part, names in (("self_attn", linears[:4]), ("mlp", linears[4:]))
        for linear in names
    }
    with torch.no_grad():
        for name, weights in rounded.hf.named_parameters():
            if name in touched:
                weights.copy_(after[name].dequantize())
                assert ((weights - before[name]).abs() <= half_step(before[name], kind) * 1.0001).all(), name
            else:
                assert torch.equal(after[name], before[name]), name
    logits, expected, plain = said(quantised, IDS), said(rounded, IDS), said(exact, IDS)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5 if device == "cpu" else 1e-4)
    assert (expected - plain).abs().max() > 1e-2, (
        "rounding the weights changes nothing: the test sees nothing"
    )


def test_without_torchao_the_error_says_what_to_install(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)  # Python's way to say: not there
    with pytest.raises(
        ModelError, match=r"weights of int8 need torchao .*: pip install 'svlm_ros\[quantize\]'"
    ):
        quantize(load_model(str(checkpoint)), "int8")


def test_the_command_line_passes_both_on(checkpoint: Path) -> None:
    parser = argparse.ArgumentParser()
    add_model_options(parser)
    model, _ = load(parser.parse_args(["--model", str(checkpoint), "--dtype", "float16", "--threads", "1"]))
    assert model.dtype in (torch.float16, torch.float32)
    options = parser.parse_args(["--model", str(checkpoint), "--threads", "1", "--quantize", "int8"])
    try:
        importlib.import_module("torchao")
    except ImportError:
        with pytest.raises(ModelError, match="need torchao"):
            load(options)
    else:
        weight = load(options)[0].decoder.blocks[0].mlp.up_proj.weight
        assert type(weight.data) is not torch.Tensor
