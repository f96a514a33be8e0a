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

"""One HTML page about a clip: frames, tokens, what is learned, what is seen. It loads nothing."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from itertools import groupby
from typing import cast

import numpy as np
from svlm_core.cache.segments import HEAD, Role
from svlm_core.config import StreamConfig
from svlm_core.evaluation.thumbnail import thumbnail
from svlm_core.model.adapter import StreamModel
from svlm_core.page.document import render_page, resource
from svlm_core.page.parts import picture, section
from svlm_core.training.clip import Clip, Rendered, Renderer
from svlm_core.training.sight import Sight, sights

_SIDE_PX = 160  # of a frame on the page
_CELL_PX = 14
_SIGHT = """A row for each round that is answered; the first column is the head, then one for each round. In
training a round sees everything before it. In a stream it sees
<span style="color: var(--whole)">frames and words</span> of the newest rounds,
<span style="color: var(--words)">only the words</span> of older ones, and nothing of the rest."""


def page(clip: Clip, model: StreamModel, config: StreamConfig) -> str:
    """The page.

    Raises:
        ConfigError, SourceError: the clip cannot be rendered for this model.
    """
    rendered = Renderer(model, config).render(clip)
    seen = sights(rendered.segments, config)
    tokens, learned = len(rendered.ids), int(rendered.spoken.sum())
    visual = sum(vision.tokens for vision in rendered.vision)
    old = len(model.tokenizer.encode(clip.previous_text, add_special_tokens=False))
    kept = sum(len(segment.ids) for segment in rendered.segments if segment.role is Role.PREVIOUS)
    head_tokens = sum(len(segment.ids) for segment in rendered.segments if segment.chunk == HEAD)
    silent = sum(not turn.words for turn in clip.rounds)
    legend = (
        f'<span class="visual">{visual} visual</span> <span class="learned">{learned} learned</span>\n'
        f"<span>{tokens - visual - learned} given</span>; {silent} rounds without words"
    )
    previous = (
        f"Previous text: {kept} of {old} tokens stay, the first {config.text_sink_tokens} and the last "
        f"{config.text_window_tokens}, as in a stream."
    )
    head = "".join(_tokens(rendered, model, 0, head_tokens))
    body = [
        section(f"{tokens} tokens", f'<p class="legend">{legend}</p>'),
        section("What attention sees", f'<p>{_SIGHT}</p>\n<div class="scroll">{_matrix(seen)}</div>'),
        section("The head", f'<p>{escape(previous)}</p><p class="tokens">{head}</p>'),
        *_rounds(clip, rendered, model, config, seen, head_tokens),
    ]
    subtitle = (
        f"{len(clip.rounds)} rounds of {config.chunk_s:g} s, {config.fps:g} frames a second, for {model.name}"
    )
    return render_page(clip.name, subtitle, body, resource("svlm_core.training", "clip.css"))


def _rounds(
    clip: Clip, rendered: Rendered, model: StreamModel, config: StreamConfig, seen: list[Sight], start: int
) -> Iterator[str]:
    for turn, sight in zip(clip.rounds, seen, strict=True):
        stop = start + sum(len(s.ids) for s in rendered.segments if s.chunk == sight.chunk)
        begin_s = sight.chunk * config.chunk_s
        pictures = "".join(_picture(frame) for frame in turn.frames)
        view = (
            f"answers seeing {sight.training_tokens} tokens in training, {sight.tokens} in a stream "
            f"({config.policy})"
        )
        yield (
            f'<section class="round"><h3>{begin_s:g} to {begin_s + config.chunk_s:g} s'
            f'<span class="soft"> {escape(view)}</span></h3>'
            f'<div class="frames">{pictures}</div><p class="tokens">'
            f"{''.join(_tokens(rendered, model, start, stop))}</p></section>"
        )
        start = stop


def _tokens(rendered: Rendered, model: StreamModel, start: int, stop: int) -> Iterator[str]:
    """The tokens [start, stop), one span each; visual ones as one."""
    ids, spoken = rendered.ids.tolist(), rendered.spoken.tolist()
    names = model.dialect.special_tokens
    special = {model.tokenizer.convert_tokens_to_ids(name) for name in names}
    for visual, run in groupby(range(start, stop), lambda at: ids[at] == model.video_token_id):
        places = list(run)
        if visual:
            yield f'<span class="visual">{len(places)} visual tokens</span>'
            continue
        for at in places:
            text = cast(str, model.tokenizer.decode([ids[at]]))
            kind = "learned" if spoken[at] else "special" if ids[at] in special else "given"
            about = f"token {at}, id {ids[at]}, position {rendered.positions[0, at]:g}"
            shown = escape(text).replace("\n", "⏎<br>").replace(" ", "·")
            yield f'<span class="{kind}" title="{about}">{shown}</span>'


def _matrix(seen: list[Sight]) -> str:
    """Rounds as rows, and as columns what each of them sees: a picture in SVG."""
    chunks = [sight.chunk for sight in seen]
    size = _CELL_PX * (len(chunks) + 1)
    cells = []
    for row, sight in enumerate(seen):
        cells.append(_cell(0, row, "whole", f"{sight.chunk}: the head is always seen"))
        for column, chunk in enumerate(chunks[: row + 1], start=1):
            if chunk in sight.rounds:
                kind, what = "whole", "its frames and words"
            elif chunk in sight.moved:
                kind, what = "words", "its words, as previous text"
            else:
                kind, what = "gone", "nothing"
            about = f"chunk {sight.chunk} sees of chunk {chunk} in a stream: {what}; in training: all"
            cells.append(_cell(column, row, kind, about))
    return (
        f'<svg width="{size}" height="{size - _CELL_PX}" role="img" aria-label="what each round sees">'
        f"{''.join(cells)}</svg>"
    )


def _cell(column: int, row: int, kind: str, about: str) -> str:
    side = _CELL_PX - 2
    return (
        f'<rect class="{kind}" x="{column * _CELL_PX}" y="{row * _CELL_PX}" width="{side}" height="{side}">'
        f"<title>{escape(about)}</title></rect>"
    )


def _picture(rgb: np.ndarray) -> str:
    """A frame, uint8 [H, W, 3], as an image that is part of the page."""
    height, width = rgb.shape[:2]
    return picture(thumbnail(rgb, max(1, round(width * _SIDE_PX / max(height, width)))))
