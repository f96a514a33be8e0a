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

"""Where a node's stream comes from when the model runs elsewhere: `svlm serve`, over a link that breaks."""

from __future__ import annotations

from collections.abc import Mapping
import os
from pathlib import Path
from typing import Any

from rclpy.impl.rcutils_logger import RcutilsLogger
from svlm_core.errors import ConfigError
from svlm_core.offload.client import Client, LinkState
from svlm_core.offload.curve import beyond_this_machine, ClientKeys
from svlm_core.offload.wire import Picture
from svlm_ros.parameters import ModelParameters
from svlm_ros.supply import Lease, Wanted

_POLL_S = 0.05  # how often a link that is not there yet asks whether it is wanted still
_OF_THE_SERVER = ("model", "device", "dtype")  # parameters that mean nothing here


class Link:
    """The link of one node; a StreamSupply."""

    def __init__(self, camera: str, logger: RcutilsLogger) -> None:
        """Connect to nothing yet.

        Args:
            camera: name of the camera in the server's log.
            logger: of the node; every change of the link's state is a line.
        """
        self._camera, self._logger = camera, logger
        self._client: Client | None = None

    @property
    def state(self) -> LinkState | None:
        """How the link stands; None while there is none."""
        client = self._client
        return client.state if client else None

    def open(self, model: ModelParameters, overrides: Mapping[str, Any], wanted: Wanted) -> Lease | None:
        """As StreamSupply.open; waits for the server as long as it takes."""
        self._say_what_is_ignored(model)
        client = Client(
            model.endpoint,
            overrides,
            camera=self._camera,
            keys=read_keys(model),
            unencrypted=model.unencrypted,
            picture=Picture.JPEG if model.jpeg_quality else Picture.PNG,
            quality=model.jpeg_quality,
            on_state=self._say,
        )
        self._client = client
        lease = None
        try:
            while wanted() and lease is None:
                if client.wait_until_live(_POLL_S).name == LIVE:
                    lease = Lease(client, client.close, lambda: None)
        finally:
            if lease is None:
                client.close()
        return lease

    def _say_what_is_ignored(self, model: ModelParameters) -> None:
        defaults = ModelParameters()
        given = [name for name in _OF_THE_SERVER if getattr(model, name) != getattr(defaults, name)]
        if given:
            names = f"{', '.join(given)} {'are' if len(given) > 1 else 'is'}"
            self._logger.warning(f"{names} the server's to decide with backend zmq, and ignored here")

    def _say(self, state: LinkState) -> None:
        """One line for each state, on the client's thread."""


def read_keys(model: ModelParameters) -> ClientKeys | None:
    """The keys that the parameters name; None if they name none and none are needed.

    Raises:
        ConfigError: the endpoint is none, a key is missing or cannot be read.
    """
    if not model.endpoint:
        raise ConfigError(
            "parameter endpoint is empty; backend zmq needs the address of an svlm serve, tcp://HOST:PORT"
        )
    beyond = beyond_this_machine(model.endpoint)
    if model.key_file or model.server_key:
        for name in ("key_file", "server_key"):
            if not getattr(model, name):
                raise ConfigError(
                    f"parameter {name} is empty; a link with keys needs key_file and server_key"
                )
        return ClientKeys.read(Path(model.key_file).expanduser(), os.path.expanduser(model.server_key))
    if beyond and not model.unencrypted:
        raise ConfigError(
            f"{model.endpoint} goes beyond this machine: set the parameters key_file and server_key (see "
            "`svlm keys --help`), or unencrypted, and everybody on the network can look through the camera"
        )
    return None
