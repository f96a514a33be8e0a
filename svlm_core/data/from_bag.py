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

"""A recording of a robot as a video and a transcript: its camera, and what was said or logged meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
import json
from pathlib import Path
from typing import Any

import av
import numpy as np
from svlm_core.data.problems import Problems
from svlm_core.data.transcript import write_words
from svlm_core.data.words import spread, Word
from svlm_core.errors import ConfigError, SourceError
from svlm_core.events import CommentaryEvent
from svlm_core.frames import NS_PER_S
from svlm_core.sources.bag import BagSource
from svlm_core.sources.bag_files import BagFiles

TEXT_KIND = "std_msgs/msg/String"
NOT_TEXT = "a message that is not text"
BEFORE_CAMERA = "a text from before the first picture"
BROKEN_PICTURE = "a message that is not a picture"
CUT_OFF = "a bag that breaks, used up to there"

_S_PER_WORD = 0.35  # a plain text has no length of its own: it is said at this pace from its stamp on
_TIME_BASE = Fraction(1, 1000)
_CRF = "12"  # hardly a loss
_KEY_S = 4  # between key frames: whoever reads from the middle begins at one


@dataclass(frozen=True)
class Recording:
    """What became of a bag: a video, a transcript, and what was wrong."""

    video: Path
    transcript: Path
    problems: Problems


def from_bag(
    bag: Path, image_topic: str, text_topic: str, out: Path, progress: Callable[[int], object]
) -> Recording:
    """Write the camera as `out`/NAME.mkv and the words as `out`/NAME.jsonl, NAME being the bag's.

    Frames keep their acquisition stamps. A commentary event's words lie between its oldest and newest frame;
    any other text begins at the time it was recorded and is said at the pace of speech.

    Args:
        bag: a rosbag2 folder, or a .mcap or .db3 file.
        image_topic: sensor_msgs/Image or CompressedImage; "" if there is only one.
        text_topic: std_msgs/String: commentary events as JSON, or plain text.
        out: folder; made if it is not there.
        progress: called with the number of frames done.

    Raises:
        SourceError: the bag has no such topics.
        ConfigError: a file cannot be written.
    """
    problems = Problems()
    source = BagSource(bag, image_topic)
    texts = BagFiles(bag)
    _check_topic(bag, texts, text_topic)
    video, transcript = out / f"{bag.stem}.mkv", out / f"{bag.stem}.jsonl"
    try:
        out.mkdir(parents=True, exist_ok=True)
        partial = video.with_name(f"partial-{video.name}")
        _write_video(source, partial, problems, progress)
        words = list(_words(texts, text_topic, source.origin_ns, problems))
        write_words(words, transcript)
        partial.replace(video)
    except (OSError, av.FFmpegError) as error:
        raise ConfigError(f"{out}: cannot be written ({error.strerror})") from error
    if source.broken:
        problems.add(BROKEN_PICTURE, f"{bag} {source.name}", source.broken)
    return Recording(video, transcript, problems)


def _check_topic(bag: Path, files: BagFiles, name: str) -> None:
    listed = [topic.name for topic in files.topics if topic.kind == TEXT_KIND]
    if name not in listed:
        raise SourceError(f"{bag}: no topic {name!r} of {TEXT_KIND}; it has {', '.join(listed) or 'none'}")


def _write_video(
    source: BagSource, path: Path, problems: Problems, progress: Callable[[int], object]
) -> None:
    """Encode the frames with their stamps, to a millisecond."""
    with av.open(str(path), "w") as container:
        stream: Any = None
        newest_ms = -1
        try:
            for frame in source:
                height, width = frame.size_px
                if stream is None:
                    rate = Fraction(max(1, round(source.fps)))
                    options = {"crf": _CRF, "tune": "fastdecode", "g": str(_KEY_S * rate)}
                    stream = container.add_stream("libx264", rate=rate, options=options)
                    stream.width, stream.height = width, height
                    stream.pix_fmt = "yuv444p"  # any size, and small coloured things keep their colour
                    stream.codec_context.time_base = _TIME_BASE
                elif (height, width) != (stream.height, stream.width):
                    raise SourceError(f"the picture's size changes to {width}x{height}")
                at_ms = (frame.stamp_ns - source.origin_ns) * 1000 // NS_PER_S
                if at_ms <= newest_ms:
                    problems.add("a picture not later than the one before", source.name)
                    continue
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame.rgb), format="rgb24")
                picture.pts, picture.time_base = at_ms, _TIME_BASE
                newest_ms = at_ms
                container.mux(stream.encode(picture))
                progress(1)
        except SourceError as error:
            problems.add(CUT_OFF, str(error))
        container.mux(stream.encode())


def _words(files: BagFiles, topic: str, origin_ns: int, problems: Problems) -> Iterator[Word]:
    from rosbags.typesys import get_typestore, Stores

    types = get_typestore(Stores.LATEST)
    spoken_s = 0.0
    try:
        for number, message in enumerate(files.messages(topic)):
            try:
                text: Any = types.deserialize_cdr(message.data, TEXT_KIND).data  # type: ignore[attr-defined]
            except Exception as error:  # rosbags promises no particular one for damaged bytes
                problems.add(NOT_TEXT, f"{topic} message {number} ({type(error).__name__})")
                continue
            start_s, end_s, said = _said(str(text), message.recorded_ns, origin_ns)
            if start_s < 0:
                problems.add(BEFORE_CAMERA, f"{topic} message {number}")
                continue
            begin_s = max(start_s, spoken_s)  # one phrase after the other
            spoken_s = begin_s + (end_s - start_s if said else 0.0)
            yield from spread(begin_s, spoken_s, said)
    except SourceError as error:
        problems.add(CUT_OFF, str(error))


def _said(text: str, recorded_ns: int, origin_ns: int) -> tuple[float, float, str]:
    """When the words of one message begin and end, seconds since the first picture, and the words."""
    event = _event(text)
    if event is None:
        start_s = (recorded_ns - origin_ns) / NS_PER_S
        return start_s, start_s + _S_PER_WORD * len(text.split()), text
    oldest_s = (event.stamp_oldest_ns - origin_ns) / NS_PER_S
    newest_s = (event.stamp_newest_ns - origin_ns) / NS_PER_S
    return oldest_s, newest_s, event.words


def _event(text: str) -> CommentaryEvent | None:
    """The commentary event that the text is, None for any other text."""
    if not text.startswith("{"):
        return None
    try:
        json.loads(text)
        return CommentaryEvent.from_json(text)
    except (ValueError, ConfigError, RecursionError):
        return None
