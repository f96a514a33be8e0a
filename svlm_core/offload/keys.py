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

"""CURVE keys as files: a pair for each robot and server, and the list of keys that a server allows.

    DIR/NAME.key            a pair, mode 0600: it stays on the machine that it was made on
    DIR/NAME.pub            its public half, to hand over
    DIR/server.key, .pub    the server's own pair
    DIR/allowed/NAME.pub    a robot that the server lets in

The format is that of ZeroMQ's own certificates (ZPL), which other tools read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
import logging
import os
from pathlib import Path
import re
import struct
import tempfile

from svlm_core.errors import ConfigError
import zmq
import zmq.auth
from zmq.utils import z85

LOG = logging.getLogger(__name__)

SERVER = "server"
KEY_CHARACTERS = 40  # 32 bytes in z85

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_SECRET_MODE, _PUBLIC_MODE, _DIR_MODE = 0o600, 0o644, 0o700
_READ_BY_OTHERS, _WRITTEN_BY_OTHERS = 0o077, 0o022


@dataclass(frozen=True)
class KeyPair:
    """A public key and its secret, both as z85 bytes; repr does not show the secret."""

    public: bytes
    secret: bytes = field(repr=False)


class KeyStore:
    """The files of one directory of keys."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def allowed_folder(self) -> Path:
        """Where the public keys lie that may connect."""
        return self.folder / "allowed"

    def new(self, name: str) -> bytes:
        """Make a pair and write it as NAME.key and NAME.pub.

        Returns:
            The public key, z85.

        Raises:
            ConfigError: the name will not do, there is such a key already, or it cannot be written.
        """
        check_name(name)
        pair = new_pair()
        path = self.folder / f"{name}.key"
        _write(
            path, _certificate(f"secret key of {name}: keep it here", pair.public, pair.secret), _SECRET_MODE
        )
        _write(self.folder / f"{name}.pub", _certificate(f"public key of {name}", pair.public), _PUBLIC_MODE)
        return pair.public

    def server(self) -> KeyPair:
        """The server's pair.

        Raises:
            ConfigError: there is none, or it or the list of allowed keys is open to others.
        """
        path = self.folder / f"{SERVER}.key"
        if not path.exists():
            raise ConfigError(
                f"{self.folder} has no {SERVER}.key: svlm keys new {SERVER} --dir {self.folder}"
            )
        for folder in (self.folder, self.allowed_folder):
            if folder.exists() and folder.stat().st_mode & _WRITTEN_BY_OTHERS:
                raise ConfigError(f"others can write to {folder}, and so let anybody in: chmod go-w {folder}")
        return read_pair(path)

    def allow(self, name: str, public: bytes) -> None:
        """Let a key in from now on, under this name; a key that had the name before is out.

        Raises:
            ConfigError: the name or the key will not do, another name has the key, or it cannot be written.
        """
        check_name(name)
        check_public(public, "the public key")
        for other, key in self.allowed():
            if key == public and other != name:
                raise ConfigError(f"{other} has this key already: svlm keys revoke {other}")
        path = self.allowed_folder / f"{name}.pub"
        _write(path, _certificate(f"public key of {name}", public), _PUBLIC_MODE, replace=True)

    def revoke(self, name: str) -> None:
        """Let a key in no longer.

        Raises:
            ConfigError: no such name is allowed.
        """
        check_name(name)
        try:
            (self.allowed_folder / f"{name}.pub").unlink()
        except FileNotFoundError:
            raise ConfigError(
                f"{name} is not allowed in {self.folder}: svlm keys list shows who is"
            ) from None
        except OSError as error:
            raise ConfigError(f"{name} cannot be revoked: {error.strerror}") from None

    def allowed(self) -> Iterator[tuple[str, bytes]]:
        """Names and public keys that may connect, by name; files that are no keys go to the log."""
        for path in sorted(self.allowed_folder.glob("*.pub")):
            try:
                check_name(path.stem)
                yield path.stem, read_public(path)
            except ConfigError as error:
                LOG.warning("%s", error)

    def own(self) -> Iterator[tuple[str, bytes]]:
        """Names and public keys of the pairs that lie here, by name."""
        for path in sorted(self.folder.glob("*.pub")):
            yield path.stem, read_public(path)


def new_pair() -> KeyPair:
    """A new pair; its public key does not begin with a dash, so a command line takes it for no option."""
    while True:
        pair = KeyPair(*zmq.curve_keypair())
        if not pair.public.startswith(b"-"):
            return pair


def check_name(name: str) -> str:
    """The name itself.

    Raises:
        ConfigError: it is not fit for a file's name.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"the name {name!r} of a key must be 1 to 64 of A-Z a-z 0-9 _ - . and begin with none of - ."
        )
    return name


def check_public(public: bytes, what: str) -> bytes:
    """The key itself.

    Raises:
        ConfigError: it is no key in z85.
    """
    try:
        if len(public) == KEY_CHARACTERS and z85.encode(z85.decode(public)) == public:
            return public
    except (KeyError, ValueError, struct.error):
        pass
    raise ConfigError(
        f"{what} is no public key: it must be {KEY_CHARACTERS} characters of z85, or a .pub file"
    )


def parse_public(text: str, what: str) -> bytes:
    """A public key from its z85 text or from the path of a .pub file.

    Raises:
        ConfigError: it is neither.
    """
    if len(text) == KEY_CHARACTERS and not Path(text).exists():
        return check_public(text.encode(), what)
    if not Path(text).is_file():
        raise ConfigError(f"{what} {text!r} is neither {KEY_CHARACTERS} characters of z85 nor a file")
    return read_public(Path(text))


def read_public(path: Path) -> bytes:
    """The public key of a certificate file.

    Raises:
        ConfigError: it cannot be read, or is no certificate.
    """
    return check_public(_load(path)[0], str(path))


def read_pair(path: Path) -> KeyPair:
    """The keys of a NAME.key file.

    Raises:
        ConfigError: it cannot be read, others can read it too, or it is no pair.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise ConfigError(f"the key file {path} cannot be read: {error.strerror}") from None
    if mode & _READ_BY_OTHERS:
        raise ConfigError(
            f"others can read the secret key {path} (mode {mode & 0o777:04o}): chmod 600 {path}"
        )
    public, secret = _load(path)
    check_public(public, str(path))
    if secret is None:
        raise ConfigError(f"{path} has no secret key: use the .key file that `svlm keys new` wrote")
    check_public(secret, f"the secret of {path}")
    if zmq.curve_public(secret) != public:
        raise ConfigError(f"the two keys in {path} do not belong together: make it anew with `svlm keys new`")
    return KeyPair(public, secret)


def _load(path: Path) -> tuple[bytes, bytes | None]:
    try:
        return zmq.auth.load_certificate(path)
    except OSError as error:
        raise ConfigError(f"the key file {path} cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise ConfigError(f"{path} is no key file") from None


def _certificate(title: str, public: bytes, secret: bytes | None = None) -> str:
    lines = [f"# svlm: {title}", "metadata", "curve", f'    public-key = "{public.decode()}"']
    if secret is not None:
        lines.append(f'    secret-key = "{secret.decode()}"')
    return "\n".join(lines) + "\n"


def _write(path: Path, text: str, mode: int, *, replace: bool = False) -> None:
    """Write a file whole or not at all; nobody else can read it while it is being written."""
    try:
        path.parent.mkdir(mode=_DIR_MODE, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".", delete=False) as file:  # mode 0600
            temporary = Path(file.name)
            try:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
                os.fchmod(file.fileno(), mode)
                if replace:
                    temporary.replace(path)
                else:
                    os.link(temporary, path)  # unlike a rename, fails where there is a file already
            finally:
                temporary.unlink(missing_ok=True)
    except FileExistsError:
        raise ConfigError(f"{path} is there already: choose another name, or remove it first") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None
