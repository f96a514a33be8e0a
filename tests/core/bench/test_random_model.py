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

from __future__ import annotations

import pytest
from svlm_core.bench.random_model import build, check_memory
from svlm_core.bench.shapes import Shape
from svlm_core.errors import ModelError
from svlm_core.model.adapter import StreamModel
from svlm_core.model.load import load_model
import torch


def test_matrices_are_random_norms_one_and_biases_zero(tiny_model: StreamModel) -> None:
    for name, weights in tiny_model.hf.state_dict().items():
        if weights.ndim > 1:
            assert 0.018 < float(weights.std()) < 0.022, name
            assert abs(float(weights.mean())) < 0.002, name
        else:
            assert (weights == (0 if name.endswith("bias") else 1)).all(), name


def test_the_head_is_the_embedding_where_the_shape_says_so(tiny_model: StreamModel) -> None:
    head = tiny_model.hf.get_output_embeddings().weight
    assert head.data_ptr() == tiny_model.hf.get_input_embeddings().weight.data_ptr()


def test_rotary_angles_are_those_of_a_checkpoint_of_the_same_geometry(tiny_model: StreamModel) -> None:
    positions = torch.arange(30.0).view(3, 10)
    for ours, theirs in zip(tiny_model.rope(positions), load_model("tiny").rope(positions), strict=True):
        assert torch.equal(ours, theirs)


def test_a_seed_gives_the_same_weights_again_and_another_does_not(
    tiny: Shape, tiny_model: StreamModel
) -> None:
    def first(model: StreamModel) -> torch.Tensor:
        return model.hf.get_input_embeddings().weight

    assert torch.equal(first(build(tiny)), first(tiny_model))
    assert not torch.equal(first(build(tiny, seed=1)), first(tiny_model))


def test_the_dtype_is_taken(tiny: Shape) -> None:
    model = build(tiny, dtype="bfloat16")
    assert {weights.dtype for weights in model.hf.parameters()} == {torch.bfloat16}


def test_a_model_larger_than_the_memory_is_refused_before_it_is_built() -> None:
    with pytest.raises(
        ModelError, match=r"^the weights need 1073741824\.0 GiB, cpu has \d+\.\d GiB free; take a"
    ):
        check_memory(1 << 60, torch.device("cpu"), "the weights")
