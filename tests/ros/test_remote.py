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

"""What the parameters of a link say about keys."""

from __future__ import annotations

from dataclasses import replace
import os
from pathlib import Path

import pytest
from serve_rig import make_keys
from svlm_core.errors import ConfigError
from svlm_ros.parameters import ModelParameters
from svlm_ros.remote import read_keys

HERE, FAR = "tcp://127.0.0.1:5577", "tcp://192.0.2.1:5577"
REMOTE = ModelParameters(backend="zmq", endpoint=HERE)


def test_the_keys_are_read_below_the_home_folder_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_keys(tmp_path / "keys", "robot")
    monkeypatch.setitem(os.environ, "HOME", str(tmp_path))
    keys = read_keys(
        replace(REMOTE, endpoint=FAR, key_file="~/keys/robot.key", server_key="~/keys/server.pub")
    )
    assert keys is not None
    z85 = keys.server.decode()
    assert read_keys(replace(REMOTE, key_file="~/keys/robot.key", server_key=z85)) == keys


def test_a_server_on_this_machine_or_an_open_network_needs_none() -> None:
    assert read_keys(REMOTE) is None
    assert read_keys(replace(REMOTE, endpoint=FAR, unencrypted=True)) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"endpoint": ""}, ["endpoint is empty", "tcp://HOST:PORT"]),
        ({"endpoint": "workstation"}, ["'workstation'", "tcp://HOST:PORT"]),
        ({"endpoint": FAR}, [FAR, "beyond this machine", "key_file", "unencrypted"]),
        ({"key_file": "/no/such.key"}, ["server_key is empty"]),
        ({"server_key": "server.pub"}, ["key_file is empty"]),
        ({"key_file": "/no/such.key", "server_key": "server.pub"}, ["/no/such.key"]),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, str], words: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        read_keys(replace(REMOTE, **changes))
    assert all(word in str(error.value) for word in words), error.value
