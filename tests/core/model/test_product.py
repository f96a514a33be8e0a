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

"""The decoder's products against the linear layers in float64."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from random_models import write_random_model
from svlm_core.model.load import load_model
from svlm_core.model.product import Joined, product
import torch
from torch import nn, Tensor

WIDTH = 64


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def layers(*outs: int, bias: bool = True) -> list[nn.Linear]:
    torch.manual_seed(sum(outs))
    return [nn.Linear(WIDTH, out, bias) for out in outs]


def exactly(linears: list[nn.Linear], x: Tensor, add: Tensor | None = None) -> Tensor:
    parts = []
    for linear in linears:
        y = x.double() @ linear.weight.double().T
        parts.append(y if linear.bias is None else y + linear.bias.double())
    y = torch.cat(parts, -1)
    return (y if add is None else y + add.double()).float()


@pytest.mark.parametrize("add", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("out", [96, 97])
@pytest.mark.parametrize("rows", [1, 5])
def test_a_product(threads: int, rows: int, out: int, bias: bool, add: bool) -> None:
    (linear,) = layers(out, bias=bias)
    x, more = torch.randn(rows, WIDTH), torch.randn(rows, out) if add else None
    got = product(x, linear.weight, linear.bias, more)
    torch.testing.assert_close(got, exactly([linear], x, more), rtol=0, atol=2e-6)


def test_a_product_in_half_precision(threads: int) -> None:
    (linear,) = layers(96)
    half, x = linear.bfloat16(), torch.randn(1, WIDTH).bfloat16()
    assert torch.equal(product(x, half.weight, half.bias), half(x))


def test_gradients_pass(threads: int) -> None:
    (linear,) = layers(96)
    x = torch.randn(1, WIDTH, requires_grad=True)
    product(x, linear.weight, linear.bias).sum().backward()
    torch.testing.assert_close(x.grad, linear.weight.sum(0)[None])


@pytest.mark.parametrize("add", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_joined_layers_are_the_layers_side_by_side(threads: int, bias: bool, add: bool) -> None:
    linears = layers(32, 16, 48, bias=bias)
    before = [linear.weight.clone() for linear in linears]
    joined, x = Joined(*linears), torch.randn(3, WIDTH)
    more = torch.randn(3, 96) if add else None
    torch.testing.assert_close(joined(x, more), exactly(linears, x, more), rtol=0, atol=2e-6)
    for linear, weight in zip(linears, before, strict=True):
        assert torch.equal(linear.weight, weight), "joining changed a layer"


def test_joined_layers_are_stored_once_and_learn_together() -> None:
    linears = layers(32, 16)
    joined = Joined(*linears)
    assert joined.weight is not None and joined.bias is not None
    assert linears[1].weight.data_ptr() == joined.weight[32:].data_ptr()
    x = torch.randn(3, WIDTH)
    linears[1](x).sum().backward()
    with torch.no_grad():
        linears[1].weight -= 0.1 * linears[1].weight.grad
        linears[1].bias.fill_(3.0)
    torch.testing.assert_close(joined(x), exactly(linears, x), rtol=0, atol=2e-6)


def test_joined_under_inference_mode_the_layers_still_learn() -> None:
    linears = layers(32, 16)
    with torch.inference_mode():
        Joined(*linears)
    linears[0](torch.randn(3, WIDTH)).sum().backward()
    assert linears[0].weight.grad is not None


def test_layers_that_were_moved_are_noticed() -> None:
    linears = layers(32, 16)
    joined = Joined(*linears)
    assert joined.current
    nn.ModuleList(linears).double()
    assert not joined.current
    assert Joined(*linears).current


def test_extended_layers_run_one_by_one() -> None:
    class Doubled(nn.Linear):
        """Not a plain layer."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(x)

    extended, plain = Doubled(WIDTH, 8), nn.Linear(WIDTH, 8)
    joined, x = Joined(extended, plain), torch.randn(1, WIDTH)
    assert joined.weight is None and joined.current
    assert torch.equal(joined(x), torch.cat([extended(x), plain(x)], -1))
    assert torch.equal(joined(x, x[:, :16]), x[:, :16] + joined(x))


def test_layers_with_and_without_bias_run_one_by_one() -> None:
    linears = [*layers(8, bias=True), *layers(4, bias=False)]
    joined, x = Joined(*linears), torch.randn(2, WIDTH)
    assert joined.weight is None
    torch.testing.assert_close(joined(x), exactly(linears, x), rtol=0, atol=2e-6)


def test_a_model_that_has_streamed_is_saved_as_it_was_loaded(tmp_path: Path) -> None:
    folder = write_random_model(tmp_path / "model")
    model = load_model(str(folder))
    before = {name: weight.clone() for name, weight in model.hf.state_dict().items()}
    assert model.decoder.layers[0].qkv.weight is not None
    model.hf.save_pretrained(tmp_path / "again")
    model.tokenizer.save_pretrained(tmp_path / "again")
    again = load_model(str(tmp_path / "again")).hf.state_dict()
    assert again.keys() == before.keys()
    for name, weight in before.items():
        assert torch.equal(again[name], weight), name
