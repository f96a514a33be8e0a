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

"""A text file in which every line is safe as soon as it is written."""

from __future__ import annotations

from pathlib import Path

from svlm_core.errors import SvlmError


class TextFile:
    """An unbuffered UTF-8 file whose errors are one line that names it."""

    def __init__(self, path: str | Path) -> None:
        """Create the file, or empty an existing one.

        Raises:
            SvlmError: it cannot be created.
        """
        self._path = Path(path)
        self._size = 0
        try:
            self._file = self._path.open("wb", buffering=0)
        except OSError as error:
            raise SvlmError(f"{self._path}: cannot be written ({error.strerror})") from error
        self.seekable = self._file.seekable()

    def append(self, text: str) -> int:
        """Write at the end; returns the byte offset at which the text begins."""
        start, data = self._size, text.encode()
        self._write(data)
        self._size += len(data)
        return start

    def overwrite(self, offset: int, text: str) -> None:
        """Replace bytes in the middle of a seekable file by as many others."""
        self._file.seek(offset)
        self._write(text.encode())
        self._file.seek(self._size)

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._file.close()

    def _write(self, data: bytes) -> None:
        try:
            while data:  # an unbuffered write may take only a part
                data = data[self._file.write(data) or 0 :]
        except OSError as error:
            raise SvlmError(f"{self._path}: cannot be written ({error.strerror})") from error
