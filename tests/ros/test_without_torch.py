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

"""A robot that leaves the model to another machine: nothing it runs needs torch or transformers."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from stream_rig import StreamRig
from workstation import Workstation

FOR_THE_MODEL = (
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "huggingface_hub",
    "accelerate",
    "rosbags",
)
BLOCK = f"""
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {FOR_THE_MODEL!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
"""
NEEDED = (
    "svlm_core.config",
    "svlm_core.events",
    "svlm_core.frames",
    "svlm_core.offload.client",
    "svlm_core.stream.commentator",
    "svlm_core.stream.parallel",
    "svlm_core.stream.run",
    "svlm_core.sinks.jsonl",
    "svlm_core.sinks.terminal",
    "svlm_core.sinks.video",
    "svlm_core.sinks.webvtt",
    "svlm_core.sources.open",
    "svlm_core.sources.reconnecting",
    "svlm_core.cli.main",
    "svlm_ros.camera",
    "svlm_ros.camera_node",
    "svlm_ros.stream",
    "svlm_ros.stream_node",
)


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in an interpreter in which the model's packages cannot be imported."""
    command = [sys.executable, "-c", BLOCK + code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=200)


def test_the_block_blocks() -> None:
    ended = run("import torch")
    assert ended.returncode == 1
    assert "No module named 'torch'" in ended.stderr


def test_what_a_robot_needs_imports_without_the_packages_of_the_model() -> None:
    ended = run("import importlib\nfor name in sys.argv[1:]: importlib.import_module(name)", *NEEDED)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("verb", ["stream world://1?seconds=2", "eval world --seconds 5", "bench limit"])
def test_the_command_line_says_what_to_install(verb: str) -> None:
    ended = run("from svlm_core.cli.main import main\nsys.exit(main(sys.argv[1:]))", *verb.split())
    assert ended.returncode == 1
    assert ended.stderr == ("svlm: running a model here needs torch: pip install 'svlm_ros[model]'\n")


def test_a_camera_node_films(domain: int, ear: Any) -> None:
    from sensor_msgs.msg import Image

    raw = ear.subscribe(Image, "/camera/image_raw", 5)
    settings = "source:=world://1?seconds=1", "rate:=10.0", "wait_for_subscribers:=1"
    arguments = ["--ros-args", *(part for setting in settings for part in ("-p", setting))]
    ended = run("from svlm_ros.camera_node import main\nsys.exit(main())", *arguments)
    assert ended.returncode == 0, ended.stderr
    assert ear.spin_until(lambda: len(raw) == 2, 5.0)


def test_a_stream_node_that_is_asked_for_a_model_says_what_to_install(domain: int) -> None:
    ended = run("from svlm_ros.stream_node import main\nsys.exit(main())", "--ros-args")
    assert ended.returncode == 1
    fatal = [line for line in ended.stderr.splitlines() if "[FATAL]" in line]
    assert len(fatal) == 1 and "Traceback" not in ended.stderr, ended.stderr
    assert fatal[0].endswith("needs torch: pip install 'svlm_ros[model]'")


def test_a_stream_node_streams_from_a_server(domain: int, ear: Any, workstation: Workstation) -> None:
    def start(module: str, **parameters: Any) -> subprocess.Popen[str]:
        settings = [part for name, value in parameters.items() for part in ("-p", f"{name}:={value}")]
        command = [sys.executable, "-c", f"{BLOCK}from {module} import main\nsys.exit(main())", "--ros-args"]
        pipe = subprocess.PIPE
        return subprocess.Popen([*command, *settings], stdout=pipe, stderr=subprocess.STDOUT, text=True)

    rig = StreamRig(ear, start, **workstation.link(), partial=True, annotate=True)
    try:
        rig.wait_until_ready()
        for second in range(3):
            rig.film(second)
            rig.hear(second + 1)
        assert rig.trigger("reset").success
        assert rig.hear(4)[3].kind == "reset"
        output = rig.end()
    finally:
        rig.process.kill()
    assert rig.process.returncode == 0 and "Traceback" not in output, output
