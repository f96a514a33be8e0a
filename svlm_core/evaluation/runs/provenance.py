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

"""Everything that is needed to run the same again."""

from __future__ import annotations

from collections.abc import Mapping
import hashlib
from importlib.metadata import PackageNotFoundError, version
import json
import os
from pathlib import Path
import platform
from typing import Any
from uuid import uuid4

from svlm_core.errors import ConfigError

RUN = "run.json"
_PACKAGES = ("svlm_ros", "torch", "transformers", "numpy", "av", "sacrebleu", "rouge-score")
_BLOCK_BYTES = 1 << 20


def machine(device: str) -> str:
    """What times are of, in one line; `device` is torch's."""
    import torch

    on = torch.cuda.get_device_name(device) if device.startswith("cuda") else f"{os.cpu_count()} CPUs"
    return f"{platform.machine()}, {on}, Python {platform.python_version()}, torch {torch.__version__}"


def versions() -> dict[str, str]:
    """Of Python and of the packages that decide the figures; "" for what is not installed."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = ""
    return found


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes.

    Raises:
        ConfigError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    return digest.hexdigest()


def tree_hash(path: Path) -> str:
    """SHA-256 of a file, or over the names and bytes of a folder's files; "" if it is neither.

    Raises:
        ConfigError: a file cannot be read.
    """
    if not path.is_dir():
        return file_hash(path) if path.exists() else ""
    digest = hashlib.sha256()
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}\0{file_hash(file)}\n".encode())
    return digest.hexdigest()


def open_run(folder: Path, run: Mapping[str, Any]) -> None:
    """Make a run's folder, or make sure that what it holds is this run, to go on with.

    Args:
        folder: where its files are.
        run: what decides its figures; JSON's types.

    Raises:
        ConfigError: the folder cannot be written, or holds a run of other settings; names the first.
    """
    path = folder / RUN
    text = json.dumps(run, indent=2, sort_keys=True) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _write_whole(path, text)
            return
        before = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror})") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON; delete it or take another folder") from error
    different = _difference(before, json.loads(text))
    if different:
        raise ConfigError(
            f"{folder} holds another run: {different}; take another --out, or the settings of then"
        )


def _write_whole(path: Path, text: str) -> None:
    """Shards that begin at the same moment find nothing, or all of it."""
    part = path.with_name(f"{path.name}.{uuid4().hex}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _difference(before: Any, now: Any, name: str = "") -> str:
    """The first place where two JSON values differ, in words; "" where they do not."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted({*before, *now}):
            if found := _difference(before.get(key), now.get(key), f"{name}.{key}" if name else key):
                return found
        return ""
    return "" if before == now else f"{name} was {before!r}, is {now!r}"[:200]
