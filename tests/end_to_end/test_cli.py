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

"""`svlm` as its users have it: real files in, real files out, and one line for what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
import json
from pathlib import Path
import shutil
import signal
import subprocess
import sys

import av
import cv2
import numpy as np
import pytest
from random_models import write_random_model
from safetensors.torch import load_file, save_file
from svlm_core.cli.main import main
import torch

SETTINGS = ("--min-visual-tokens=4", "--max-visual-tokens=4", "--max-new-tokens=3", "--vision-window-s=4")
SETTINGS += ("--temperature=2", "--text-sink-tokens=8", "--text-window-tokens=16")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    def refusal(self) -> str:
        """The one line that says what was wrong."""
        lines = [line for line in self.err.splitlines() if line.startswith("svlm: ")]
        assert self.code == 1, self.err
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0]


Svlm = Callable[..., Ended]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A very small random model: what it says means nothing, but it says it through every real part."""
    return write_random_model(tmp_path_factory.mktemp("checkpoint") / "model")


@pytest.fixture
def stream(checkpoint: Path, capfd: pytest.CaptureFixture[str]) -> Svlm:
    """Runs `svlm stream SOURCE`, small settings and the random model included."""

    def run(source: object, *options: str, model: Path = checkpoint) -> Ended:
        sources = source if isinstance(source, list) else [source]
        code = main(["stream", *map(str, sources), "--model", str(model), *SETTINGS, *options])
        return Ended(code, *capfd.readouterr())

    return run


def write_video(path: Path, frames: int = 24, rate: str = "8", size: tuple[int, int] = (96, 64)) -> Path:
    """Noise, so that every second of it needs bytes."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        written = container.add_stream("libx264", rate=Fraction(rate), options={"g": "4", "bf": "0"})
        written.width, written.height = size
        written.pix_fmt = "yuv420p"
        for _ in range(frames):
            rgb = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
            container.mux(written.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(written.encode())
    return path


def write_pictures(folder: Path, *sizes: tuple[int, int]) -> Path:
    rng = np.random.default_rng(0)
    folder.mkdir()
    for number, (width, height) in enumerate(sizes):
        picture = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        assert cv2.imwrite(str(folder / f"{number}.png"), picture)
    return folder


def events(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def frames_in(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_a_video_goes_through_to_every_kind_of_output(stream: Svlm, tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", frames=36, rate="6")
    files = [tmp_path / name for name in ("out.jsonl", "out.vtt", "out.mp4")]
    options = [f"--{file.suffix[1:]}={file}" for file in files]
    ended = stream(video, *options)
    assert ended.code == 0
    assert ended.err.startswith("6 chunks (")
    assert "frames: 36 received, 12 used, dropped: 24 rate; latency p50 " in ended.err
    assert "cache " in ended.err
    said = events(files[0])
    assert said, "the random model said nothing: change its seed"
    assert [event["camera"] for event in said] == ["clip.mp4"] * len(said)
    assert len(ended.out.splitlines()) == len(said)
    assert files[1].read_text().startswith("WEBVTT\n")
    assert files[1].read_text().count(" --> ") == len(said)
    assert frames_in(files[2]) == 12


def test_questions_are_answered_in_every_kind_of_output(stream: Svlm, tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", frames=36, rate="6")
    files = [tmp_path / name for name in ("out.jsonl", "out.vtt", "out.mp4")]
    asked = ("--ask", "how many?@2.5", "--ask", "and now@home?@4", "--ask", "later?@60")
    ended = stream(video, *asked, *(f"--{file.suffix[1:]}={file}" for file in files))
    assert ended.code == 0
    answers = [event for event in events(files[0]) if event["kind"] == "answer"]
    assert [(event["query_id"], event["chunk_index"]) for event in answers] == [("1", 2), ("2", 4)]
    lines = ended.out.splitlines()
    for event in answers:
        assert any(f"] answer {event['query_id']}: " in line for line in lines), lines
    voiced = sum(bool(event["text"]) for event in answers)
    assert files[1].read_text().count("<v Answer>") == voiced
    assert frames_in(files[2]) == 12
    assert "ended before it could be asked: later?" in ended.err


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("how many?", "--ask takes TEXT@SECONDS, got 'how many?'"),
        ("mail me@home", "--ask takes TEXT@SECONDS"),
        ("@3", "--ask '@3': a question needs words"),
        ("what?@-1", "--ask 'what?@-1': a stream is never -1.0 seconds old"),
        (f"{'x' * 65}@1", "the question has 65 tokens, max_query_tokens allows 64"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused_in_one_line(
    stream: Svlm, tmp_path: Path, option: str, reason: str
) -> None:
    pictures = write_pictures(tmp_path / "pictures", *[(64, 48)] * 2)
    assert reason in stream(pictures, "--ask", option).refusal()


def test_a_folder_of_pictures_goes_through(stream: Svlm, tmp_path: Path) -> None:
    ended = stream(write_pictures(tmp_path / "pictures", *[(64, 48)] * 5), "--quiet")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err.startswith("3 chunks (")
    assert "frames: 5 received, 5 used, dropped: none" in ended.err


def test_the_world_goes_through_and_a_seed_says_the_same_again(stream: Svlm, tmp_path: Path) -> None:
    ended = [stream("world://1000007?seconds=9", f"--jsonl={tmp_path / str(run)}") for run in (0, 1)]
    assert [run.code for run in ended] == [0, 0]
    assert ended[0].err.startswith("9 chunks (")
    first, second = (events(tmp_path / str(run)) for run in (0, 1))
    assert [event["text"] for event in first] == [event["text"] for event in second] != []


@pytest.mark.parametrize("rate", ["1/3", "1", "30000/1001", "59"])
def test_odd_frame_rates_of_a_video_are_streamed(rate: str, stream: Svlm, tmp_path: Path) -> None:
    ended = stream(write_video(tmp_path / "clip.mp4", frames=8, rate=rate), "--quiet")
    assert ended.code == 0
    assert "frames: 8 received, " in ended.err


def test_several_sources_share_a_model_and_say_what_each_says_alone(stream: Svlm, tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", frames=36, rate="6")
    world = "world://1000007?seconds=5"
    alone = {}
    for source in (str(video), world):
        assert stream(source, f"--jsonl={tmp_path / 'alone'}", "--quiet").code == 0
        said = events(tmp_path / "alone")
        alone[said[0]["camera"]] = [event["text"] for event in said]
    ended = stream([video, world], f"--jsonl={tmp_path / 'together'}")
    assert ended.code == 0
    together = events(tmp_path / "together")
    for camera, words in alone.items():
        assert [event["text"] for event in together if event["camera"] == camera] == words != []
        assert any(line.startswith(f"{camera} [") for line in ended.out.splitlines())
        assert any(line.startswith(f"{camera}: ") and " chunks (" in line for line in ended.err.splitlines())


def test_subtitles_are_of_one_source(stream: Svlm, tmp_path: Path) -> None:
    ended = stream(["world://1", "world://2"], f"--vtt={tmp_path / 'out.vtt'}")
    assert (ended.code, ended.out) == (1, "")
    assert "--mp4 and --vtt are of one source" in ended.err


def test_nothing_but_the_commands_own_words_are_printed(checkpoint: Path, tmp_path: Path) -> None:
    """No progress bars, warnings or log lines of the libraries, in a process of its own."""
    command = [sys.executable, "-m", "svlm_core.cli", "stream", "world://1000007?seconds=3", *SETTINGS]
    command += ["--model", str(checkpoint), "--quiet"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert (ended.returncode, ended.stdout) == (0, "")
    assert len(ended.stderr.splitlines()) == 1
    assert ended.stderr.startswith("3 chunks (")


def test_ctrl_c_ends_a_stream_with_a_summary(checkpoint: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "svlm_core.cli", "stream", "world://1000007", "--realtime", *SETTINGS]
    command += ["--model", str(checkpoint), f"--jsonl={tmp_path / 'out.jsonl'}"]
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as streaming:
        assert streaming.stdout is not None
        assert streaming.stdout.readline(), "ended by itself"
        streaming.send_signal(signal.SIGINT)
        out, err = streaming.communicate(timeout=60)
    assert streaming.returncode == 0, err
    assert "Traceback" not in err
    assert " chunks (" in err.splitlines()[-1]
    assert "latency p50 " in err.splitlines()[-1]
    assert len(events(tmp_path / "out.jsonl")) == 1 + len(out.splitlines())


def test_a_missing_video_is_named(stream: Svlm, tmp_path: Path) -> None:
    assert f"{tmp_path / 'none.mp4'}: there is no such file" in stream(tmp_path / "none.mp4").refusal()


@pytest.mark.parametrize("content", [b"", b"this is no video" * 99])
def test_an_unreadable_video_is_named(content: bytes, stream: Svlm, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(content)
    assert f"{tmp_path / 'clip.mp4'}: cannot be read as a video" in stream(tmp_path / "clip.mp4").refusal()


def test_an_empty_folder_is_named(stream: Svlm, tmp_path: Path) -> None:
    assert f"{tmp_path}: there is no picture in this folder" in stream(tmp_path).refusal()


def test_a_video_that_breaks_keeps_what_came_before(stream: Svlm, tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", frames=48)
    whole = stream(video, f"--jsonl={tmp_path / 'whole.jsonl'}")
    assert whole.code == 0
    video.write_bytes(video.read_bytes()[: video.stat().st_size * 2 // 3])
    files = [tmp_path / name for name in ("out.jsonl", "out.vtt", "out.mp4")]
    ended = stream(video, *[f"--{file.suffix[1:]}={file}" for file in files])
    assert f"{video}: " in ended.refusal()
    assert "after frame 3" in ended.refusal(), "of 48"
    texts = [[event["text"] for event in events(path)] for path in (tmp_path / "whole.jsonl", files[0])]
    assert texts[1][:3] == texts[0][:3] != []
    assert len(ended.out.splitlines()) == len(texts[1])
    assert files[1].read_text().count(" --> ") == len(texts[1])
    assert 7 <= frames_in(files[2]) <= 9
    assert " chunks (" in ended.err, "the summary comes all the same"


def test_frames_that_change_size_end_the_stream_and_keep_what_came_before(
    stream: Svlm, tmp_path: Path
) -> None:
    pictures = write_pictures(tmp_path / "pictures", *[(64, 48)] * 5, (48, 64), (64, 48))
    ended = stream(pictures, f"--jsonl={tmp_path / 'out.jsonl'}", f"--mp4={tmp_path / 'out.mp4'}")
    assert (
        f"{pictures / '5.png'}: the size changed from 64x48 to 48x64 2.5 s into the stream" in ended.refusal()
    )
    assert "frames: 6 received, 5 used, dropped: 1 size" in ended.err
    assert frames_in(tmp_path / "out.mp4") == 5
    assert events(tmp_path / "out.jsonl")


def test_a_picture_of_one_pixel_is_named(stream: Svlm, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures", (1, 1))
    assert f"{pictures / '0.png'}: a 1x1 picture is too small" in stream(pictures).refusal()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fps=0"], "command line: fps must"),
        (["--fps=-2"], "command line: fps must"),
        (["--fps=nan"], "command line: fps must"),
        (["--fps=3.7"], "command line: chunk_s x fps must be a whole number of frames"),
    ],
)
def test_an_impossible_frame_rate_is_named(options: list[str], message: str, stream: Svlm) -> None:
    assert message in stream("world://1000007?seconds=1", *options).refusal()


def test_a_misspelt_setting_is_named_with_its_file(stream: Svlm, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("text_windw_tokens: 5\n")
    refusal = stream("world://1000007?seconds=1", f"--config={tmp_path / 'mine.yaml'}").refusal()
    assert (
        f"{tmp_path / 'mine.yaml'}: unknown field 'text_windw_tokens'; did you mean 'text_window_tokens'?"
        in refusal
    )


def test_an_unknown_model_is_named(stream: Svlm, tmp_path: Path) -> None:
    refusal = stream("world://1000007?seconds=1", model=tmp_path / "mine").refusal()
    assert f"{tmp_path / 'mine'}: no such folder" in refusal


@pytest.mark.parametrize("damage", ["lack tensor", "has shape [32, 5]"])
def test_a_damaged_checkpoint_is_named_with_its_tensor(
    damage: str, checkpoint: Path, stream: Svlm, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(checkpoint, tmp_path / "damaged"))
    tensors: dict[str, torch.Tensor] = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if name.endswith("layers.1.mlp.down_proj.weight"))
    tensor = tensors.pop(name)
    if damage != "lack tensor":
        tensors[name] = tensor[:, :5].contiguous()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    refusal = stream("world://1000007?seconds=1", model=folder).refusal()
    for part in (str(folder), damage, "layers.1.mlp.down_proj.weight"):
        assert part in refusal


def test_an_output_that_cannot_be_written_is_named(stream: Svlm, tmp_path: Path) -> None:
    for option in ("jsonl", "vtt", "mp4"):
        refusal = stream("world://1000007?seconds=1", f"--{option}={tmp_path / 'nowhere' / 'out'}").refusal()
        assert f"{tmp_path / 'nowhere' / 'out'}: cannot be written (No such file or directory)" in refusal


def test_the_doctor_knows_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    report = {line.split()[1]: line for line in capsys.readouterr().out.splitlines()}
    assert set(report) >= {
        "python",
        "torch",
        "cuda",
        "transformers",
        "flash_attn",
        "zmq",
        "rclpy",
        "cv_bridge",
    }
    assert report["torch"].startswith("yes")
    assert torch.__version__ in report["torch"]
    assert report["cuda"].startswith("yes") == torch.cuda.is_available()


def test_help_and_wrong_options_do_not_wait_for_torch() -> None:
    """A user who mistypes is answered at once; seconds go into a model only when one is needed."""
    check = (
        "import sys; from svlm_core.cli.main import main\n"
        "for wrong in ('stream none.mp4', 'eval world --seed 3', 'train none.yaml --out .'):\n"
        "    assert main(wrong.split()) == 1\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
    )
    ended = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0, ended.stderr
    assert len(ended.stderr.splitlines()) == 3
