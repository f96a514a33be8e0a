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

"""What vendors' datasheets say of GPUs: memory, bandwidth, dense tensor throughput."""

from __future__ import annotations

from dataclasses import dataclass

from svlm_core.errors import ConfigError


@dataclass(frozen=True)
class Gpu:
    """One GPU, or a module with one.

    Attributes:
        name: as on the command line.
        memory_bytes: its memory; a Jetson's is shared with the CPU.
        bandwidth: memory bandwidth, bytes per second.
        bf16_flops: dense bfloat16 products with float32 sums, operations per second.
        fp8_flops: the same in 8-bit floats; None where the GPU has none.
        source: the datasheet.
    """

    name: str
    memory_bytes: float
    bandwidth: float
    bf16_flops: float
    fp8_flops: float | None
    source: str


# Datasheets print tensor throughput with 2:4 sparsity as a rule; dense is half of that.
_ALL = (
    Gpu("h100", 80e9, 3.35e12, 989e12, 1979e12, "NVIDIA H100 Tensor Core GPU datasheet, SXM5"),
    Gpu("h200", 141e9, 4.8e12, 989e12, 1979e12, "NVIDIA H200 Tensor Core GPU datasheet, SXM5"),
    Gpu("a100", 80e9, 2.039e12, 312e12, None, "NVIDIA A100 Tensor Core GPU datasheet, SXM4 80 GB"),
    Gpu("l40s", 48e9, 864e9, 362e12, 733e12, "NVIDIA L40S datasheet"),
    Gpu("rtx4090", 24e9, 1.008e12, 165.2e12, 330.3e12, "NVIDIA Ada GPU architecture white paper, appendix A"),
    # 85 dense INT8 TOPS of the GPU alone, without the DLA; half of that in 16 bits
    Gpu("jetson-orin-agx", 64e9, 204.8e9, 42.5e12, None, "NVIDIA Jetson AGX Orin technical brief, 64 GB"),
    # 2070 sparse FP4 TFLOPS; each doubling of the width halves it, dense again
    Gpu("jetson-thor", 128e9, 273e9, 258e12, 517e12, "NVIDIA Jetson T5000 (AGX Thor) datasheet"),
)
GPUS: dict[str, Gpu] = {gpu.name: gpu for gpu in _ALL}


def find_gpu(name: str) -> Gpu:
    """The GPU of a name, in any case.

    Raises:
        ConfigError: it is not in the table; lists those that are.
    """
    gpu = GPUS.get(name.lower())
    if gpu is None:
        raise ConfigError(f"--gpu {name}: not in the table; there are {', '.join(GPUS)}")
    return gpu
