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

"""`svlm eval ovo`, `streamingbench` and `livesports --qa`: questions about moments of videos."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
import sys
from typing import Any

from svlm_core.cli.run_options import add_run_options, conclude, described, keep_excluded, loaded, shard
from svlm_core.errors import ConfigError
from svlm_core.evaluation.benchmarks import livesports, ovo, streamingbench
from svlm_core.evaluation.benchmarks.accuracy import accuracy
from svlm_core.evaluation.benchmarks.question import Question
from svlm_core.evaluation.runs.exclusions import Excluded
from svlm_core.evaluation.runs.provenance import open_run
from svlm_core.evaluation.runs.records import Record, Records
from tqdm import tqdm

STREAMING, OFFLINE = "streaming", "offline"

_STAGE = "answers"

Read = Callable[[Path], "list[Question | Excluded]"]
Figures = Callable[[Sequence[Record], int], dict[str, Any]]


def add_parsers(actions: Any) -> None:
    """Describe the verbs."""
    for name, module, about in (
        ("ovo", ovo, "OVO-Bench, with and without Forward"),
        ("streamingbench", streamingbench, "StreamingBench, by task"),
    ):
        parser = actions.add_parser(
            name,
            help=about,
            description=f"{about}: each video is streamed once, and each question is put to a copy of the "
            "stream at its moment. docs/evaluation.md says what is counted how.",
        )
        add_question_options(parser, "the benchmark's JSON file")
        parser.set_defaults(run=_runner(name, module.read, module.figures))
    parser = actions.add_parser(
        "livesports-qa",
        help="LiveSports-3K QA",
        description="LiveSports-3K QA: each event is streamed from its beginning and asked about at its end.",
    )
    add_question_options(parser, "the QA file: .json, .jsonl or .csv")
    parser.set_defaults(run=_runner("livesports-qa", livesports.read_qa, lambda r, seed: accuracy(r, seed)))


def add_question_options(parser: argparse.ArgumentParser, data: str) -> None:
    """What all benchmarks of questions have."""
    add_run_options(parser, data)
    parser.add_argument(
        "--offline-path",
        action="store_true",
        help="not streaming: each question gets frames spread over all that came before it, at once; the "
        "report says which path it was",
    )
    parser.add_argument(
        "--offline-frames",
        type=int,
        default=64,
        metavar="N",
        help="of a question on the offline path (default: %(default)s)",
    )


def _runner(name: str, read: Read, figures: Figures) -> Callable[[argparse.Namespace], int]:
    return lambda options: run_questions_verb(options, name, read, figures)


def run_questions_verb(options: argparse.Namespace, name: str, read: Read, figures: Figures) -> int:
    """Ask all questions of a file, and write the figures."""
    part = shard(options)
    if options.offline_frames < 1:
        raise ConfigError(f"--offline-frames must be at least 1, got {options.offline_frames}")
    items = read(options.data)
    questions = [item for item in items if isinstance(item, Question)]
    model, config, about = loaded(options)
    run = {**described(options, name), "path": OFFLINE if options.offline_path else STREAMING, **about}
    if options.offline_path:
        run["offline_frames"] = options.offline_frames
    open_run(options.out, run)
    records = Records(options.out, _STAGE, part)
    if options.retry_excluded:
        records.forget_excluded()
    keep_excluded(records, [item for item in items if isinstance(item, Excluded)])
    from svlm_core.evaluation.benchmarks.asking import Answer, answer_offline, answer_streaming
    from svlm_core.evaluation.benchmarks.question_run import CLOCK, run_questions

    def streaming(open_until: Any, asked: Sequence[Question], progress: Any) -> list[Answer]:
        with open_until(max(question.at_s for question in asked)) as source:
            return answer_streaming(model, config, source, asked, progress)

    def offline(open_until: Any, asked: Sequence[Question], progress: Any) -> list[Answer]:
        answers = []
        for question in asked:
            with open_until(question.at_s) as source:
                answers.append(answer_offline(model, config, source, question, options.offline_frames))
        return answers

    path = offline if options.offline_path else streaming
    with tqdm(total=len(questions), unit="question", desc=name, file=sys.stderr) as bar:
        run_questions(questions, path, options.videos, options.out, records, part, bar)
    found = records.read()
    chunk_ms = [ms for record in found.values() if CLOCK in record for ms in record[CLOCK]["ms"]]
    shares = figures(list(found.values()), options.bootstrap_seed)
    return conclude(options, run, shares, found, len(items), chunk_ms)
