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

"""The demo as its user starts it."""

from __future__ import annotations

from pathlib import Path
import signal
import subprocess
import sys

import av
import pytest
from random_models import write_random_model

REPOSITORY = Path(__file__).parents[2]
LIMIT_S = 300.0  # torch's import on a busy machine


def start_demo(*arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "svlm_ros.demo", "--seconds", "10", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=REPOSITORY, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


@pytest.fixture
def random_folder(tmp_path: Path) -> Path:
    """A random checkpoint: it has no idea what it sees."""
    folder = write_random_model(tmp_path / "qwen")
    (folder / "stream.yaml").write_text(
        "min_visual_tokens: 1\nmax_visual_tokens: 9\nmax_new_tokens: 4\ntext_sink_tokens: 16\n"
        "text_window_tokens: 32\n"
    )
    return folder


def test_a_model_that_guesses_is_shown_beside_the_truth_and_fails(
    tmp_path: Path, random_folder: Path
) -> None:
    film = tmp_path / "demo.mp4"
    demo = start_demo("--model", random_folder, "--out", film)
    output, _ = demo.communicate(timeout=LIMIT_S)
    assert demo.returncode == 1, output
    assert "✗" in output and "wrong too often" in output
    with av.open(str(film)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 20


def test_a_node_that_dies_is_named_with_its_last_words(tmp_path: Path) -> None:
    demo = start_demo("--model", tmp_path / "missing", "--out", tmp_path / "demo.mp4")
    output, _ = demo.communicate(timeout=LIMIT_S)
    assert demo.returncode == 1
    assert "stream_node ended with exit code 1" in output and str(tmp_path / "missing") in output
    assert "Traceback" not in output


def test_ctrl_c_ends_the_nodes_too(tmp_path: Path, random_folder: Path) -> None:
    demo = start_demo("--model", random_folder, "--out", tmp_path / "demo.mp4")
    assert demo.stdout is not None
    assert "the model loads" in demo.stdout.readline()
    children = Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text().split()
    demo.send_signal(signal.SIGINT)
    output, _ = demo.communicate(timeout=LIMIT_S)
    assert demo.returncode == 130, output
    assert "Traceback" not in output
    assert len(children) == 2
    assert not [child for child in children if Path(f"/proc/{child}").exists()]


def test_a_seed_that_training_may_have_seen_is_refused() -> None:
    demo = start_demo("--seed", "7")
    output, _ = demo.communicate(timeout=LIMIT_S)
    assert demo.returncode == 2
    assert "1000000" in output
