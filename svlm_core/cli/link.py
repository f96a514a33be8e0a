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

"""The command line's way to a model on another machine."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
import os
from pathlib import Path
from typing import Any

from svlm_core.cli.output import say
from svlm_core.cli.settings import given_model_options, given_settings
from svlm_core.errors import ConfigError
from svlm_core.offload.client import Client
from svlm_core.offload.curve import ClientKeys
from svlm_core.offload.link import LinkState
from svlm_core.offload.wire import Picture

_QUALITY = 85
_ONLY_WITH_ENDPOINT = ("key", "server_key", "unencrypted", "jpeg_quality", "lossless")


def add_link_options(parser: argparse.ArgumentParser) -> None:
    """--endpoint, --key, --server-key, --unencrypted, --jpeg-quality, --lossless."""
    group = parser.add_argument_group(
        "model on another machine", "what `svlm serve` runs; neither torch nor a model is needed here"
    )
    group.add_argument("--endpoint", metavar="tcp://HOST:PORT", help="of svlm serve; it has the model")
    group.add_argument(
        "--key", type=Path, metavar="FILE", help="this robot's keys, made by svlm keys new; see svlm keys"
    )
    group.add_argument(
        "--server-key", metavar="KEY", help="the server's public key, or the path of its server.pub"
    )
    group.add_argument(
        "--unencrypted",
        action="store_true",
        default=None,
        help="go without keys beyond this machine: everybody on the network can look through the camera",
    )
    group.add_argument(
        "--jpeg-quality", type=int, metavar="N", help=f"of the pictures, 1 to 100 (default: {_QUALITY})"
    )
    group.add_argument(
        "--lossless",
        action="store_true",
        default=None,
        help="send the pictures as they are, as PNG: the words of a model here, for ten times the bytes",
    )


def check_link_options(options: argparse.Namespace) -> None:
    """Raise ConfigError where options make no sense together."""
    given = [name for name in _ONLY_WITH_ENDPOINT if getattr(options, name) is not None]
    if not options.endpoint and given:
        raise ConfigError(f"{_options(given)}: only with --endpoint")
    if options.endpoint and (of_the_model := given_model_options(options)):
        raise ConfigError(f"{_options(of_the_model)}: with --endpoint that is the server's to decide")
    if options.lossless and options.jpeg_quality is not None:
        raise ConfigError("--lossless and --jpeg-quality exclude each other")
    if options.jpeg_quality is not None and not 1 <= options.jpeg_quality <= 100:
        raise ConfigError(f"--jpeg-quality must be 1 to 100, got {options.jpeg_quality}")
    if (options.key is None) is not (options.server_key is None):
        missing = "--key" if options.key is None else "--server-key"
        raise ConfigError(f"{missing} is missing: --key and --server-key go together, see svlm keys --help")


def open_clients(options: argparse.Namespace, names: list[str], open_things: ExitStack) -> list[Client]:
    """A link for each camera, all of them live.

    Args:
        options: checked.
        names: of the cameras.
        open_things: closes the links.

    Raises:
        ConfigError: the keys or the endpoint will not do.
        LinkError: the server refuses one.
    """
    keys = None
    if options.key is not None:
        keys = ClientKeys.read(options.key.expanduser(), os.path.expanduser(options.server_key))
    overrides: dict[str, Any] = {}
    for values, _ in given_settings(options):
        overrides |= values
    say(f"connecting to {options.endpoint}")
    clients = [
        open_things.enter_context(
            Client(
                options.endpoint,
                overrides,
                camera=name,
                keys=keys,
                unencrypted=bool(options.unencrypted),
                picture=Picture.PNG if options.lossless else Picture.JPEG,
                quality=_QUALITY if options.jpeg_quality is None else options.jpeg_quality,
                partial=options.partial,
                on_state=_Teller(f"{name}: " if len(names) > 1 else ""),
            )
        )
        for name in names
    ]
    for client in clients:
        client.wait_until_live()
    return clients


def link_summary(state: LinkState) -> str:
    """How the link was."""
    trip = "not measured" if state.round_trip_ms is None else f"{state.round_trip_ms:.1f} ms"
    return f"; link {state.name}, {state.reconnects} reconnects, round trip {trip}"


class _Teller:
    """Says in one line how a link stands; not what ends the program with that very line."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._was_live = False

    def __call__(self, state: LinkState) -> None:
        if state.final and not self._was_live:
            return
        self._was_live = self._was_live or state.name == "live"
        reason = f": {state.reason}" if state.reason else ""
        say(f"{self._prefix}link {state.name}{reason}")


def _options(names: list[str]) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in names)
