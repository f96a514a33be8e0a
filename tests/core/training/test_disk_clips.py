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

"""Samples on disk become clips whose tokens are a stream's."""

from __future__ import annotations

from collections import Counter
import json
from pathlib import Path

from hypothesis import given, HealthCheck, settings
from hypothesis import strategies as st
import pytest
from svlm_core.config import StreamConfig
from svlm_core.data.cut import cut, CutSettings
from svlm_core.data.problems import BROKEN_SAMPLE, BROKEN_VIDEO, Problems
from svlm_core.data.sample import Question, Sample
from svlm_core.data.seek_index import SampleFile, samples_path, SampleWriter
from svlm_core.data.words import spread, Word
from svlm_core.errors import SourceError
from svlm_core.frames import Chunk, Chunker, FrameLedger
from svlm_core.model.qwen_vl import QwenVL
from svlm_core.sources.video import VideoFile
from svlm_core.stream.session import StreamSession
from svlm_core.training.clip import Clip, Renderer, Round
from svlm_core.training.disk_clips import DiskClips
from svlm_core.training.page import page
from svlm_core.training.sight import sights
from svlm_core.world.clip import write_clip
import torch
from torch import Tensor

SECONDS = 40


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A folder with a video of the world and samples of it; and its sentences, second by second."""
    folder = tmp_path_factory.mktemp("told")
    truth = write_clip(4, SECONDS, folder / "match.mp4", lambda seconds: None)
    said = [json.loads(line)["sentence"] or "" for line in truth.read_text().splitlines()]
    words = [word for n, text in enumerate(said) for word in spread(n + 0.1, n + 0.9, text)]
    with SampleWriter(samples_path(folder, "train")) as writer:
        for sample in cut("match.mp4", words, float(SECONDS), CutSettings(12.0, 6.0, 1), Counter()):
            writer.write_line(sample.to_line())
    return folder, said


class Script:
    """Says what it is told and keeps the logits."""

    def __init__(self, model: QwenVL) -> None:
        self._model, self._ids, self.logits = model, list[int](), list[Tensor]()

    def say(self, words: str) -> None:
        ids = self._model.tokenizer.encode(f" {words} ..." if words else " ...", add_special_tokens=False)
        self._ids = [*ids, self._model.tokenizer.convert_tokens_to_ids("<|im_end|>")]

    def __call__(self, logits: Tensor, context: Tensor) -> int:
        self.logits.append(logits.clone())
        return self._ids.pop(0)


def chunks(video: Path) -> list[Chunk]:
    chunker = Chunker(1.0, 2.0, FrameLedger())
    return [chunk for frame in VideoFile(video) for chunk in chunker.push(frame)] + chunker.flush()


@torch.no_grad()
def test_logits_of_a_sample_are_those_of_a_stream_of_its_video(
    told: tuple[Path, list[str]], world_model: QwenVL, world_config: StreamConfig
) -> None:
    folder, said = told
    config = world_config.replace({"vision_window_s": 20.0}, "test")  # evicts nothing
    rendered = Renderer(world_model, config).render(DiskClips(samples_path(folder, "train"), config)[0])
    script = Script(world_model)
    session = StreamSession(world_model, config, script)
    for chunk, words in zip(chunks(folder / "match.mp4")[:12], said, strict=False):
        script.say(words)
        session.step(chunk)
    assert rendered.ids.tolist() == session.context.ids
    features = torch.cat([world_model.encode_vision(vision) for vision in rendered.vision])
    hidden = world_model.understand(rendered.ids[None], features, rendered.positions[:, None])
    learned = rendered.spoken.nonzero().flatten()
    difference = torch.stack(script.logits) - world_model.head(hidden[0])[learned - 1]
    assert float(difference.abs().max()) <= 1e-4


@torch.no_grad()
def test_previous_text_of_a_sample_is_a_streams(
    told: tuple[Path, list[str]], world_model: QwenVL, world_config: StreamConfig
) -> None:
    """A stream that saw one second only remembers of the rest what the sample of that second brings along."""
    folder, said = told
    short = {"vision_window_s": 1.0, "text_sink_tokens": 4, "text_window_tokens": 10}
    config = world_config.replace(short, "test")
    clips = DiskClips(samples_path(folder, "train"), config)
    clip = clips[3]
    assert clip.first_chunk == 18
    script = Script(world_model)
    session = StreamSession(world_model, config, script)
    for chunk, words in zip(chunks(folder / "match.mp4")[:19], said, strict=False):
        script.say(words)
        session.step(chunk)
    first = Clip(clip.name, clip.rounds[:1], clip.previous_text, clip.first_chunk)
    assert len(world_model.tokenizer.encode(clip.previous_text)) > 14  # something was cut
    assert Renderer(world_model, config).render(first).ids.tolist() == session.context.ids


@given(st.lists(st.sampled_from(["red", "new", "gone", "zebra", "é"]), max_size=150))
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_abridged_past_renders_as_the_whole(
    world_model: QwenVL, world_config: StreamConfig, past: list[str]
) -> None:
    """previous_words beyond sink and window loses nothing that training or a stream would see."""
    rgb = torch.zeros(2, 84, 84, 3, dtype=torch.uint8).numpy()
    renderer = Renderer(world_model, world_config)
    words = [Word(n * 0.01, n * 0.01 + 0.005, text) for n, text in enumerate(past)] + [Word(11, 11.5, "red")]

    def ids(previous_words: int) -> list[int]:
        kept = CutSettings(10.0, 0.0, 1, previous_words)
        (sample,) = [s for s in cut("v", words, 20.0, kept, Counter()) if s.start_s == 10.0]
        before = f" {sample.previous}" if sample.previous else ""
        return renderer.render(Clip("v", [Round(rgb, "red")], before)).ids.tolist()

    assert ids(40) == ids(10_000)


@torch.no_grad()
@pytest.mark.parametrize("policy", ["streaming", "window", "sliding", "last-frames", "full"])
def test_what_a_stream_sees_is_what_its_cache_holds(
    told: tuple[Path, list[str]], world_model: QwenVL, world_config: StreamConfig, policy: str
) -> None:
    if policy == "sliding":
        policy = "window-recompute"
    folder, _ = told
    changes = {"vision_window_s": 3.0, "policy": policy, "max_new_tokens": 32, "full_capacity_tokens": 4096}
    config = world_config.replace(changes, "test")
    clip = DiskClips(samples_path(folder, "train"), config)[0]
    rendered = Renderer(world_model, config).render(clip)
    seen = sights(rendered.segments, config)
    script = Script(world_model)
    session = StreamSession(world_model, config, script)
    for chunk, turn, sight in zip(chunks(folder / "match.mp4"), clip.rounds, seen, strict=False):
        script.say(turn.words)
        session.step(chunk)
        said = [s for s in rendered.segments if s.chunk == sight.chunk][-2:]
        assert len(session.context.ids) == sight.tokens + sum(len(segment.ids) for segment in said)
    assert seen[-1].training_tokens == len(rendered.ids) - sum(len(segment.ids) for segment in said)
    if policy == "streaming":
        assert seen[-1].rounds == {9, 10, 11}
        assert seen[-1].moved


def test_broken_samples_are_counted_and_none_takes_their_place(
    told: tuple[Path, list[str]], world_config: StreamConfig, tmp_path: Path
) -> None:
    folder, _ = told
    good = SampleFile(samples_path(folder, "train"))[0]
    video = str(folder / "match.mp4")
    (tmp_path / "empty.mp4").touch()
    lines = [
        Sample(video, 0.0, 6.0, good.words[:1]).to_line(),
        Sample("missing.mp4", 0.0, 6.0, ()).to_line(),
        "{broken",
        Sample(str(tmp_path / "empty.mp4"), 0.0, 6.0, ()).to_line(),
        Sample(video, 36.0, 48.0, ()).to_line(),
        Sample(video, 0.0, 0.5, ()).to_line(),
        Sample(video, 6.0, 9.0, (), "before", "Look.", (Question(6.5, 7.5, "what?", "that"),)).to_line(),
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines))
    clips = DiskClips(path, world_config)
    problems = Problems()
    names = [(clip.first_chunk, len(clip.rounds)) for clip in clips.each(problems)]
    assert names == [(0, 6), (6, 3)]
    assert len(clips) == 7
    assert problems.counts == {BROKEN_VIDEO: 4, BROKEN_SAMPLE: 1}
    places = problems.places[BROKEN_VIDEO]
    assert "missing.mp4: there is no such file" in places[0]
    assert "empty.mp4: cannot be read as a video" in places[1]
    assert "nothing to see after 40.0 s" in places[2]
    assert "shorter than one round" in places[3]
    assert all(f"{path}: sample {n}:" in place for n, place in zip((1, 3, 4, 5), places, strict=True))
    with pytest.raises(SourceError, match=r"missing\.mp4"):
        clips[1]
    last = clips[6]
    assert (last.previous_text, last.prompt) == (" before", "Look.")
    assert [(turn.words, turn.query) for turn in last.rounds] == [("", ""), ("that", "what?"), ("", "")]


def test_the_page_shows_all_and_loads_nothing(
    told: tuple[Path, list[str]], world_model: QwenVL, world_config: StreamConfig
) -> None:
    folder, _ = told
    clip = DiskClips(samples_path(folder, "train"), world_config)[2]
    hostile = Clip("<script>alert(1)</script>", clip.rounds, " <img src=x>" + clip.previous_text, 12)
    rendered = Renderer(world_model, world_config).render(hostile)
    text = page(hostile, world_model, world_config)
    assert text.count("<img alt") == 2 * len(clip.rounds)
    assert text.count('class="learned" title') == int(rendered.spoken.sum())
    assert text.count('class="visual">9 visual tokens') == len(clip.rounds)
    assert text.count("<rect") == len(clip.rounds) + sum(range(len(clip.rounds) + 1))
    assert "<script" not in text
    assert "<img src" not in text
    assert "http" not in text.replace("http-equiv", "")
