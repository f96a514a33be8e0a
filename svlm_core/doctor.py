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

"""What this machine has, and what that means for the user."""

from __future__ import annotations

from dataclasses import dataclass
import importlib.metadata
import importlib.util
import platform
import sys


@dataclass(frozen=True)
class Finding:
    """One line of the report: a component, whether it is there, its version, and what follows."""

    name: str
    found: bool
    version: str
    meaning: str


def examine() -> list[Finding]:
    """Look at everything that svlm can use; imports torch, to ask it for CUDA, and changes nothing."""
    return [
        Finding("python", sys.version_info >= (3, 10), platform.python_version(), "3.10 or newer is needed"),
        _package("torch", "runs the model", "no model runs here: pip install 'svlm_ros[model]'"),
        _cuda(),
        _package(
            "transformers",
            "loads Qwen2-VL and Qwen2.5-VL",
            "no model runs here: pip install 'svlm_ros[model]'",
        ),
        _package(
            "flash_attn",
            "faster attention on CUDA",
            "optional, CUDA only: attention runs through torch's SDPA",
            distribution="flash-attn",
        ),
        _package(
            "zmq", "ZeroMQ is there for offloading", "no offloading: pip install pyzmq", distribution="pyzmq"
        ),
        _package("av", "reads video, writes MP4", "no video files: pip install av"),
        _package(
            "cv2",
            "reads pictures and cameras",
            "no pictures: pip install opencv-python-headless",
            distribution="opencv-python-headless",
        ),
        _package(
            "rclpy",
            "the ROS 2 nodes run",
            "no ROS 2 nodes: source your ROS 2 setup.bash, or pip install 'svlm_ros[ros]'; `svlm` needs none",
        ),
        _package(
            "cv_bridge", "not needed, svlm decodes images itself", "not needed, svlm decodes images itself"
        ),
        _package("rosbags", "reads bags without ROS", "no bags: pip install 'svlm_ros[bags]'"),
        _package("accelerate", "`svlm train` works", "no training: pip install 'svlm_ros[train]'"),
    ]


def _cuda() -> Finding:
    try:
        import torch
    except ImportError:  # the doctor must be able to say so
        return Finding("cuda", False, "", "cannot be looked for without torch")
    if torch.cuda.is_available():
        device = torch.cuda.get_device_name(0)
        return Finding("cuda", True, f"{torch.version.cuda} ({device})", "use --device cuda --dtype bfloat16")
    return Finding(
        "cuda", False, "", "models run on the CPU: the built-in one in real time, 3B and larger do not"
    )


def _package(module: str, there: str, missing: str, distribution: str = "") -> Finding:
    if importlib.util.find_spec(module) is None:
        return Finding(module, False, "", missing)
    try:
        version = importlib.metadata.version(distribution or module)
    except importlib.metadata.PackageNotFoundError:
        version = "installed"  # by the system or a ROS distribution, which keep no Python metadata
    return Finding(module, True, version, there)
