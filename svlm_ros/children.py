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

"""Nodes as child processes: started, watched, and always ended."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
import signal
import subprocess
import sys

from svlm_core.errors import SvlmError

_END_S = 10.0  # from SIGINT to SIGKILL
_TAIL_LINES = 12


class ChildError(SvlmError):
    """A child process ended that should not have."""


class Children:
    """Node processes of this package, by name; a context manager that ends them."""

    def __init__(self, environment: Mapping[str, str], log_folder: Path) -> None:
        """Start none yet.

        Args:
            environment: variables of every child.
            log_folder: where each child's output goes, NAME.log.
        """
        self._environment = dict(environment)
        self._log_folder = log_folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Children:
        """The children themselves."""
        return self

    def __exit__(self, *exception: object) -> None:
        """End every child."""
        self.end()

    def start(self, name: str, parameters: Mapping[str, str | int]) -> None:
        """Start `python -m svlm_ros.NAME` with ROS parameters."""
        settings = [part for key, value in parameters.items() for part in ("-p", f"{key}:={value}")]
        with self._log(name).open("wb") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", f"svlm_ros.{name}", "--ros-args", *settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
            )

    def ended(self, name: str) -> bool:
        """Whether a child has ended by itself.

        Raises:
            ChildError: it failed; the message holds the last lines it wrote.
        """
        code = self._processes[name].poll()
        if code:
            raise ChildError(f"{name} ended with exit code {code}:\n{self._tail(name)}")
        return code is not None

    def end(self) -> None:
        """Ask every child to end, and kill the one that does not."""
        running = [process for process in self._processes.values() if process.poll() is None]
        for process in running:
            process.send_signal(signal.SIGINT)
        for process in running:
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _log(self, name: str) -> Path:
        return self._log_folder / f"{name}.log"

    def _tail(self, name: str) -> str:
        lines = self._log(name).read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-_TAIL_LINES:])
