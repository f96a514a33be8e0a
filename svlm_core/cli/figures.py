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

"""How a verb hands out its figures: a table for people, JSON for programs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
import json
from pathlib import Path
import sys
from typing import Any

from svlm_core.errors import ConfigError

_STDOUT = "-"


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """--json [FILE]."""
    parser.add_argument(
        "--json",
        nargs="?",
        const=_STDOUT,
        metavar="FILE",
        help="write the figures as JSON to FILE; without FILE to stdout, and the table to stderr",
    )


def check_writable(path: str | Path, option: str) -> None:
    """Before the work: raise ConfigError when the file of an option cannot be written."""
    if str(path) != _STDOUT:
        _write(Path(path), "a", "", option)


def hand_out(options: argparse.Namespace, figures: Mapping[str, Any], table: str) -> None:
    """Print the table, and write the figures where --json says.

    Raises:
        ConfigError: the file cannot be written.
    """
    text = json.dumps(figures, allow_nan=False)
    print(table, file=sys.stderr if options.json == _STDOUT else sys.stdout)
    if options.json == _STDOUT:
        print(text)
    elif options.json:
        _write(Path(options.json), "w", text + "\n", "--json")


def _write(path: Path, mode: str, text: str, option: str) -> None:
    try:
        with path.open(mode, encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ConfigError(f"{option} {path}: cannot be written ({error.strerror})") from error
