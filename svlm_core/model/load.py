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

"""Load a checkpoint from the package, a folder or the Hugging Face hub, or say in one line why not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
import re
from typing import Any

from huggingface_hub import snapshot_download
from safetensors import safe_open, SafetensorError
from svlm_core.config import DTYPES, read_yaml
from svlm_core.errors import ModelError
from svlm_core.model.adapter import StreamModel
from svlm_core.model.families import Family, find_family, unknown_family
from svlm_core.model.vision import read_json
import torch
from transformers import (
    AutoConfig,
    AutoTokenizer,
    CONFIG_MAPPING,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

EMBEDDED = "tiny"
STORED_DTYPES = ("F32", "BF16", "F16")
HUB_WEIGHTS = ("*.safetensors",)  # never pickles, never code
HUB_NOTES = ("*.json", "*.txt", "*.jinja", "stream.yaml")
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)


def load_model(name: str, *, dtype: str = "float32", device: str = "cpu") -> StreamModel:
    """Load a checkpoint ready to stream.

    Only safetensors are read and no code of the checkpoint is run. transformers fills tensors that a file
    lacks with random numbers; here that is an error.

    Args:
        name: "tiny" (the embedded checkpoint), a local folder, or a hub id of the form org/name.
        dtype: one of svlm_core.config.DTYPES.
        device: a torch device: "cpu", "cuda", "cuda:1".

    Raises:
        ModelError: the checkpoint cannot be found or downloaded, is damaged or incomplete, is of a family
            that cannot be streamed, or the dtype or device is not available.
        ConfigError: its `stream.yaml` cannot be read.
    """
    if dtype not in DTYPES:
        raise ModelError(f"dtype must be one of {', '.join(DTYPES)}; got {dtype!r}")
    target = _device(device)
    folder = find_checkpoint(name)
    family, config = _family(folder)
    _check_weight_files(folder)
    tokenizer = _load_tokenizer(folder, config)
    hf = _load_weights(folder, family, config, getattr(torch, dtype)).to(target)
    return _stream_model(name, folder, family, hf, tokenizer)


def load_skeleton(name: str, *, dtype: str = "float32") -> StreamModel:
    """A checkpoint without its weights, which need not be there: it counts and renders, and cannot run.

    Args:
        name: as for load_model; of a hub id all but the weights is downloaded.
        dtype: one of svlm_core.config.DTYPES.

    Raises:
        ModelError: as load_model, but for the weights.
        ConfigError: its `stream.yaml` cannot be read.
    """
    folder = find_checkpoint(name, weights=False)
    family, config = _family(folder)
    tokenizer = _load_tokenizer(folder, config)
    try:
        with _quiet(), torch.device("meta"):
            hf = family.hf._from_config(config, dtype=getattr(torch, dtype), attn_implementation="sdpa")
    except Exception as error:  # sizes in the config that do not fit together raise anything
        raise ModelError(f"{folder}: config.json does not describe a model ({_one_line(error)})") from error
    return _stream_model(name, folder, family, hf, tokenizer)


def _stream_model(
    name: str, folder: Path, family: Family, hf: Any, tokenizer: PreTrainedTokenizerBase
) -> StreamModel:
    stream_yaml = folder / "stream.yaml"
    defaults = read_yaml(stream_yaml) if stream_yaml.is_file() else {}
    return family.adapter(name, hf, tokenizer, family.load_frames(folder, hf.config), defaults)


def find_checkpoint(name: str, weights: bool = True) -> Path:
    """The folder a model name stands for; a hub id is downloaded, or taken from the hub's cache when offline.

    Args:
        name: as for load_model.
        weights: of a hub id, download these, too.

    Raises:
        ModelError: there is no such folder, or the hub cannot be reached or does not have it.
    """
    if name == EMBEDDED:
        folder = Path(__file__).parent.parent / "checkpoints" / EMBEDDED
        if not (folder / "config.json").is_file():
            raise ModelError(
                f"the embedded model is missing from {folder}; install svlm again or name another"
            )
        return folder
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise ModelError(f"{name}: is a file; name the folder that holds config.json and the weights")
    if not HUB_ID.fullmatch(name):
        raise ModelError(
            f"{name}: no such folder (looked for {folder.absolute()}); "
            f'models are "{EMBEDDED}", a folder, or a hub id of the form org/name'
        )
    try:
        return Path(snapshot_download(name, allow_patterns=[*HUB_NOTES, *(HUB_WEIGHTS if weights else ())]))
    except Exception as error:  # the hub client raises its own, its transport's and the disk's errors
        raise ModelError(
            f"{name}: no such folder (looked for {folder.absolute()}), "
            f"and the Hugging Face hub did not give it either ({_one_line(error)})"
        ) from error


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ModelError(
            f"device {name!r} cannot be used here, cpu always can ({_one_line(error)})"
        ) from error
    return device


def _family(folder: Path) -> tuple[Family, PreTrainedConfig]:
    path = folder / "config.json"
    if not path.is_file():
        raise ModelError(f"{folder}: has no config.json, so it is not a checkpoint")
    model_type = read_json(path).get("model_type")
    if not isinstance(model_type, str) or model_type not in CONFIG_MAPPING:
        raise unknown_family(path, model_type)
    config: PreTrainedConfig
    try:
        with _quiet():
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # a wrong value can break transformers' own checks anywhere
        raise ModelError(f"{path}: does not describe a model ({_one_line(error)})") from error
    return find_family(path, config), config


def _check_weight_files(folder: Path) -> None:
    """Read the headers of all weight files, which is quick, before gigabytes are loaded."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        weight_map = read_json(index).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise ModelError(f"{index}: has no weight_map; download the checkpoint again")
        files = sorted({folder / str(file) for file in weight_map.values()})
    else:
        files = [folder / "model.safetensors"]
    for file in files:
        if not file.is_file():
            raise ModelError(f"{folder}: {file.name} is missing{_hint(folder)}")
        try:
            with safe_open(file, framework="pt") as tensors:
                for name in tensors.keys():  # noqa: SIM118 - a safe_open handle, not a dict
                    stored = tensors.get_slice(name).get_dtype()
                    if stored not in STORED_DTYPES:
                        raise ModelError(
                            f"{file}: tensor {name} is stored as {stored}; "
                            f"svlm reads {', '.join(STORED_DTYPES)}: convert it"
                        )
        except (SafetensorError, OSError) as error:
            raise ModelError(
                f"{file}: damaged or cut short ({_one_line(error)}); download the checkpoint again"
            ) from error


def _hint(folder: Path) -> str:
    pickles = [path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in sorted(folder.glob(pattern))]
    if pickles:
        return (
            f"; {pickles[0]} is a pickle, which can run code, so it is not loaded: convert it to safetensors"
        )
    return "; copy the weights there or download the checkpoint again"


def _load_tokenizer(folder: Path, config: PreTrainedConfig) -> PreTrainedTokenizerBase:
    # transformers makes an empty tokenizer where the files are missing
    if not (folder / "tokenizer.json").is_file() and not all(
        (folder / name).is_file() for name in ("vocab.json", "merges.txt")
    ):
        raise ModelError(f"{folder}: has no tokenizer (tokenizer.json, or vocab.json with merges.txt)")
    try:
        with _quiet():
            return AutoTokenizer.from_pretrained(
                folder, config=config, local_files_only=True, trust_remote_code=False
            )
    except Exception as error:  # tokenizers raises bare Exception for a damaged file
        raise ModelError(f"{folder}: the tokenizer cannot be loaded ({_one_line(error)})") from error


def _load_weights(folder: Path, family: Family, config: PreTrainedConfig, dtype: torch.dtype) -> Any:
    try:
        with _quiet():
            model, report = family.hf.from_pretrained(
                folder,
                config=config,
                dtype=dtype,
                attn_implementation="sdpa",
                use_safetensors=True,
                local_files_only=True,
                ignore_mismatched_sizes=True,  # reported below in one line instead of a table
                output_loading_info=True,
            )
    except Exception as error:  # sizes in the config that do not fit together raise anything
        raise ModelError(f"{folder}: config.json does not describe a model ({_one_line(error)})") from error
    if missing := sorted(report["missing_keys"]):
        raise ModelError(f"{folder}: the weights lack {_count(missing, 'tensor')}; the files are incomplete")
    if report["mismatched_keys"]:
        name, stored, wanted = min(report["mismatched_keys"])
        raise ModelError(
            f"{folder}: tensor {name} has shape {list(stored)}, config.json makes it {list(wanted)}; "
            "weights and config.json are of different checkpoints"
        )
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from printing its own report and bar: what matters is raised."""
    verbosity, bar = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bar:
            transformers_logging.enable_progress_bar()


def _count(names: list[str], noun: str) -> str:
    return f"{noun} {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."
