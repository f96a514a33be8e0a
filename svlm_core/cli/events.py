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

"""`svlm eval events`: any events file against any timed reference."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from svlm_core.cli.run_options import conclude, MAX_EXCLUDED
from svlm_core.errors import ConfigError

_NAME = "events"
_WINDOW_S = 5


def add_parser(actions: Any) -> None:
    """Describe the verb."""
    parser = actions.add_parser(
        "events",
        help="an events file against a timed reference: words, timeliness, repetition",
        description="Hold what was said against a reference, second by second. docs/evaluation.md says what "
        "each figure means.",
    )
    parser.add_argument("events", type=Path, metavar="EVENTS.jsonl", help="as svlm stream --jsonl writes it")
    parser.add_argument(
        "--reference",
        type=Path,
        required=True,
        metavar="FILE",
        help='.vtt, .srt, or JSON lines with "sentence" or "text" and "start_s" and "end_s"',
    )
    parser.add_argument(
        "--origin-ns",
        type=int,
        metavar="N",
        help="stamp of the recording's beginning, where the events' stamps are dates",
    )
    parser.add_argument(
        "--window-s",
        type=int,
        default=_WINDOW_S,
        metavar="N",
        help="text scores compare what was said in windows of so many seconds (default: %(default)s)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="made if it does not exist")
    parser.add_argument(
        "--max-excluded",
        type=float,
        default=MAX_EXCLUDED,
        metavar="SHARE",
        help="exit with 1 when a larger share of the lines is in no figure (default: %(default)s)",
    )
    parser.set_defaults(run=run_events)


def run_events(options: argparse.Namespace) -> int:
    """Score; prints the figures, writes result.json and report.html."""
    if options.window_s < 1:
        raise ConfigError(f"--window-s must be at least 1, got {options.window_s}")
    from svlm_core.evaluation.commentary.score import score_events
    from svlm_core.evaluation.commentary.timed_text import read_events, read_reference
    from svlm_core.evaluation.runs.provenance import file_hash

    said, excluded = read_events(options.events, options.origin_ns)
    reference, more = read_reference(options.reference, options.origin_ns)
    figures, records = score_events(said, reference, options.window_s)
    run = {
        "benchmark": _NAME,
        "ours": options.events.name,
        "data": options.reference.name,
        "ours_sha256": file_hash(options.events),
        "data_sha256": file_hash(options.reference),
        "origin_ns": options.origin_ns,
        "window_s": options.window_s,
    }
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {options.out}: cannot be made ({error.strerror})") from error
    found = [*records, *(item.record() for item in (*excluded, *more))]
    found.sort(key=lambda record: record["id"])
    return conclude(options, run, figures, {record["id"]: record for record in found}, len(found), ())
