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

"""`svlm eval world`: hours of an unseen world against its truth. `svlm eval bag`: a recording. Benchmarks."""

from __future__ import annotations

import argparse
from dataclasses import asdict
import json
from pathlib import Path
import sys
from typing import Any, TYPE_CHECKING

from svlm_core.cli import compare, events, pairs, questions
from svlm_core.cli.interrupt import interrupt_noted
from svlm_core.cli.run_options import loaded
from svlm_core.cli.settings import add_model_options
from svlm_core.config import POLICIES
from svlm_core.errors import ConfigError
from svlm_core.evaluation.plotting import check_plotting
from svlm_core.evaluation.runs.provenance import open_run
from svlm_core.evaluation.sweep import POLICY, read_axis, read_policies, variants
from svlm_core.sources.bag import BagSource
from svlm_core.world import FIRST_EVALUATION_SEED
from tqdm import tqdm

if TYPE_CHECKING:
    from svlm_core.evaluation.recording import Evaluation

BOOTSTRAP_SEED = 0  # of the world's intervals


def add_parser(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser("eval", help="measure a model against truth", description="Evaluations.")
    actions = parser.add_subparsers(dest="action", metavar="WHAT", required=True)
    world = actions.add_parser(
        "world",
        help="accuracy and cost over hours of the synthetic world",
        description="Stream an unseen world, recorded-source speed, and compare every second with its truth. "
        "Ctrl-C ends early, after the second under way, and keeps what was measured; --resume goes on later.",
    )
    world.add_argument(
        "--seed", type=int, default=FIRST_EVALUATION_SEED, help="which world (default: %(default)s)"
    )
    world.add_argument("--seconds", type=int, default=7200, help="length (default: %(default)s)")
    world.add_argument(
        "--resume",
        type=Path,
        metavar="FILE",
        help="save the stream here every ten minutes of it and at the end; the same command goes on from "
        "there after Ctrl-C or a power cut, and further with a larger --seconds",
    )
    world.add_argument(
        "--policies",
        metavar="LIST",
        help=f"stream the world once under each: all, or some of {','.join(POLICIES)}; prints a table",
    )
    world.add_argument(
        "--plot", type=Path, metavar="FILE.png", help="draw accuracy and cost over the stream's age"
    )
    world.add_argument(
        "--sweep",
        nargs="+",
        metavar="FIELD=VALUES",
        help="stream the world once for each combination of settings, for example vision_window_s=8,10,12 "
        "text_sink_tokens=0,4; with --policies under each policy",
    )
    world.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="write result.json, timing.json and report.html, one page that loads nothing; made if it does "
        "not exist",
    )
    world.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="write the figures here as they are printed without --policies",
    )
    add_model_options(world)
    world.set_defaults(run=run_world)
    bag = actions.add_parser(
        "bag",
        help="a ROS 2 bag in lock step, without ROS: events, captions, video, figures, a report",
        description="Stream an image topic of a bag chunk by chunk, each waiting for the model, so two runs "
        "write the same bytes. Writes events.jsonl, captions.vtt, annotated.mp4, result.json, timing.json "
        "(what depends on the machine) and report.html, one page that loads nothing. Ctrl-C, and a bag that "
        "breaks, keep what was done. docs/bags.md says how to record, and what a truth file looks like.",
    )
    bag.add_argument(
        "bag", type=Path, metavar="BAG", help="a rosbag2 folder, or a .mcap or .db3 file, compressed or not"
    )
    bag.add_argument(
        "--image-topic",
        default="",
        metavar="TOPIC",
        help="sensor_msgs/Image or CompressedImage; not needed if the bag has only one",
    )
    bag.add_argument(
        "--truth", type=Path, metavar="FILE.jsonl", help="what is true; without it nothing is judged"
    )
    bag.add_argument("--out", type=Path, required=True, metavar="DIR", help="made if it does not exist")
    add_model_options(bag)
    bag.set_defaults(run=run_bag)
    pairs.add_parsers(actions)
    questions.add_parsers(actions)
    events.add_parser(actions)
    compare.add_parser(actions)


def run_world(options: argparse.Namespace) -> int:
    """Evaluate; prints the figures, and writes them to --json."""
    if options.seed < FIRST_EVALUATION_SEED:
        raise ConfigError(f"--seed {options.seed}: seeds below {FIRST_EVALUATION_SEED} are for training only")
    if options.seconds < 1:
        raise ConfigError(f"--seconds must be at least 1, got {options.seconds}")
    axes = _axes(options)
    if axes and options.resume:
        raise ConfigError("--resume is of one stream, --policies and --sweep run several: give one of them")
    if options.plot:
        check_plotting(options.plot)
    if options.json:
        _write(options.json, "a", "")  # a name that cannot be written is reported before the hours
    model, config, about = loaded(options)
    if options.full_capacity_tokens is None and "full" in (config.policy, *axes.get(POLICY, ())):
        capacity = min(config.full_capacity_tokens, model.max_positions)  # ends when these are full
        config = config.replace({"full_capacity_tokens": capacity}, "the model's positions")
    planned = variants(config, axes)
    described = {"benchmark": "world", "world": options.seed, **about, "settings": asdict(config)}
    described["bootstrap_seed"] = BOOTSTRAP_SEED
    if axes:
        described["sweep"] = {name: list(values) for name, values in axes.items()}
        described["policy"] = ", ".join(dict.fromkeys(variant.config.policy for variant in planned))
    if options.out:
        open_run(options.out, described)
    from svlm_core.evaluation.moments import Moments
    from svlm_core.evaluation.runs.outcome import REPORT
    from svlm_core.evaluation.side_by_side import draw_runs, runs_table
    from svlm_core.evaluation.world import stream_world
    from svlm_core.evaluation.world_report import finish_world, streamed

    runs: dict[str, dict[str, Any]] = {}
    streams = []
    for variant in planned:
        name = f"world {options.seed} {variant.name if axes else ''}".rstrip()
        moments = Moments(options.out, variant.name) if options.out else None
        bar = tqdm(total=options.seconds, unit="s", desc=name, file=sys.stderr)
        with bar, interrupt_noted() as noted:
            stream, stopped = stream_world(
                model, variant.config, options.seed, options.seconds, bar, options.resume, noted, moments
            )
        runs[variant.name] = {**variant.settings, **stream.figures(), "stopped": stopped}
        if options.out:
            streams.append(streamed(variant, stream, stopped, options.seconds, BOOTSTRAP_SEED))
        if stopped == "interrupted":
            break
    text = json.dumps([*runs.values()] if axes else runs[planned[0].name], indent=2)
    print(runs_table(runs) if axes else text)
    if options.json:
        _write(options.json, "w", text + "\n")
    if options.out:
        wanted_s = {variant.name: options.seconds for variant in planned}
        finish_world(options.out, described, streams, wanted_s, str(model.device))
        print(options.out / REPORT, file=sys.stderr if not axes else sys.stdout)
    if options.plot:
        title = f"{model.name}, world {options.seed}, {options.seconds / 3600:g} h"
        draw_runs(runs, title, options.plot)
    return 0


def _axes(options: argparse.Namespace) -> dict[str, tuple[Any, ...]]:
    """The settings that vary, and their values."""
    given = [(POLICY, read_policies(options.policies))] if options.policies else []
    given += [read_axis(text) for text in options.sweep or ()]
    axes = dict(given)
    if len(axes) < len(given):
        raise ConfigError("--sweep: a setting varies twice")
    return axes


def run_bag(options: argparse.Namespace) -> int:
    """Evaluate; prints a summary, after the files are written."""
    with BagSource(options.bag, options.image_topic) as source:
        from svlm_core.evaluation.truth import read_truth

        truths = read_truth(options.truth, source.origin_ns) if options.truth else []
        try:
            options.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--out {options.out}: cannot be made ({error.strerror})") from error
        model, config, about = loaded(options)
        from svlm_core.evaluation.recording import evaluate_recording
        from svlm_core.evaluation.report import render_report
        from svlm_core.evaluation.runs.outcome import REPORT, write_outcome
        from svlm_core.evaluation.runs.provenance import file_hash, tree_hash

        about |= {"recording": options.bag.resolve().name, "recording_sha256": tree_hash(options.bag)}
        about["truth_sha256"] = file_hash(options.truth) if options.truth else ""
        with tqdm(total=source.frames_total, unit="frame", desc=source.name, file=sys.stderr) as bar:
            evaluation = evaluate_recording(model, config, source, truths, options.out, about, bar)
    write_outcome(options.out, evaluation.result, evaluation.timing, render_report(evaluation))
    print(_summary(evaluation))
    print(options.out / REPORT)
    if evaluation.error:
        raise evaluation.error
    return 0


def _summary(evaluation: Evaluation) -> str:
    figures, timing = evaluation.result["figures"], evaluation.timing
    dropped = ", ".join(f"{n} {reason}" for reason, n in figures["frames_dropped"].items()) or "none"
    lines = [
        f"{figures['chunks']} chunks ({figures['silent_chunks']} silent), {figures['events']} events; "
        f"frames: {figures['frames_received']} received, {figures['frames_used']} used, dropped: {dropped}; "
        f"chunk p50 {timing['chunk_ms_p50']:.1f} ms, p99 {timing['chunk_ms_p99']:.1f} ms"
    ]
    if "event_accuracy" in figures:
        found = [figures[name] for name in ("event_accuracy", "silence_precision", "silence_recall")]
        events, precision, recall = (
            "none" if rate["mean"] is None else f"{rate['mean']:.3f}" for rate in found
        )
        n = found[0]["n"]
        lines.append(f"right: {events} of {n} events; silence precision {precision}, recall {recall}")
    return "\n".join(lines)


def _write(path: Path, mode: str, text: str) -> None:
    try:
        with path.open(mode, encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ConfigError(f"--json {path}: cannot be written ({error.strerror})") from error
