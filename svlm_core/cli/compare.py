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

"""`svlm eval compare A B`: two runs of one benchmark side by side."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_parser(actions: Any) -> None:
    """Describe the verb."""
    parser = actions.add_parser(
        "compare",
        help="two runs of one benchmark side by side",
        description="Print the figures of two runs, their differences (* where the intervals do not touch), "
        "and all settings, hashes and versions in which they differ.",
    )
    parser.add_argument("a", type=Path, metavar="A", help="a run's folder, or its result.json")
    parser.add_argument("b", type=Path, metavar="B", help="another's")
    parser.add_argument("--html", type=Path, metavar="FILE", help="also as one page")
    parser.set_defaults(run=run_compare)


def run_compare(options: argparse.Namespace) -> int:
    """Compare; prints a table."""
    from svlm_core.evaluation.runs.compare import compare_page, compare_text, read_result
    from svlm_core.evaluation.runs.outcome import write_file

    a, b = read_result(options.a), read_result(options.b)
    print(compare_text(a, b))
    if options.html:
        write_file(options.html, compare_page(a, b))
    return 0
