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

"""`svlm serve`: one model for many robots."""

from __future__ import annotations

import argparse
from contextlib import AbstractContextManager, nullcontext
import logging
from pathlib import Path
import signal
import sys
from typing import Any

from svlm_core.cli.settings import add_model_options, given_settings
from svlm_core.offload.launcher import Launcher
from svlm_core.offload.local_workers import LocalLauncher
from svlm_core.offload.logs import LEVELS, log_to_stderr
from svlm_core.offload.serving import (
    DEFAULT_BIND,
    default_journal,
    DEFAULT_METRICS,
    ServeConfig,
    STREAMS_PER_DEVICE,
)

LOG = logging.getLogger(__name__)

EXAMPLES = """\
on this machine only:   svlm serve
                        svlm stream SOURCE --endpoint tcp://127.0.0.1:5577
for robots on a network, with keys (svlm keys --help):
                        svlm serve --bind 'tcp://*:5577' --keys DIR
two GPUs, one endpoint: svlm serve --model org/name --devices cuda:0,cuda:1 --dtype bfloat16

What was said before survives a restart; what was seen does not, and the robots are told so.
Ctrl-C or SIGTERM answers what is in work and ends. Exit codes: 0 after that, 1 when it could not start, or a
worker or its device could not be kept running: let a supervisor start it again. More: docs/offload.md
"""


def add_parser(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser(
        "serve",
        help="understand the cameras of robots on this machine",
        description="Run the model here for robots elsewhere: they send pictures, words go back.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--bind",
        default=DEFAULT_BIND,
        metavar="ENDPOINT",
        help="where robots connect to (default: %(default)s)",
    )
    parser.add_argument(
        "--keys",
        type=Path,
        metavar="DIR",
        help="directory of keys, see svlm keys; needed beyond this machine",
    )
    parser.add_argument(
        "--unencrypted",
        action="store_true",
        help="without keys beyond this machine: everybody on the network can look through the cameras",
    )
    parser.add_argument(
        "--max-sessions",
        type=int,
        default=0,
        metavar="N",
        help="cameras that there is room for; the next one is refused until one leaves "
        f"(default: {STREAMS_PER_DEVICE} for each device; svlm bench capacity measures what yours can hold)",
    )
    parser.add_argument(
        "--metrics",
        metavar="HOST:PORT",
        help="where /metrics, /live and /ready are shown to anybody; '' for nowhere; see svlm top "
        f"(default: {DEFAULT_METRICS}, if it is free)",
    )
    parser.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="run the workers as actors of the Ray cluster at ADDRESS (auto for the one that this machine is "
        "in), a GPU each, as many as --devices names; without ADDRESS on this machine; see docs/deploy.md",
    )
    parser.add_argument(
        "--log-level",
        default=ServeConfig.log_level,
        choices=LEVELS,
        help="debug has a line for every chunk (default: %(default)s)",
    )
    parser.add_argument("--log-json", action="store_true", help="write the log as JSON, an object a line")
    parser.add_argument(
        "--journal",
        type=Path,
        metavar="FILE",
        help="keeps what was said over a restart (default: a file in ~/.local/state/svlm named after --bind)",
    )
    add_model_options(parser, many_devices=True)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM."""
    from svlm_core.offload.front import Front  # says what to install where a package is missing

    config = ServeConfig(
        bind=options.bind,
        keys_dir=options.keys and options.keys.expanduser(),
        unencrypted=options.unencrypted,
        model=options.model or ServeConfig.model,
        devices=tuple(options.devices.split(",")),
        dtype=options.dtype,
        quantize=options.quantize or "",
        threads=options.threads,
        settings=given_settings(options),
        max_sessions=options.max_sessions,
        metrics=options.metrics,
        log_level=options.log_level,
        log_json=options.log_json,
        journal=options.journal or default_journal(options.bind),
    )
    log_to_stderr(config.log_json, config.log_level)

    def ready(endpoint: str, public: bytes | None) -> None:
        if config.log_json:
            about = {"endpoint": endpoint, "public_key": (public or b"").decode(), "room": config.room}
            LOG.info("ready", extra={**about, "model": config.model, "devices": config.devices})
            return
        key = f", public key '{public.decode()}'" if public else ", without keys"
        where = ", ".join(config.devices)
        print(
            f"svlm: ready at {endpoint}{key}: {config.model} on {where}, room for {config.room} cameras; "
            "Ctrl-C ends",
            file=sys.stderr,
            flush=True,
        )

    if not config.log_json:
        print(f"svlm: loading {config.model}", file=sys.stderr)
    with _launcher(options.ray, config) as launcher:
        front = Front(config, launcher)
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, lambda *_: front.stop())
        front.run(ready)
    return 0


def _launcher(ray: str | None, config: ServeConfig) -> AbstractContextManager[Launcher]:
    """Whatever starts the workers; `ray` is the option."""
    if ray is None:
        return nullcontext(LocalLauncher())
    from svlm_core.offload.ray_workers import RayLauncher  # says what to install where Ray is missing

    return RayLauncher(ray, config.devices)
