"""The one-row product against the linear layer in float64."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from svlm_core.model.product import product


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("out", [96, 97])
@pytest.mark.parametrize("shape", [(64,), (1, 64), (1, 1, 64), (5, 64)])
def test_equals_the_linear_layer(threads: int, bias: bool, out: int, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    linear, x = nn.Linear(64, out, bias), torch.randn(shape)
    exact = linear.double()(x.double()).float()
    got = product(linear.float(), x)
    assert got.shape == exact.shape
    torch.testing.assert_close(got, exact, rtol=0, atol=1e-6)


def test_other_dtypes_and_extended_layers_just_run(threads: int) -> None:
    class Doubled(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(input)

    torch.manual_seed(0)
    extended, x = Doubled(64, 96), torch.randn(1, 64)
    assert torch.equal(product(extended, x), extended(x))
    half = nn.Linear(64, 96).bfloat16()
    assert torch.equal(product(half, x.bfloat16()), half(x.bfloat16()))


def test_gradients_pass(threads: int) -> None:
    torch.manual_seed(0)
    linear, x = nn.Linear(64, 96), torch.randn(1, 64, requires_grad=True)
    product(linear, x).sum().backward()
    torch.testing.assert_close(x.grad, linear.weight.sum(0)[None])
