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

"""A machine with a model, an `svlm serve` and its keys, as stream nodes of other machines see it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from network import free_port
from serve_rig import make_keys, ServeRig
from svlm_core.offload.keys import SERVER

ROBOT = "robot"  # name of the key that is allowed


@dataclass
class Workstation:
    """A server that is started with `server.start()`, and how it is reached.

    Attributes:
        server: the process.
        endpoint: where it is.
        keys: folder of its keys; for shortness the robot's own lies there, too.
    """

    server: ServeRig
    endpoint: str
    keys: Path

    @classmethod
    def prepare(cls, folder: Path, model: Path | str) -> Workstation:
        """Make keys and choose a port."""
        keys = make_keys(folder / "keys", ROBOT)
        endpoint = f"tcp://127.0.0.1:{free_port()}"
        options = ("--keys", str(keys), "--model", str(model), "--threads", "1")
        return cls(ServeRig(folder, endpoint, *options), endpoint, keys)

    def link(self, robot: str = ROBOT) -> dict[str, str]:
        """The parameters of a node that reaches it."""
        key_file, server_key = str(self.keys / f"{robot}.key"), str(self.keys / f"{SERVER}.pub")
        return {"backend": "zmq", "endpoint": self.endpoint, "key_file": key_file, "server_key": server_key}
