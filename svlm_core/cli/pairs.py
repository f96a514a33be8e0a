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

"""`svlm eval inf-streams` and `svlm eval livesports`: commentary, compared by a judge."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
import sys
from typing import Any

from svlm_core.chat.cost import CHARACTERS_PER_TOKEN, Cost, IMAGE_TOKENS
from svlm_core.cli.run_options import (
    add_judge_options,
    add_run_options,
    client,
    conclude,
    confirm,
    described,
    endpoint,
    keep_excluded,
    loaded,
    shard,
)
from svlm_core.config import POLICIES
from svlm_core.errors import ConfigError
from svlm_core.evaluation.benchmarks import inf_streams, livesports
from svlm_core.evaluation.benchmarks.segment import Segment, Stretch
from svlm_core.evaluation.judging.pairwise import Comparison, messages, RUBRIC_VERSION
from svlm_core.evaluation.runs.exclusions import Excluded
from svlm_core.evaluation.runs.provenance import file_hash, open_run
from tqdm import tqdm

CAPTIONER, POLICY = "captioner", "policy:"

_VOTE_TOKENS, _CAPTION_TOKENS = 16, 300
_ORDERS = 2


def add_parsers(actions: Any) -> None:
    """Describe the verbs."""
    parser = actions.add_parser(
        "inf-streams",
        help="Inf-Streams-Eval: commentary on whole games, compared by a judge",
        description="Stream each video, cut what was said into segments, and have a judge compare it with a "
        "baseline, in both orders. docs/evaluation.md says how the figures come about.",
    )
    _add_options(parser, "metadata or clips, JSON lines with video, title and content")
    parser.add_argument(
        "--segment-s",
        type=float,
        default=100.0,
        metavar="X",
        help="length of a segment (default: %(default)s)",
    )
    parser.add_argument(
        "--start-s",
        type=float,
        default=0.0,
        metavar="X",
        help="where the streams begin, seconds of each video; published figures begin at 1000 "
        "(default: %(default)s)",
    )
    parser.set_defaults(run=run_inf_streams)
    parser = actions.add_parser(
        "livesports",
        help="LiveSports-3K CC: commentary on events, compared by a judge (QA: livesports-qa)",
        description="Stream each event and have a judge compare the commentary with a baseline's, "
        "in both orders.",
    )
    _add_options(parser, "the CC file: .json, .jsonl or .csv")
    parser.set_defaults(run=run_livesports)


def _add_options(parser: argparse.ArgumentParser, data: str) -> None:
    add_run_options(parser, data)
    parser.add_argument(
        "--predictions", type=Path, metavar="FILE.jsonl", help="judge these in place of streaming the model"
    )
    parser.add_argument(
        "--baseline",
        required=True,
        metavar="WHAT",
        help=f"policy:NAME (the same model under {', '.join(POLICIES)}), captioner (chunks through an "
        "endpoint), or a file of predictions",
    )
    parser.add_argument(
        "--previous",
        default="none",
        choices=("none", "generated", "truth"),
        help="what both sides are told of what was said before their stream begins: nothing, what the model "
        "says when it streams from the video's beginning, or the human's words (default: %(default)s)",
    )
    parser.add_argument(
        "--previous-of-files",
        default="",
        choices=("none", "generated", "truth"),
        help="what predictions from files were told, where the files do not say it",
    )
    parser.add_argument("--captioner-url", default="", metavar="URL", help="(default: --judge-url)")
    parser.add_argument("--captioner-model", default="", metavar="NAME", help="(default: --judge-model)")
    parser.add_argument(
        "--caption-s",
        type=float,
        default=10.0,
        metavar="X",
        help="of a captioner's chunk (default: %(default)s)",
    )
    parser.add_argument(
        "--caption-frames",
        type=int,
        default=8,
        metavar="N",
        help="of a captioner's chunk (default: %(default)s)",
    )
    add_judge_options(parser)


def run_inf_streams(options: argparse.Namespace) -> int:
    """Inf-Streams-Eval."""
    if options.segment_s <= 0 or options.start_s < 0:
        raise ConfigError("--segment-s must be above 0, --start-s not below 0")
    if options.previous != "none" and not options.start_s:
        raise ConfigError(f"--previous {options.previous}: nothing was said before --start-s 0")
    items = inf_streams.read(options.data, options.segment_s, options.start_s)
    cut = {"segment_s": options.segment_s, "start_s": options.start_s}
    return _compare(options, inf_streams.NAME, *items, cut, by_fifth=True)


def run_livesports(options: argparse.Namespace) -> int:
    """LiveSports-3K CC."""
    return _compare(options, livesports.NAME, *livesports.read_cc(options.data), {}, by_fifth=False)


def _compare(
    options: argparse.Namespace,
    name: str,
    stretches: Sequence[Stretch],
    segments: Sequence[Segment],
    excluded: Sequence[Excluded],
    cut: dict[str, Any],
    by_fifth: bool,
) -> int:
    part = shard(options)
    if options.workers < 1:
        raise ConfigError(f"--workers must be at least 1, got {options.workers}")
    judge = endpoint(options, _VOTE_TOKENS)
    policy = _baseline_policy(options.baseline)
    run = {**described(options, name), **cut, "previous": options.previous}
    run |= {"judge": f"{judge.model} at {judge.url}, rubric {RUBRIC_VERSION}"}
    model = config = None
    if not options.predictions or policy:
        model, config, about = loaded(options)
        run |= about
    from svlm_core.evaluation.benchmarks.captioner import CaptionerSide
    from svlm_core.evaluation.benchmarks.narration import ModelSide
    from svlm_core.evaluation.benchmarks.pair_run import BEFORE, figures, JUDGED, OURS, PairRun, THEIRS
    from svlm_core.evaluation.benchmarks.predictions import FileSide
    from svlm_core.evaluation.benchmarks.question_run import CLOCK

    given = options.previous_of_files
    ours: Any
    theirs: Any
    if options.predictions:
        ours = FileSide(options.predictions, given)
        run["ours_sha256"] = file_hash(options.predictions)
    else:
        assert model is not None and config is not None
        ours = ModelSide(f"{model.name}, policy {config.policy}", model, config)
    if policy:
        assert model is not None and config is not None
        theirs = ModelSide(
            f"{model.name}, policy {policy}", model, config.replace({"policy": policy}, "--baseline")
        )
    elif options.baseline == CAPTIONER:
        captioner = endpoint(options, _CAPTION_TOKENS, options.captioner_url, options.captioner_model)
        theirs = CaptionerSide(client(options, captioner), options.caption_s, options.caption_frames)
        run |= {"caption_s": options.caption_s, "caption_frames": options.caption_frames}
    else:
        theirs = FileSide(Path(options.baseline), given)
        run["theirs_sha256"] = file_hash(Path(options.baseline))
    run |= {"ours": ours.name, "theirs": theirs.name}
    open_run(options.out, run)
    asked = client(options, judge)
    pairs = PairRun(
        ours, theirs, options.previous, asked.ask, options.workers, options.videos, options.out, part
    )
    stages = {stage: pairs.records(stage) for stage in (OURS, THEIRS, BEFORE, JUDGED)}
    if options.retry_excluded:
        for records in stages.values():
            records.forget_excluded()
    keep_excluded(stages[JUDGED], excluded)
    known, mine = stages[JUDGED].read(), set(part.mine(stretch.id for stretch in stretches))
    waiting = [segment for segment in segments if segment.id not in known and segment.stretch in mine]
    confirm(_cost(options, waiting, stretches if options.baseline == CAPTIONER else ()), options.yes)
    with tqdm(total=len(segments), unit="segment", desc=name, file=sys.stderr) as bar:
        pairs.run(stretches, segments, bar)
    found = stages[JUDGED].read()
    said = stages[OURS].read()
    chunk_ms = [ms for record in said.values() if CLOCK in record for ms in record[CLOCK]["ms"]]
    rates = figures(list(found.values()), options.bootstrap_seed, by_fifth)
    return conclude(options, run, rates, found, len(segments) + len(excluded), chunk_ms)


def _baseline_policy(baseline: str) -> str:
    """The policy of policy:NAME, "" for another baseline."""
    if not baseline.startswith(POLICY):
        return ""
    policy = baseline.removeprefix(POLICY)
    if policy not in POLICIES:
        raise ConfigError(
            f"--baseline {baseline}: not one of {', '.join(POLICY + name for name in POLICIES)}"
        )
    return policy


def _cost(options: argparse.Namespace, waiting: Sequence[Segment], captioned: Sequence[Stretch]) -> Cost:
    """Before anything is said: commentary is taken to be as long as the human's."""
    characters = 0
    for segment in waiting:
        shown = messages(Comparison(segment.reference, "", ""), segment.reference, segment.reference)
        characters += _ORDERS * sum(len(message["content"]) for message in shown)
    chunks = sum(-(-(stretch.end_s - stretch.start_s) // options.caption_s) for stretch in captioned)
    return Cost(
        _ORDERS * len(waiting) + int(chunks),
        characters / CHARACTERS_PER_TOKEN + chunks * options.caption_frames * IMAGE_TOKENS,
        _ORDERS * len(waiting) * _VOTE_TOKENS + chunks * _CAPTION_TOKENS,
        options.price_in,
        options.price_out,
    )
