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

"""Command-line options made from StreamConfig, so that a setting is described in one place."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any, TYPE_CHECKING

from svlm_core.config import DTYPES, QUANTIZATIONS, read_yaml, StreamConfig
from svlm_core.errors import ConfigError

if TYPE_CHECKING:
    from svlm_core.model.adapter import StreamModel


# what says how a model is run, and what that is where nothing was said
_UNSET = {"model": None, "device": "cpu", "dtype": "float32", "quantize": None, "threads": 0}


def add_model_options(parser: argparse.ArgumentParser, many_devices: bool = False) -> None:
    """--model, --device, --dtype, --quantize, --threads, --config, and a field of StreamConfig each.

    Args:
        parser: of a verb.
        many_devices: --devices in place of --device.
    """
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model", help="a local folder or a hub id of the form org/name (default: tiny, which is built in)"
    )
    if many_devices:
        group.add_argument(
            "--devices", default="cpu", help="cpu, cuda, cuda:0,cuda:1: a worker each (default: %(default)s)"
        )
    else:
        group.add_argument(
            "--device", default=_UNSET["device"], help="cpu, cuda, cuda:1 (default: %(default)s)"
        )
    group.add_argument(
        "--dtype",
        default=_UNSET["dtype"],
        choices=DTYPES,
        help="of the weights; a CPU that is slower with it takes float32 and says so (default: %(default)s)",
    )
    group.add_argument(
        "--quantize",
        choices=QUANTIZATIONS,
        help="keep the decoder's weights in 8 bits, half the memory of bfloat16; int8 loses less than fp8, "
        "which a CPU is slow with; needs pip install 'svlm_ros[quantize]' (default: no)",
    )
    group.add_argument(
        "--threads",
        type=int,
        default=_UNSET["threads"],
        help="CPU threads; 0 takes 1 for the built-in model, which is too small for more, else torch's own",
    )
    settings = parser.add_argument_group(
        "stream settings", "unset ones come from --config, then from the checkpoint's stream.yaml"
    )
    settings.add_argument(
        "--config", type=Path, help="YAML file with any of the fields below, names with underscores"
    )
    for setting in fields(StreamConfig):
        kind = type(setting.default)
        name = f"--{setting.name.replace('_', '-')}"
        help_text = f"{setting.metadata['help']}".replace("%", "%%")
        if kind is bool:
            settings.add_argument(name, default=None, action=argparse.BooleanOptionalAction, help=help_text)
        else:
            choices = setting.metadata.get("choices")
            settings.add_argument(
                name, type=kind, choices=choices, metavar=None if choices else "X", help=help_text
            )


def given_model_options(options: argparse.Namespace) -> list[str]:
    """Names of the options given that say how a model is run."""
    return [name for name, unset in _UNSET.items() if getattr(options, name) != unset]


def given_settings(options: argparse.Namespace) -> tuple[tuple[dict[str, Any], str], ...]:
    """The fields of --config and of the command line, and where they come from, the latter winning.

    Raises:
        ConfigError: the file cannot be read.
    """
    given = {
        f.name: getattr(options, f.name) for f in fields(StreamConfig) if getattr(options, f.name) is not None
    }
    file = read_yaml(options.config) if options.config else {}
    return (file, str(options.config)), (given, "command line")


def load(options: argparse.Namespace) -> tuple[StreamModel, StreamConfig]:
    """The model and the settings that the options describe.

    Raises:
        ModelError, ConfigError: in one line.
    """
    if options.threads < 0:
        raise ConfigError(f"--threads must not be negative, got {options.threads}")
    settings = given_settings(options)
    from svlm_core.model.load import (
        EMBEDDED,
        load_model,
    )  # first: says what to install where torch is missing
    from svlm_core.model.precision import affordable_dtype, quantize
    from svlm_core.stream.defaults import stream_config

    name = options.model or EMBEDDED
    threads = options.threads or (1 if name == EMBEDDED else 0)
    if threads:
        import torch

        torch.set_num_threads(threads)
    dtype = affordable_dtype(name, options.dtype, options.device)
    model = load_model(name, dtype=dtype, device=options.device)
    if options.quantize:
        quantize(model, options.quantize)
    return model, stream_config(model, *settings)
