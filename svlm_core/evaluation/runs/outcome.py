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

"""The files at the end of a run: result.json, timing.json and report.html."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import json
from pathlib import Path
from typing import Any

import numpy as np
from svlm_core.errors import ConfigError, SvlmError
from svlm_core.evaluation.runs.exclusions import account
from svlm_core.evaluation.runs.page import render_run
from svlm_core.evaluation.runs.provenance import versions
from svlm_core.evaluation.runs.records import Record

RESULT, TIMING, REPORT = "result.json", "timing.json", "report.html"


class TooManyExcludedError(SvlmError):
    """The share of items in no rate is above what the user allows."""


def finish(
    folder: Path,
    run: Mapping[str, Any],
    figures: Mapping[str, Any],
    records: Mapping[str, Record],
    chunk_ms: Sequence[float],
) -> dict[str, Any]:
    """Write the files of a benchmark.

    Args:
        folder: the run's.
        run: what decided the figures.
        figures: without a clock in them.
        records: of all items, by id.
        chunk_ms: wall time of each chunk, milliseconds; may be empty.

    Returns:
        What RESULT holds.

    Raises:
        ConfigError: one cannot be written.
    """
    result = result_of(run, figures, account(records), {})
    timing = _timing(chunk_ms)
    write_outcome(folder, result, timing, render_run(result, timing, records, folder))
    return result


def result_of(
    run: Mapping[str, Any],
    figures: Mapping[str, Any],
    accounting: Mapping[str, Any],
    stopped: Mapping[str, str],
) -> dict[str, Any]:
    """What RESULT holds of any run.

    Args:
        run: what decided the figures.
        figures: without a clock in them.
        accounting: as svlm_core.evaluation.runs.exclusions.account returns it.
        stopped: why streams ended early, by name; those that did not are left out.
    """
    return {
        "benchmark": run["benchmark"],
        "stopped": dict(stopped),
        "figures": figures,
        "accounting": accounting,
        "run": run,
        "versions": versions(),
    }


def write_outcome(folder: Path, result: Mapping[str, Any], timing: Mapping[str, Any], page: str) -> None:
    """Write RESULT, TIMING and REPORT; ConfigError when that fails."""
    write_file(folder / RESULT, json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    write_file(folder / TIMING, json.dumps(timing) + "\n")
    write_file(folder / REPORT, page)


def write_file(path: Path, text: str) -> None:
    """Write a text file; ConfigError when that fails."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror})") from error


def check_excluded(result: Mapping[str, Any], most: float) -> None:
    """Raise TooManyExcludedError when more than this share of the items is in no rate."""
    accounting = result["accounting"]
    share = accounting["share_excluded"]
    if share > most or not accounting["counted"]:
        reasons = ", ".join(f"{n} {reason}" for reason, n in accounting["by_reason"].items())
        raise TooManyExcludedError(
            f"{accounting['excluded']} of {accounting['items']} items are excluded ({100 * share:.1f} %, "
            f"--max-excluded allows {100 * most:.1f} %): {reasons}; the report lists them"
        )


def _timing(chunk_ms: Sequence[float]) -> dict[str, Any]:
    if not chunk_ms:
        return {"chunk_ms": []}
    p50, p99 = np.percentile(chunk_ms, (50, 99))
    return {
        "chunk_ms_p50": round(float(p50), 3),
        "chunk_ms_p99": round(float(p99), 3),
        "chunk_ms": list(chunk_ms),
    }
