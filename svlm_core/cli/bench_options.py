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

"""Options of `svlm bench`: what they are called, and what is wrong with them."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
import re
from typing import Any, TYPE_CHECKING

from svlm_core.bench.shapes import find_shape, Shape, SHAPES, VISUAL_TOKEN_PX
from svlm_core.cli.figures import add_json_option, check_writable
from svlm_core.config import DTYPES, POLICIES, StreamConfig
from svlm_core.errors import ConfigError
from svlm_core.frames import MIN_SIDE_PX

if TYPE_CHECKING:
    from svlm_core.model.adapter import StreamModel

MOST_CAMERAS = 64
_MOST_VISUAL_TOKENS = 16384
_HELP = {setting.name: setting.metadata["help"] for setting in fields(StreamConfig)}


def add_measured_options(parser: argparse.ArgumentParser) -> None:
    """Options of everything that runs a model."""
    parser.add_argument("--model", default="tiny", help=f"one of {', '.join(SHAPES)} (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 (default: %(default)s)")
    parser.add_argument("--dtype", default="float32", choices=DTYPES, help="(default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the weights (default: %(default)s)")
    parser.add_argument(
        "--frame",
        metavar="WxH",
        help=f"the camera's pictures, px (default: the shape's); {VISUAL_TOKEN_PX}x{VISUAL_TOKEN_PX} px of "
        "two frames are one visual token",
    )
    parser.add_argument(
        "--visual-tokens",
        type=int,
        default=_MOST_VISUAL_TOKENS,
        metavar="X",
        help="scale frames down to this many (default: %(default)s)",
    )
    # windows that are full within 100 chunks
    add_setting_options(parser, StreamConfig(max_new_tokens=8, text_sink_tokens=128, text_window_tokens=384))
    add_json_option(parser)


def add_setting_options(parser: argparse.ArgumentParser, defaults: StreamConfig) -> None:
    """Options for the fields of StreamConfig that decide the cost."""
    names = {"max_new_tokens": "--new-tokens"}
    for field in ("vision_window_s", "text_sink_tokens", "text_window_tokens", "max_new_tokens"):
        default = getattr(defaults, field)
        parser.add_argument(
            names.get(field, f"--{field.replace('_', '-')}"),
            dest=field,
            type=type(default),
            default=default,
            metavar="X",
            help=f"{_HELP[field]} (default: %(default)s)",
        )


def read_policies(names: str) -> tuple[str, ...]:
    """--policies.

    Raises:
        ConfigError: names one that there is not.
    """
    if names == "all":
        return POLICIES
    chosen = tuple(dict.fromkeys(name.strip() for name in names.split(",")))
    for name in chosen:
        if name not in POLICIES:
            raise ConfigError(f"--policies: {name!r} is none; there are all, {', '.join(POLICIES)}")
    return chosen


def read_counts(cameras: str | None) -> list[int]:
    """--cameras, rising; without it 1, 2, 4, ... up to MOST_CAMERAS.

    Raises:
        ConfigError: it is not numbers, or one is out of range.
    """
    if cameras is None:
        return [1 << k for k in range(MOST_CAMERAS.bit_length())]
    if not re.fullmatch(r"\d+(,\d+)*", cameras):
        raise ConfigError(f"--cameras {cameras}: must be numbers with commas between them, like 1,2,4,8")
    counts = sorted({int(count) for count in cameras.split(",")})
    if counts[0] < 1 or counts[-1] > MOST_CAMERAS:
        raise ConfigError(f"--cameras {cameras}: each must lie between 1 and {MOST_CAMERAS}")
    return counts


def read_shape(options: argparse.Namespace) -> Shape:
    """--model, with the camera's pictures as --frame wants them.

    Raises:
        ConfigError: there is no such shape, or --frame is not a size.
    """
    shape = find_shape(options.model)
    if options.frame is None:
        return shape
    return replace(shape, frame_px=read_size("--frame", options.frame))


def read_size(option: str, text: str) -> tuple[int, int]:
    """A camera's pictures: (height, width) from WIDTHxHEIGHT.

    Raises:
        ConfigError: it is no size, or too small to see anything.
    """
    sides = re.fullmatch(r"(\d+)x(\d+)", text)
    if sides is None or min(map(int, sides.groups())) < MIN_SIDE_PX:
        raise ConfigError(f"{option} {text}: must be WIDTHxHEIGHT, like 640x480, each at least {MIN_SIDE_PX}")
    return int(sides[2]), int(sides[1])


def settings(options: argparse.Namespace) -> dict[str, Any]:
    """The fields of StreamConfig that `add_setting_options` has options for."""
    names = ("vision_window_s", "text_sink_tokens", "text_window_tokens", "max_new_tokens")
    return {name: getattr(options, name) for name in names}


def read_config(options: argparse.Namespace, **more: Any) -> StreamConfig:
    """Settings of a measured stream.

    The time text is left out: its digits grow with the age of the stream, a token for each power of ten.
    """
    fixed = {"time_text": False, "min_visual_tokens": 1, "max_visual_tokens": options.visual_tokens}
    return StreamConfig().replace({**fixed, **settings(options), **more}, "command line")


def build_model(options: argparse.Namespace, shape: Shape) -> StreamModel:
    """The model, once nothing else can be wrong with the options."""
    at_least_one("--threads", options.threads)
    if options.json:
        check_writable(options.json, "--json")
    import svlm_core.model  # noqa: F401, I001 - first: it says what to install where torch is missing
    import torch

    from svlm_core.bench.random_model import build

    torch.set_num_threads(options.threads)
    return build(shape, dtype=options.dtype, device=options.device, seed=options.seed)


def conditions(options: argparse.Namespace, shape: Shape) -> dict[str, Any]:
    """What was measured, on what."""
    import torch
    import transformers

    device = torch.device(options.device)
    return {
        "model": shape.name,
        "parameters": shape.parameters,
        "frame_px": list(shape.frame_px),
        "dtype": options.dtype,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else options.device,
        "threads": options.threads,
        "seed": options.seed,
        "settings": settings(options),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def at_least_one(option: str, value: int) -> None:
    """Raise ConfigError when a number is not positive."""
    if value < 1:
        raise ConfigError(f"{option} must be at least 1, got {value}")
