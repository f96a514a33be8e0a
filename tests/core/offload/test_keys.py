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

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
import pytest
from svlm_core.cli import main
from svlm_core.errors import ConfigError
from svlm_core.offload.keys import (
    check_public,
    KeyStore,
    new_pair,
    parse_public,
    read_pair,
    read_public,
)
import zmq

OTHER, _ = zmq.curve_keypair()


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "keys")


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_new_pair_belongs_together_and_only_its_owner_can_read_it(store: KeyStore) -> None:
    old = os.umask(0)
    try:
        public = store.new("robot1")
    finally:
        os.umask(old)
    pair = read_pair(store.folder / "robot1.key")
    assert pair.public == public == zmq.curve_public(pair.secret) == read_public(store.folder / "robot1.pub")
    assert mode(store.folder / "robot1.key") == 0o600 and mode(store.folder) == 0o700
    assert pair.secret.decode() not in repr(pair)
    assert sorted(path.name for path in store.folder.iterdir()) == ["robot1.key", "robot1.pub"]


def test_no_public_key_passes_for_an_option() -> None:
    assert not any(new_pair().public.startswith(b"-") for _ in range(600))


def test_zeromqs_own_reader_takes_the_files(store: KeyStore) -> None:
    public = store.new("robot1")
    assert zmq.auth.load_certificate(store.folder / "robot1.key")[0] == public


def test_a_pair_is_never_overwritten(store: KeyStore) -> None:
    public = store.new("robot1")
    with pytest.raises(ConfigError, match=r"robot1\.key is there already"):
        store.new("robot1")
    assert read_pair(store.folder / "robot1.key").public == public


@pytest.mark.parametrize("bits", [0o644, 0o640, 0o604, 0o620, 0o601])
def test_a_secret_that_others_can_read_is_not_used(store: KeyStore, bits: int) -> None:
    store.new("robot1")
    path = store.folder / "robot1.key"
    path.chmod(bits)
    with pytest.raises(ConfigError, match=f"others can read .*chmod 600 {path}"):
        read_pair(path)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "-x", ".x", "a b", "a" * 65, "ü", "a\n", "a#2"]
)
def test_names_are_fit_for_files(store: KeyStore, name: str) -> None:
    for act in (store.new, store.revoke, lambda name: store.allow(name, OTHER)):
        with pytest.raises(ConfigError, match="the name"):
            act(name)
    assert not store.folder.exists()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no key file"),
        ('curve\n    public-key = "abc"\n    secret-key = "abc"\n', "no public key"),
        (f'curve\n    public-key = "{OTHER.decode()}"\n', "no secret key"),
        ('curve\n    secret-key = "abc"\n', "no key file"),
    ],
)
def test_files_that_are_no_pair_are_named(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "x.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=rf"x\.key.*{reason}|{reason}"):
        read_pair(path)


def test_halves_of_two_pairs_are_not_a_pair(store: KeyStore) -> None:
    public = store.new("robot1")
    path = store.folder / "robot1.key"
    path.write_text(path.read_text().replace(public.decode(), OTHER.decode()))
    with pytest.raises(ConfigError, match="do not belong together"):
        read_pair(path)


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.key cannot be read: No such file"):
        read_pair(tmp_path / "gone.key")
    (tmp_path / "bin.pub").write_bytes(bytes(range(256)))
    with pytest.raises(ConfigError, match=r"bin\.pub is no key file"):
        read_public(tmp_path / "bin.pub")
    with pytest.raises(ConfigError, match="neither 40 characters of z85 nor a file"):
        parse_public("hello", "the server key")


@given(st.binary(max_size=60))
def test_only_z85_of_32_bytes_is_a_public_key(data: bytes) -> None:
    with pytest.raises(ConfigError, match="no public key"):
        check_public(data if len(data) != 40 else data[:-1] + b"~", "it")


@pytest.mark.parametrize("text", ["~" * 40, "#" * 40, "é" * 40])
def test_forty_other_characters_are_no_key(text: str) -> None:
    with pytest.raises(ConfigError, match="no public key"):
        parse_public(text, "it")


def test_a_public_key_is_given_as_text_or_as_a_file(store: KeyStore) -> None:
    public = store.new("server")
    assert (
        parse_public(public.decode(), "it") == parse_public(str(store.folder / "server.pub"), "it") == public
    )


def test_a_server_without_a_pair_is_told_how_to_make_one(store: KeyStore) -> None:
    with pytest.raises(ConfigError, match="svlm keys new server --dir"):
        store.server()


@pytest.mark.parametrize("folder", ["keys", "keys/allowed"])
def test_a_list_that_others_can_write_to_is_not_used(store: KeyStore, folder: str) -> None:
    store.new("server")
    store.allow("robot1", OTHER)
    (store.folder.parent / folder).chmod(0o770)
    with pytest.raises(ConfigError, match="chmod go-w"):
        store.server()


def test_one_key_has_one_name(store: KeyStore) -> None:
    store.allow("robot1", OTHER)
    store.allow("robot1", OTHER)
    with pytest.raises(ConfigError, match="robot1 has this key already"):
        store.allow("robot2", OTHER)


def test_revoking_whom_nobody_allowed_is_an_error(store: KeyStore) -> None:
    with pytest.raises(ConfigError, match="robot1 is not allowed"):
        store.revoke("robot1")


def test_the_command_line_does_it_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here, there = str(tmp_path / "robot"), str(tmp_path / "server")
    assert main(["keys", "new", "server", "--dir", there]) == 0
    server = capsys.readouterr().out.strip()
    assert main(["keys", "new", "robot1", "--dir", here]) == 0
    out, err = capsys.readouterr()
    robot = out.strip()
    assert f"{here}/robot1.key and stays there" in err and f"svlm keys allow robot1 '{robot}'" in err
    assert main(["keys", "allow", "robot1", robot, "--dir", there]) == 0
    assert main(["keys", "allow", "robot1", f"{here}/robot1.pub", "--dir", there]) == 0
    assert main(["keys", "list", "--dir", there]) == 0
    assert capsys.readouterr().out.splitlines() == [f"here     server  {server}", f"allowed  robot1  {robot}"]
    assert main(["keys", "revoke", "robot1", "--dir", there]) == 0
    assert main(["keys", "list", "--dir", there]) == 0
    assert "robot1" not in capsys.readouterr().out
    assert main(["keys", "revoke", "robot1", "--dir", there]) == 1
    assert capsys.readouterr().err.startswith("svlm: robot1 is not allowed")
