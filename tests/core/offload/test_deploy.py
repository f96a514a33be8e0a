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

"""What docs/deploy.md tells people to install: its options exist, its ports agree, systemd takes its unit."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
import re
import shlex
import shutil
import subprocess
import sys

import pytest
from svlm_core.cli import serve
from svlm_core.offload.serving import DEFAULT_BIND, DEFAULT_METRICS

PAGE = (Path(__file__).parents[3] / "docs" / "deploy.md").read_text(encoding="utf-8")
INSTALLED = "/opt/svlm/bin"


def block(language: str) -> str:
    (found,) = re.findall(rf"(?s)```{language}\n(.*?)```", PAGE)
    return str(found)


def parsed(words: list[str]) -> argparse.Namespace:
    """`svlm serve` as it is started; argparse ends the test when an option is unknown."""
    parser = argparse.ArgumentParser()
    serve.add_parser(parser.add_subparsers())
    return parser.parse_args(words[words.index("serve") :])


def unit(name: str) -> str:
    (value,) = re.findall(rf"(?m)^{name}=(.*)$", block("ini"))
    return str(value)


def docker(name: str) -> list[str]:
    (value,) = re.findall(rf"(?m)^{name} (\[.*\])$", block("dockerfile"))
    return list(json.loads(value))


def started() -> dict[str, list[str]]:
    return {
        "systemd": shlex.split(unit("ExecStart")),
        "docker": [*docker("ENTRYPOINT"), *docker("CMD")],
    }


@pytest.mark.parametrize("how", ["systemd", "docker"])
def test_the_server_is_started_with_options_that_exist_on_the_documented_ports(how: str) -> None:
    words = started()[how]
    options = parsed(words)
    assert Path(words[0]).name == "svlm"
    assert options.bind.rpartition(":")[2] == DEFAULT_BIND.rpartition(":")[2] == "5577"
    assert options.keys is not None and options.journal is not None
    assert options.metrics == DEFAULT_METRICS
    assert f"http://{options.metrics}/ready" in {"systemd": unit("ExecStartPost"), "docker": PAGE}[how]


def test_what_is_kept_lies_where_the_service_may_write() -> None:
    options = parsed(started()["systemd"])
    state = Path("/var/lib") / unit("StateDirectory")
    assert {options.keys.parent, options.journal.parent, Path(unit("WorkingDirectory"))} == {state}
    assert unit("ProtectSystem") == "strict"


def test_nothing_closes_the_devices_of_the_gpu() -> None:
    """The setting ProtectClock allows one device, and with it forbids all others."""
    settings = dict(line.split("=", 1) for line in block("ini").splitlines() if re.match(r"\w+=", line))
    assert not {"PrivateDevices", "ProtectClock", "DevicePolicy", "DeviceAllow"} & set(settings)
    assert "MemoryDenyWriteExecute" not in settings


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed here")
@pytest.mark.skipif(shutil.which("curl") is None, reason="the unit needs curl, which is not installed here")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    file = tmp_path / "svlm.service"
    here = str(Path(sys.executable).parent)  # where svlm is installed here
    file.write_text(block("ini").replace(INSTALLED, here).replace("User=svlm\nGroup=svlm\n", ""))
    verified = subprocess.run(["systemd-analyze", "verify", file], capture_output=True, text=True, timeout=60)
    assert (verified.returncode, verified.stderr) == (0, "")
