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

"""Parses `svlm VERB ...` and turns errors into one line and an exit code."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import logging
import sys

from svlm_core.cli import ablate, bench, data, doctor, evaluate, keys, serve, stream, top, train, world
from svlm_core.errors import SvlmError

VERBS = (stream, serve, train, ablate, data, evaluate, bench, world, keys, top, doctor)
EXIT_ERROR, EXIT_INTERRUPTED = 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        0 when the verb did its work, 1 with one line on stderr when it could not, 130 after Ctrl-C.
    """
    parser = argparse.ArgumentParser(
        prog="svlm",
        description="Streaming vision-language commentary: constant cost, however long the camera runs.",
        epilog="`svlm VERB --help` explains a verb. Try: svlm stream world://1000007?seconds=60",
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb in VERBS:
        verb.add_parser(verbs)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for library in ("absl", "bitsandbytes", "httpx", "huggingface_hub", "transformers"):
        logging.getLogger(library).setLevel(logging.ERROR)  # their news is not the user's
    try:
        return int(options.run(options))
    except SvlmError as error:
        print(f"svlm: {error}", file=sys.stderr)
        return EXIT_ERROR
    except BrokenPipeError:
        sys.stderr.close()  # `svlm stream ... | head`: whoever reads has had enough
        return EXIT_ERROR
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
