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

"""`svlm bench offload`: what the link adds to a chunk."""

from __future__ import annotations

import argparse
import re
import sys
from typing import Any

from svlm_core.bench.tables import offload_table
from svlm_core.cli.bench_options import at_least_one
from svlm_core.cli.figures import add_json_option, check_writable, hand_out
from svlm_core.errors import ConfigError
from svlm_core.frames import MIN_SIDE_PX
from svlm_core.offload.wire import MAX_SIDE_PX
from tqdm import tqdm

_FRAMES = "640x480,1920x1080"
_NEW_TOKENS, _WINDOW_S = 4, 4.0  # a small chunk: the link is measured, not the model


def add_parser(actions: Any) -> None:
    """Describe the measure."""
    parser = actions.add_parser(
        "offload",
        help="what a chunk costs more over the link",
        description="Starts `svlm serve` with keys on this machine and gives it the chunks of a camera of noise, "
        "each in turn with the same chunk through the same model in this process. Noise is the worst case of "
        "JPEG: a camera's pictures are a tenth of the bytes.",
    )
    parser.add_argument(
        "--frames", default=_FRAMES, metavar="WxH,...", help="sizes of the pictures (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=100, help="chunks of each size (default: %(default)s)")
    add_json_option(parser)
    parser.set_defaults(run=run)
