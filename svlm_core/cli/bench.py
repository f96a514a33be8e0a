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

"""`svlm bench`: what a stream costs, measured beside other policies, against the machine, and on paper."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
import sys
from typing import Any

from svlm_core.bench.gpus import find_gpu, GPUS
from svlm_core.bench.plan import Assumptions, plan, terms_of, WEIGHTS
from svlm_core.bench.plot import draw_efficiency
from svlm_core.bench.shapes import ALIASES, find_shape, Shape, SHAPES, VISUAL_TOKEN_PX
from svlm_core.bench.tables import capacity_table, efficiency_table, limit_table, plan_table
from svlm_core.cli import bench_offload
from svlm_core.cli.bench_options import (
    add_measured_options,
    add_setting_options,
    at_least_one,
    build_model,
    conditions,
    read_config,
    read_counts,
    read_policies,
    read_shape,
    settings,
)
from svlm_core.cli.figures import add_json_option, check_writable, hand_out
from svlm_core.config import POLICIES, StreamConfig
from svlm_core.errors import ConfigError
from svlm_core.evaluation.plotting import check_plotting
from tqdm import tqdm

_SHAPES = ", ".join(f"{shape.name} ({shape.parameters:,} parameters)" for shape in SHAPES.values())


def add_parser(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser(
        "bench",
        help="measure what a stream costs",
        description="What a stream costs. efficiency, capacity and limit build a model of the given shape "
        f"with random weights; nothing is downloaded. Shapes: {_SHAPES}. docs/benchmarking.md says how to "
        "read the figures.",
    )
    actions = parser.add_subparsers(dest="action", metavar="WHAT", required=True)
    _add_efficiency(actions)
    _add_capacity(actions)
    _add_limit(actions)
    bench_offload.add_parser(actions)
    _add_plan(actions)


def _add_efficiency(actions: Any) -> None:
    parser = actions.add_parser(
        "efficiency",
        help="chunk time and cache over the age of the stream, for each policy",
        description="Streams a camera of noise under several policies, a chunk of each in turn, in one run. "
        "Every chunk says exactly --new-tokens tokens, so all do the same work; timed is the whole loop: "
        "preprocessing, vision, cache work, prefill, decode with sampling. A policy that breaks is "
        "reported and the others go on. Ctrl-C ends early and keeps what was measured.",
    )
    add_measured_options(parser)
    parser.add_argument(
        "--policies", default="all", help=f"all, or some of {','.join(POLICIES)} (default: %(default)s)"
    )
    parser.add_argument("--chunks", type=int, default=400, help="of each policy (default: %(default)s)")
    parser.add_argument(
        "--full-capacity-tokens",
        type=int,
        metavar="X",
        help="cache size of policy full (default: all positions the shape knows)",
    )
    parser.add_argument(
        "--stop-ms",
        type=float,
        metavar="MS",
        help="a policy whose chunks take longer has broken (1000 is real time)",
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the figure here: .png, .svg or .pdf")
    parser.set_defaults(run=run_efficiency)


def _add_capacity(actions: Any) -> None:
    parser = actions.add_parser(
        "capacity",
        help="how many cameras one device holds in real time",
        description="1, 2, 4, 8, ... cameras, all on one engine; in each round all hand over a chunk at the "
        "same moment. Ends with the first number whose p99 latency is longer than a chunk. Beside it the "
        "same number of sessions one after another, and how much faster the model's bare matrix products and "
        "attention kernels become in a batch, which bounds what batching can give on this device.",
    )
    add_measured_options(parser)
    parser.add_argument(
        "--cameras",
        metavar="N,N,...",
        help="measure these numbers, late or not (default: doubling until late)",
    )
    parser.add_argument("--rounds", type=int, default=30, help="of each number (default: %(default)s)")
    parser.set_defaults(run=run_capacity)


def _add_limit(actions: Any) -> None:
    parser = actions.add_parser(
        "limit",
        help="a chunk against the machine's limit, by stage",
        description="Runs chunks of a stream with full windows and, in turn, the bare matrix products and "
        "attention kernels of such a chunk over the same weights and the same cache: what is left is the "
        "engine's own. Also measures memory bandwidth, which decoding cannot beat.",
    )
    add_measured_options(parser)
    parser.add_argument("--rounds", type=int, default=30, help="chunks measured (default: %(default)s)")
    parser.set_defaults(run=run_limit)


def _add_plan(actions: Any) -> None:
    parser = actions.add_parser(
        "plan",
        help="the same on paper, for hardware you do not have",
        description="A roofline from the datasheet: bytes, operations, frames per second, cameras. Nothing "
        "is run. docs/benchmarking.md has the formulae.",
    )
    parser.add_argument("--gpu", required=True, help=f"one of {', '.join(GPUS)}")
    parser.add_argument("--model", required=True, help=f"one of {', '.join((*ALIASES, *SHAPES))}")
    parser.add_argument("--weights", choices=WEIGHTS, default="bf16", help="of the language model's layers")
    parser.add_argument(
        "--visual-tokens",
        type=int,
        metavar="X",
        help="of two frames (default: those of a square of 448 px, or what the shape is measured with)",
    )
    add_setting_options(parser, StreamConfig())
    shares = Assumptions()
    for name, what in (
        ("compute", "of the datasheet's arithmetic that products reach"),
        ("bandwidth", "of its bandwidth that reads reach"),
        ("memory", "of its memory that may be filled"),
    ):
        default = getattr(shares, f"{name}_share")
        parser.add_argument(
            f"--{name}-share",
            type=float,
            default=default,
            metavar="X",
            help=f"part {what} (default: %(default)s)",
        )
    add_json_option(parser)
    parser.set_defaults(run=run_plan)


def run_efficiency(options: argparse.Namespace) -> int:
    """Measure policies over time; prints a table, writes --json, draws --plot."""
    policies = read_policies(options.policies)
    at_least_one("--chunks", options.chunks)
    if options.plot:
        check_plotting(options.plot)
        check_writable(options.plot, "--plot")
    shape = read_shape(options)
    given = options.full_capacity_tokens
    config = read_config(options, full_capacity_tokens=shape.max_positions if given is None else given)
    model = build_model(options, shape)
    from svlm_core.bench.efficiency import measure_efficiency

    with tqdm(total=options.chunks, unit="chunk", file=sys.stderr) as bar:
        figures = measure_efficiency(model, shape, config, policies, options.chunks, bar, options.stop_ms)
    figures = {**conditions(options, shape), **figures}
    if options.plot:
        draw_efficiency(figures, _title(options, shape), options.plot)
    hand_out(options, figures, efficiency_table(figures))
    return 0


def run_capacity(options: argparse.Namespace) -> int:
    """Measure numbers of cameras; prints a table, writes --json."""
    counts = read_counts(options.cameras)
    at_least_one("--rounds", options.rounds)
    shape = read_shape(options)
    config = read_config(options)
    model = build_model(options, shape)
    from svlm_core.bench.capacity import measure_capacity

    with tqdm(total=len(counts), file=sys.stderr) as bar:
        figures = measure_capacity(
            model, shape, config, counts, options.rounds, stop_when_late=not options.cameras, progress=bar
        )
    hand_out(options, {**conditions(options, shape), **figures}, capacity_table(figures))
    return 0


def run_limit(options: argparse.Namespace) -> int:
    """Measure a chunk against bare kernels; prints a table, writes --json."""
    at_least_one("--rounds", options.rounds)
    shape = read_shape(options)
    config = read_config(options)
    model = build_model(options, shape)
    from svlm_core.bench.limit import measure_limit

    with tqdm(total=config.window_chunks + options.rounds, unit="chunk", file=sys.stderr) as bar:
        figures = measure_limit(model, shape, config, options.rounds, bar)
    hand_out(options, {**conditions(options, shape), **figures}, limit_table(figures))
    return 0


def run_plan(options: argparse.Namespace) -> int:
    """Plan; prints the terms and the verdict, writes --json."""
    gpu, shape = find_gpu(options.gpu), find_shape(options.model)
    for share in ("compute_share", "bandwidth_share", "memory_share"):
        if not 0 < getattr(options, share) <= 1:
            raise ConfigError(f"--{share.replace('_', '-')} must lie above 0 and not above 1")
    height, width = shape.frame_px
    visual_tokens = (height // VISUAL_TOKEN_PX) * (width // VISUAL_TOKEN_PX)
    if options.visual_tokens is not None:
        at_least_one("--visual-tokens", options.visual_tokens)
        visual_tokens = options.visual_tokens
    if options.json:
        check_writable(options.json, "--json")
    config = StreamConfig().replace(settings(options), "command line")
    assumed = Assumptions(
        options.weights, options.compute_share, options.bandwidth_share, options.memory_share
    )
    terms = terms_of(shape, config, visual_tokens, options.weights)
    result = plan(gpu, terms, assumed, config)
    figures = {
        "gpu": asdict(gpu),
        "model": shape.name,
        "parameters": shape.parameters,
        "settings": settings(options),
        "assumed": asdict(assumed),
        "terms": asdict(terms),
        "plan": asdict(result),
    }
    hand_out(options, figures, plan_table(result, terms))
    return 0


def _title(options: argparse.Namespace, shape: Shape) -> str:
    return (
        f"svlm bench efficiency: shape {shape.name} ({shape.parameters / 1e6:,.1f} M parameters), "
        f"{options.dtype}, {options.device}, threads: {options.threads}"
    )
