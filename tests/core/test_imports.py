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

"""svlm_core by itself: without ROS, without side effects, without anything that runs code from data."""

from __future__ import annotations

import ast
import json
from pathlib import Path
import pkgutil
import subprocess
import sys
from typing import Any

import pytest
import svlm_core

ROOT = Path(svlm_core.__file__).parent
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages([str(ROOT)], "svlm_core.")
    if not module.name.endswith("__main__")  # runs the command line, which is what it is for
)
SOURCES = sorted(
    path for folder in ("svlm_core", "svlm_ros", "launch") for path in (ROOT.parent / folder).rglob("*.py")
)
IMPORT_ALL = """
import importlib, json, logging, os, signal, sys, threading, warnings

logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # transformers imports it; it has news of kernels

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"rclpy", "sensor_msgs", "std_msgs", "cv_bridge", "svlm_ros"}:
            raise ImportError(f"{name} is blocked")

def state():
    import numpy, torch
    return {
        "handlers": [str(handler) for handler in logging.getLogger().handlers],
        "level": logging.getLogger().level,
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "sigint": str(signal.getsignal(signal.SIGINT)),
        "hook": str(sys.excepthook),
        "threads": threading.active_count(),
        "torch threads": torch.get_num_threads(),
        "torch seed": torch.initial_seed(),
        "gradients": torch.is_grad_enabled(),
        "dtype": str(torch.get_default_dtype()),
        "numpy": str(numpy.random.get_state()[1][:4]),
    }

# Libraries may do as they like when they are imported; what is looked at is what svlm adds.
import av, cv2, numpy, torch, tqdm, transformers, yaml
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2VLForConditionalGeneration, Trainer
torch.manual_seed(5)
sys.meta_path.insert(0, Blocked())
before = state()
modules = sys.argv[1].split()
for name in modules:
    importlib.import_module(name)
after = state()
print(json.dumps({name: [before[name], after[name]] for name in before if before[name] != after[name]}))
"""


def test_there_is_something_to_import() -> None:
    assert len(MODULES) > 40
    assert {"svlm_core.stream.session", "svlm_core.training.sft", "svlm_core.cli.stream"} < set(MODULES)


def test_every_module_imports_without_ros_and_changes_nothing() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, " ".join(MODULES)], capture_output=True, text=True, timeout=200
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == {}, "an import has side effects, or prints"
    assert ended.stderr == ""


def called(tree: ast.AST) -> set[str]:
    """Dotted names of everything that is called."""
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def imported(tree: ast.AST) -> set[str]:
    """Top-level packages imported anywhere in a module."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    return names


def keyword_values(tree: ast.AST, keyword: str) -> list[Any]:
    return [
        ast.unparse(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg == keyword
    ]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT.parent)))
def test_no_source_runs_code_from_data(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not imported(tree) & {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
    forbidden = {
        "eval",
        "exec",
        "compile",
        "__import__",
        "torch.load",
        "yaml.load",
        "yaml.unsafe_load",
        "os.system",
    }
    assert not called(tree) & forbidden
    assert "True" not in keyword_values(tree, "shell")
    assert "True" not in keyword_values(tree, "trust_remote_code")
    assert "True" not in keyword_values(tree, "allow_pickle")
