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

"""Uploads, and vision beside the default stream of a GPU."""

from __future__ import annotations

import pytest
from svlm_core.model.vision import VisionInput
from svlm_core.stream.lanes import upload, VisionLane
import torch

LONG_CYCLES = 1_000_000_000  # half a second of a GPU
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="has two streams of a GPU")


def test_an_upload_is_the_same_numbers_on_the_device() -> None:
    numbers = torch.arange(6).view(2, 3)
    assert torch.equal(upload(numbers, torch.device("cpu")), numbers)
    if torch.cuda.is_available():
        there = upload(numbers, torch.device("cuda"))
        assert there.is_cuda and torch.equal(there.cpu(), numbers)


@needs_gpu
def test_the_default_stream_goes_on_while_vision_is_encoded_and_join_waits_for_it() -> None:
    def encode(vision: VisionInput) -> torch.Tensor:
        assert vision.patches.is_cuda
        torch.cuda._sleep(LONG_CYCLES)
        return vision.patches * 2

    lane = VisionLane(encode, torch.device("cuda"))
    patches = torch.randn(8, 4)
    features = lane.encode(VisionInput(patches, (1, 2, 4), 2))
    decoded = torch.ones(4, device="cuda").sum()
    torch.cuda.current_stream().synchronize()
    assert not lane._stream.query(), "the default stream waited for vision"
    assert decoded.item() == 4
    lane.join()
    assert torch.equal(features.cpu(), patches * 2)
