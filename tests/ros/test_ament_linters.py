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

"""ament's linters, as `colcon test` runs them; the options are the ones of `make lint`'s style."""

from __future__ import annotations

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SOURCES = [str(REPOSITORY / name) for name in ("svlm_core", "svlm_ros", "launch", "setup.py")]
NOT_INDEXED = "comes with a ROS installation, is on no package index"


def test_flake8() -> None:
    main = pytest.importorskip("ament_flake8.main")
    settings = str(REPOSITORY / "ament_flake8.ini")
    found, errors = main.main_with_errors(["--config", settings, *SOURCES, str(REPOSITORY / "tests")])
    assert found == 0, "\n".join(errors)


def test_pep257() -> None:
    main = pytest.importorskip("ament_pep257.main")
    assert main.main(["--convention", "google", "--add-ignore", "D105", "D107", "--", *SOURCES]) == 0


def test_copyright() -> None:
    main = pytest.importorskip("ament_copyright.main", reason=NOT_INDEXED)
    assert main.main([str(REPOSITORY)]) == 0


def test_xmllint() -> None:
    main = pytest.importorskip("ament_xmllint.main", reason=NOT_INDEXED)
    assert main.main([str(REPOSITORY / "package.xml")]) == 0


def test_every_source_names_its_licence() -> None:
    folders = ("svlm_core", "svlm_ros", "launch", "tests")
    files = [file for folder in folders for file in (REPOSITORY / folder).rglob("*.py")]
    assert len(files) > 200
    assert [str(file) for file in files if not file.read_text().startswith("# Copyright ")] == []
