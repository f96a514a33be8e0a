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

"""`svlm stream`: a source goes in, commentary comes out."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import ExitStack
import sys
import threading
from typing import Any

from svlm_core.cli.link import add_link_options, check_link_options, link_summary, open_clients
from svlm_core.cli.output import say
from svlm_core.cli.settings import add_model_options, load
from svlm_core.errors import ConfigError, QueryError
from svlm_core.events import CommentaryEvent
from svlm_core.offload.client import Client
from svlm_core.sinks.jsonl import JsonLines
from svlm_core.sinks.sink import Sink
from svlm_core.sinks.terminal import Terminal
from svlm_core.sinks.video import AnnotatedVideo
from svlm_core.sinks.webvtt import WebVtt
from svlm_core.sources.open import ACCEPTED
from svlm_core.sources.paced import Paced
from svlm_core.sources.reconnecting import open_lasting
from svlm_core.stream.commentator import Stream, StreamSummary
from svlm_core.stream.parallel import ParallelRuns
from svlm_core.stream.query import TimedQuery
from svlm_core.stream.run import StreamRun


def add_parser(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser(
        "stream",
        help="comment on videos, folders of pictures, cameras or the synthetic world",
        description="Comment on sources of frames. A recorded source is understood frame by frame, as "
        "fast as the model goes; a live one in real time, newest chunk first; a camera or stream "
        "that is lost is opened again. Several sources share one model, which runs them as one batch. The "
        "model may run on another machine (--endpoint): a link that is lost is made again, and a gap event "
        "says what was missed. Ctrl-C ends with a summary.",
    )
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help=ACCEPTED)
    parser.add_argument("--realtime", action="store_true", help="play recorded sources like live cameras")
    parser.add_argument(
        "--ask",
        action="append",
        default=[],
        metavar="TEXT@SECONDS",
        help="ask something when the stream is that old, for example 'how many people?@12.5'; the answer is "
        "an event of kind answer, its query_id the number of the --ask: 1, 2, ...",
    )
    parser.add_argument("--jsonl", metavar="FILE", help="write the events, one JSON object a line")
    parser.add_argument("--vtt", metavar="FILE", help="write WebVTT subtitles (of one source)")
    parser.add_argument(
        "--mp4", metavar="FILE", help="write the frames with the commentary burnt in (of one source)"
    )
    parser.add_argument(
        "--partial",
        action="store_true",
        help="show words while they are found, and write them as events of kind partial",
    )
    parser.add_argument("--quiet", action="store_true", help="no commentary on the terminal")
    add_link_options(parser)
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Stream until the sources end or Ctrl-C; the summary goes to stderr in any case."""
    many = len(options.sources) > 1
    if many and (options.mp4 or options.vtt):
        raise ConfigError("--mp4 and --vtt are of one source; --jsonl takes the events of all")
    check_link_options(options)
    queries = [_timed_query(text, str(number)) for number, text in enumerate(options.ask, 1)]
    with ExitStack() as open_things:
        sources = [open_things.enter_context(open_lasting(spec, say)) for spec in options.sources]
        if options.realtime:
            sources = [source if source.live else Paced(source) for source in sources]
        streams, close = _streams(options, [source.name for source in sources], open_things)
        sinks: list[Sink] = []
        writing = threading.Lock()  # partial words may come in threads of their own

        def write(event: CommentaryEvent) -> None:
            with writing:
                for sink in sinks:
                    sink.write(event)

        hear = write if options.partial else None
        runs = [
            StreamRun(source, stream, queries, hear) for source, stream in zip(sources, streams, strict=True)
        ]
        if options.jsonl:
            sinks.append(open_things.enter_context(JsonLines(options.jsonl)))
        if options.vtt:
            sinks.append(open_things.enter_context(WebVtt(options.vtt, origin_ns=sources[0].origin_ns)))
        if not options.quiet:
            origin_ns = min(source.origin_ns for source in sources)
            # last: what is seen there is in the files
            sinks.append(Terminal(sys.stdout, origin_ns, show_camera=many))
        fps = streams[0].config.fps
        video = open_things.enter_context(AnnotatedVideo(options.mp4, fps)) if options.mp4 else None
        parallel = ParallelRuns(runs, close)
        try:
            for chunk, events in (step for _, step in parallel) if many else runs[0]:
                for event in events:
                    write(event)
                if video:
                    video.chunk(chunk, events)
        except KeyboardInterrupt:
            pass  # the usual end of a camera
        finally:
            for source, one, stream in zip(sources, runs, streams, strict=True):
                name = f"{source.name}: " if many else ""
                link = link_summary(stream.state) if isinstance(stream, Client) else ""
                print(name + _summary(one.summary(), stream.capacity_tokens) + link, file=sys.stderr)
                for query in one.unasked:
                    print(f"{name}ended before it could be asked: {query.text}", file=sys.stderr)
            for number, error in parallel.errors.items():
                say(f"{sources[number].name}: {error}")
    return 1 if parallel.errors else 0


def _streams(
    options: argparse.Namespace, names: list[str], open_things: ExitStack
) -> tuple[Sequence[Stream], Callable[[int], None]]:
    """A stream for each camera, and what closes one."""
    if options.endpoint:
        clients = open_clients(options, names, open_things)
        return clients, lambda number: clients[number].close()
    model, config = load(options)  # first: says what to install where torch is missing
    from svlm_core.stream.engine import Engine
    from svlm_core.stream.session import StreamSession

    if len(names) == 1:
        return [StreamSession(model, config)], lambda number: None
    engine = open_things.enter_context(Engine(model, max_batch=len(names)))
    cameras = [engine.open(config) for _ in names]
    return cameras, lambda number: cameras[number].close()


def _timed_query(option: str, query_id: str) -> TimedQuery:
    text, _, seconds = option.rpartition("@")
    try:
        return TimedQuery(text, query_id, float(seconds))
    except ValueError:
        raise ConfigError(f"--ask takes TEXT@SECONDS, got {option!r}") from None
    except QueryError as error:
        raise ConfigError(f"--ask {option!r}: {error}") from None


def _summary(summary: StreamSummary, capacity: int) -> str:
    lost = dict(summary.frames_dropped)
    if waiting := summary.frames_received - summary.frames_used - sum(lost.values()):
        lost["stopped"] = waiting  # their turn did not come
    dropped = ", ".join(f"{n} {reason}" for reason, n in lost.items()) or "none"
    return (
        f"{summary.chunks} chunks ({summary.silent_chunks} silent), {summary.events} events; "
        f"frames: {summary.frames_received} received, {summary.frames_used} used, dropped: {dropped}; "
        f"latency p50 {summary.latency_ms_p50:.1f} ms, p99 {summary.latency_ms_p99:.1f} ms; "
        f"cache {summary.cache_tokens} of {capacity} tokens"
    )
