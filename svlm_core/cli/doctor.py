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

"""`svlm doctor`: what this machine has and what that means."""

from __future__ import annotations

import argparse
from typing import Any

from svlm_core.doctor import examine


def add_parser(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser(
        "doctor",
        help="say what this machine has",
        description="Say what this machine has and what that means.",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the report."""
    findings = examine()
    width = max(len(finding.version) for finding in findings)
    for finding in findings:
        mark = "yes" if finding.found else "no "
        print(f"{mark}  {finding.name:<13} {finding.version:<{width}}  {finding.meaning}")
    return 0
