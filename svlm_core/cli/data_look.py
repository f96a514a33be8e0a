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

"""`svlm data check | show | bench`: what people look at before they train."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
import sys
from typing import Any

from svlm_core.cli.settings import add_model_options, load
from svlm_core.config import StreamConfig
from svlm_core.data.figures import Statistics
from svlm_core.data.footage import footage
from svlm_core.data.problems import BROKEN_SAMPLE, BROKEN_VIDEO, Problems
from svlm_core.data.seek_index import SampleFile
from svlm_core.errors import ConfigError, SourceError
from tqdm import tqdm


def print_problems(problems: Problems) -> None:
    """How often each problem was met, and the first place."""
    for kind, count in problems.counts.items():
        print(f"{count:6d} x {kind}: {problems.places[kind][0]}{' ...' if count > 1 else ''}")


def add_check(actions: Any) -> None:
    """Describe `svlm data check`."""
    parser = actions.add_parser(
        "check",
        help="read every sample and its frames; count and name what is broken",
        description="Read every sample with all its frames, as training will, and print figures of the set. "
        "What cannot be read is counted and named; then the exit status is 1.",
    )
    parser.add_argument("samples", type=Path, metavar="SAMPLES.jsonl")
    _add_root(parser)
    parser.set_defaults(run=run_check)


def run_check(options: argparse.Namespace) -> int:
    """Read all samples with their frames."""
    config = StreamConfig()
    samples = SampleFile(options.samples)
    problems, figures = Problems(), Statistics(config.chunk_s)
    with tqdm(total=len(samples), unit="sample", desc="check", file=sys.stderr) as bar:
        for number, sample in samples.each(lambda _, error: problems.add(BROKEN_SAMPLE, str(error))):
            figures.add(sample)
            rounds = len(sample.turns(config.chunk_s))
            try:
                video = samples.locate(sample, options.root)
                footage(video, sample.start_s, rounds, config.chunk_s, config.fps)
            except SourceError as error:
                problems.add(BROKEN_VIDEO, f"sample {number}: {error}")
            bar.update(1)
    print(json.dumps(figures.as_json(), indent=1))
    print_problems(problems)
    return 1 if problems.counts else 0


def _add_root(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--root",
        type=Path,
        metavar="DIR",
        help="where relative paths of videos are looked for first (default: beside the samples)",
    )


def add_show(actions: Any) -> None:
    """Describe `svlm data show`."""
    parser = actions.add_parser(
        "show",
        help="one sample as a web page: frames, tokens, what is learned, what attention sees",
        description="Write one sample as one HTML file that needs nothing else: its frames, its tokens, "
        "which of them are learned, what each round sees in training and in a stream.",
    )
    parser.add_argument("sample", metavar="SAMPLES.jsonl[:N]", help="sample N of the file, from 0")
    parser.add_argument("--out", type=Path, default=Path("sample.html"), help="(default: %(default)s)")
    _add_root(parser)
    add_model_options(parser)
    parser.set_defaults(run=run_show)


def run_show(options: argparse.Namespace) -> int:
    """Write the page."""
    path, colon, number = options.sample.rpartition(":")
    if not (colon and number.isdecimal()):
        path, number = options.sample, "0"
    model, config = load(options)
    from svlm_core.training.disk_clips import DiskClips
    from svlm_core.training.page import page

    clips = DiskClips(Path(path), config, options.root)
    if int(number) >= len(clips):
        raise ConfigError(f"{path}: has {len(clips)} samples, counted from 0; there is no sample {number}")
    text = page(clips[int(number)], model, config)
    try:
        options.out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{options.out}: cannot be written ({error.strerror})") from error
    print(options.out)
    return 0


def add_bench(actions: Any) -> None:
    """Describe `svlm data bench`."""
    parser = actions.add_parser(
        "bench",
        help="tokens a second of loading samples, beside those of training on them",
        description="Load all samples once with their frames, with training steps in between; "
        "print tokens a second of both, and how memory grew over the pass. On a CPU seconds are those that a "
        "core computes, so other work on the machine hardly matters. The smaller the model, the faster it "
        "trains, and the harder it is to feed.",
    )
    parser.add_argument("samples", type=Path, metavar="SAMPLES.jsonl")
    parser.add_argument("--steps", type=int, default=8, help="of training (default: %(default)s)")
    _add_root(parser)
    add_model_options(parser)
    parser.set_defaults(run=run_bench)


def run_bench(options: argparse.Namespace) -> int:
    """Measure."""
    model, config = load(options)
    from svlm_core.training.disk_clips import DiskClips
    from svlm_core.training.loading import computing_clock, measure_loading

    clips = DiskClips(options.samples, config, options.root)
    with tqdm(total=len(clips), unit="sample", desc="load", file=sys.stderr) as bar:
        figures = measure_loading(clips, model, config, options.steps, bar.update, computing_clock(model))
    loaded, trained = figures.loaded_tokens_s, figures.trained_tokens_s
    on_cpu = model.device.type == "cpu"
    print(f"loading   {loaded:.0f} tokens/s of a core ({figures.clips} samples, {figures.tokens} tokens)")
    print(f"training  {trained:.0f} tokens/s of {'a core' if on_cpu else options.device}, {model.name}")
    trainers = "cores" if on_cpu else "such devices"
    print(f"one core loads what {loaded / trained:.1f} {trainers} train on")
    if figures.growth_bytes is not None:
        print(f"memory    grew by {figures.growth_bytes / (1 << 20):.1f} MiB over the pass")
    print_problems(figures.problems)
    return 0
