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

from __future__ import annotations

from pathlib import Path
import threading

import pytest
from svlm_core.offload.allow_list import AllowList
from svlm_core.offload.keys import KeyStore
import zmq

OTHER, _ = zmq.curve_keypair()


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "keys")


@pytest.fixture
def allowed(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> AllowList:
    """A list whose every question looks at the files."""
    monkeypatch.setattr("svlm_core.offload.allow_list._REFRESH_S", 0.0)
    return AllowList(store)


def test_the_list_is_read_live(store: KeyStore, allowed: AllowList) -> None:
    assert allowed.name(OTHER) is None and not allowed.allows("robot1")
    store.allow("robot1", OTHER)
    assert allowed.name(OTHER) == "robot1" and allowed.allows("robot1") and not allowed.allows("")
    store.revoke("robot1")
    assert allowed.name(OTHER) is None and not allowed.allows("robot1")


def test_the_list_is_looked_at_only_now_and_then(store: KeyStore) -> None:
    allowed = AllowList(store)
    assert allowed.name(OTHER) is None
    store.allow("robot1", OTHER)
    assert allowed.name(OTHER) is None  # a flood of handshakes must not read the disk each time


def test_a_name_can_get_another_key(store: KeyStore, allowed: AllowList) -> None:
    new = zmq.curve_keypair()[0]
    store.allow("robot1", OTHER)
    assert allowed.name(OTHER) == "robot1"
    store.allow("robot1", new)
    assert allowed.name(new) == "robot1" and allowed.name(OTHER) is None and allowed.allows("robot1")


def test_a_broken_file_locks_out_its_own_robot_only(store: KeyStore, allowed: AllowList) -> None:
    store.allow("robot1", OTHER)
    (store.allowed_folder / "robot2.pub").write_text("nonsense")
    assert allowed.name(OTHER) == "robot1"


def test_a_list_that_is_gone_lets_nobody_in(store: KeyStore, allowed: AllowList) -> None:
    store.allow("robot1", OTHER)
    assert allowed.allows("robot1")
    store.allowed_folder.rename(store.folder / "elsewhere")
    assert not allowed.allows("robot1")


def test_others_stay_while_keys_come_and_go(store: KeyStore, allowed: AllowList) -> None:
    store.allow("robot1", OTHER)
    done = threading.Event()

    def churn() -> None:
        for _ in range(100):
            store.allow("robot2", zmq.curve_keypair()[0])
            store.revoke("robot2")
        done.set()

    thread = threading.Thread(target=churn)
    thread.start()
    answers = {allowed.allows("robot1")}
    while not done.is_set():
        answers.add(allowed.allows("robot1"))
    thread.join()
    assert answers == {True}
