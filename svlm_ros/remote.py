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
import time
from typing import Any

from rclpy.impl.rcutils_logger import RcutilsLogger
from svlm_core.errors import ConfigError
from svlm_core.offload.client import Client
from svlm_core.offload.curve import beyond_this_machine, ClientKeys
from svlm_core.offload.link import LinkState, LIVE, REFUSED
from svlm_core.offload.wire import Picture
from svlm_ros.parameters import ModelParameters
from svlm_ros.supply import Lease, Wanted

_POLL_S = 0.05  # how often a link that is not there yet asks whether it is wanted still
_OF_THE_SERVER = ("model", "device", "dtype")  # parameters that mean nothing here


class RemoteModel:
    """The link of one node to a server; a StreamSupply.

    Attributes:
        state: how the link stands; None before there is one.
    """

    def __init__(self, camera: str, partial: bool, logger: RcutilsLogger) -> None:
        """Connect to nothing yet.

        Args:
            camera: name of the camera in the server's log.
            partial: whether words are wanted while they are found.
            logger: of the node; the link's states are lines in it.
        """
        self._camera, self._partial, self._logger = camera, partial, logger
        self._client: Client | None = None
        self._said = ("", "")

    @property
    def state(self) -> LinkState | None:
        """How the link stands; None before there is one."""
        return self._client.state if self._client else None

    @property
    def down_s(self) -> float:
        """How long nothing could go over it; 0 while something can."""
        state = self.state
        return 0.0 if state is None or state.name == LIVE else time.monotonic() - state.since_s

    @property
    def model(self) -> str:
        """Name of the server's checkpoint, "" before the link was live."""
        return self._client.model if self._client else ""

    def open(self, model: ModelParameters, overrides: Mapping[str, Any], wanted: Wanted) -> Lease | None:
        """As StreamSupply.open; waits for the server as long as it takes."""
        self._warn_of_ignored(model)
        jpeg: dict[str, Any] = {"picture": Picture.JPEG, "quality": model.jpeg_quality}
        client = Client(
            model.endpoint,
            overrides,
            camera=self._camera,
            keys=read_keys(model),
            unencrypted=model.unencrypted,
            partial=self._partial,
            on_state=self._say,
            **(jpeg if model.jpeg_quality else {"picture": Picture.PNG}),
        )
        self._client = client
        lease = None
        try:
            while wanted() and lease is None:
                if client.state.name == LIVE:
                    lease = Lease(client, client.close, lambda: None)
                else:  # refused as well: it is tried again, once somebody has mended what was wrong
                    time.sleep(_POLL_S)
        finally:
            if lease is None:
                client.close()
        return lease

    def _warn_of_ignored(self, model: ModelParameters) -> None:
        defaults = ModelParameters()
        given = [name for name in _OF_THE_SERVER if getattr(model, name) != getattr(defaults, name)]
        if given:
            self._logger.warning(
                f"with backend zmq the server decides about these parameters: {', '.join(given)}"
            )

    def _say(self, state: LinkState) -> None:
        """A line for each state, and for each reason of a refusal; on the link's thread."""
        said = (state.name, state.reason if state.name == REFUSED else "")
        if said == self._said:
            return
        self._said = said
        line = f"link {state.name}" + (f": {state.reason}" if state.reason else "")
        if state.name == LIVE:
            self._logger.info(f"{line}: model {self.model}")
        elif state.name == REFUSED:
            self._logger.error(line)
        else:
            self._logger.warning(line)


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
