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
import sys
from typing import Any

from svlm_core.bench.tables import offload_table
from svlm_core.cli.bench_options import at_least_one, read_size
from svlm_core.cli.figures import add_json_option, check_writable, hand_out
from svlm_core.errors import ConfigError
from svlm_core.offload.wire import MAX_SIDE_PX
from tqdm import tqdm

_FRAMES = "640x480,1920x1080"


def add_parser(actions: Any) -> None:
    """Describe the measure."""
    parser = actions.add_parser(
        "offload",
        help="what a chunk costs more over the link",
        description="Starts svlm serve with keys on this machine and gives it the chunks of a camera, each "
        "in turn with the same chunk through the same model in this process. Pictures go over the link in "
        "full size, which is the worst case: a robot scales them down to what its model looks at.",
    )
    parser.add_argument(
        "--frames", default=_FRAMES, metavar="WxH,...", help="sizes of the pictures (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=200, help="chunks of each size (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of the model (default: %(default)s)")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure; prints a table, writes --json."""
    sizes_px = [read_size("--frames", size) for size in options.frames.split(",")]
    if max(map(max, sizes_px)) > MAX_SIDE_PX:
        raise ConfigError(f"--frames {options.frames}: a link takes pictures of {MAX_SIDE_PX} px at most")
    at_least_one("--rounds", options.rounds)
    at_least_one("--threads", options.threads)
    if options.json:
        check_writable(options.json, "--json")
    from svlm_core.bench.offload import measure_link, server
    from svlm_core.model.load import EMBEDDED, load_model  # first: says what to install without torch
    from svlm_core.stream.defaults import stream_config
    import torch

    torch.set_num_threads(options.threads)
    model = load_model(EMBEDDED)
    config = stream_config(model)
    print(f"svlm: starting svlm serve with {EMBEDDED}", file=sys.stderr)
    total = len(sizes_px) * (config.window_chunks + options.rounds)
    with (
        server(EMBEDDED, options.threads) as (endpoint, keys),
        tqdm(total=total, unit="chunk", file=sys.stderr) as bar,
    ):
        figures = measure_link(model, config, endpoint, keys, sizes_px, options.rounds, bar)
    conditions = {"model": EMBEDDED, "threads": options.threads, "rounds": options.rounds}
    hand_out(options, {**conditions, **figures}, offload_table(figures))
    return 0
