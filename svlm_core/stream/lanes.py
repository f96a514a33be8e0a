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

"""What lets a GPU see and speak at once: uploads that do not wait, and a queue of its own for vision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from svlm_core.model.vision import VisionInput
import torch
from torch import Tensor


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """A CPU tensor on the device; to a GPU from pinned memory, so that nobody waits for the copy."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class VisionLane:
    """A CUDA stream on which vision is encoded while the default stream decodes. CUDA only.

    What comes out of it may be used on the default stream behind `join`, and not before.
    """

    def __init__(self, encode: Callable[[VisionInput], Tensor], device: torch.device) -> None:
        """Encode by StreamModel.encode_vision of a model on `device`."""
        self._encode, self._device = encode, device
        self._stream = torch.cuda.Stream(device)

    def encode(self, vision: VisionInput) -> Tensor:
        """Queue the upload of the frames and the vision tower; returns at once, features to come."""
        main = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._stream):
            features = self._encode(replace(vision, patches=upload(vision.patches, self._device)))
        features.record_stream(main)  # its memory is not given away while the default stream uses it
        return features

    def join(self) -> None:
        """Let what is queued on the default stream from now on wait for all vision queued so far."""
        torch.cuda.current_stream(self._device).wait_stream(self._stream)
