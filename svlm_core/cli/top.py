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

"""`svlm top`: what a server does, live in a terminal."""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Iterator
import math
import shutil
import sys
import time
from typing import Any, TYPE_CHECKING

from svlm_core.errors import ConfigError
from svlm_core.offload.serving import DEFAULT_METRICS

if TYPE_CHECKING:
    from svlm_core.offload.scrape import Scrape, Window

WINDOW_S = 10.0  # rates and quantiles are of the last so many seconds
MIN_INTERVAL_S = 0.1
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  # the alternate screen, without a cursor
_HOME, _END_OF_LINE, _END_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"
_KEYS_SHOWN = 12


def add_parser(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser(
        "top",
        help="what a server does, live",
        description="Shows the metrics of `svlm serve`: sessions, chunks, latency by stage, frames by "
        f"outcome, the link, workers and keys. Rates, quantiles and means are of the last {WINDOW_S:.0f} "
        "seconds. A server that is gone is waited for. Ctrl-C ends. A server shows its metrics to its own "
        "machine alone, by default: from another one, ssh -t HOST svlm top.",
    )
    parser.add_argument(
        "--metrics",
        default=DEFAULT_METRICS,
        metavar="HOST:PORT",
        help="where the server shows its metrics, also as a URL (default: %(default)s)",
    )
    parser.add_argument(
        "--interval-s", type=float, default=1.0, metavar="S", help="between two looks (default: %(default)s)"
    )
    parser.add_argument("--once", action="store_true", help="look once, at all since the server's start")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Show until Ctrl-C, or once."""
    from svlm_core.offload.scrape import base_url, scrape, Window

    if not options.interval_s >= MIN_INTERVAL_S:
        raise ConfigError(f"--interval-s must be at least {MIN_INTERVAL_S}, got {options.interval_s}")
    url = base_url(options.metrics)
    if options.once:
        print("\n".join(table(url, Window(None, scrape(url)))))
        return 0
    live = sys.stdout.isatty()
    try:
        if live:
            sys.stdout.write(_ENTER)
        for lines in _looks(url, options.interval_s):
            sys.stdout.write(_screen(lines) if live else "\n".join([*lines, "", ""]))
            sys.stdout.flush()
    except KeyboardInterrupt:
        return 0  # the usual end
    finally:
        if live:
            sys.stdout.write(_LEAVE)
            sys.stdout.flush()
    return 0


def _looks(url: str, interval_s: float) -> Iterator[list[str]]:
    """A table every `interval_s`, or a line that says that the server is gone."""
    from svlm_core.offload.scrape import NoServerError, scrape, Window

    history: deque[Scrape] = deque()
    gone_since_s: float | None = None
    while True:
        began_s = time.monotonic()
        try:
            now = scrape(url)
        except NoServerError as error:
            gone_since_s = began_s if gone_since_s is None else gone_since_s
            history.clear()
            yield [f"svlm top   {error}", f"waiting for it, {began_s - gone_since_s:.0f} s so far"]
        else:
            gone_since_s = None
            if history and now.uptime_s < history[-1].uptime_s:
                history.clear()  # another server
            history.append(now)
            while len(history) > 2 and now.uptime_s - history[1].uptime_s >= WINDOW_S:
                history.popleft()
            yield table(url, Window(history[0] if len(history) > 1 else None, now))
        time.sleep(max(0.0, interval_s - (time.monotonic() - began_s)))


def _screen(lines: list[str]) -> str:
    """Lines over what the terminal shows already, cut to its size; without a flicker."""
    columns, rows = shutil.get_terminal_size()
    body = "\n".join(line[:columns] + _END_OF_LINE for line in lines[:rows])
    return _HOME + body + _END_OF_SCREEN


def table(url: str, window: Window) -> list[str]:
    """The lines to show."""
    now = window.now
    model = next(iter(now.label("svlm_server_info", "model")), "")
    span = f"last {window.length_s:.0f} s" if window.before else "since the start"
    yes, why = now.ready
    lines = [
        f"svlm top   {url}   {model}   up {_duration(now.uptime_s)}   {'' if yes else 'NOT READY: '}{why}",
        "",
        _line("sessions", *_sessions(now)),
        _line("chunks", *_chunks(window)),
        _line(
            "tokens",
            f"{window.rate('svlm_prompt_tokens_total'):.0f}/s prefilled",
            f"{window.rate('svlm_generation_tokens_total'):.0f}/s generated",
        ),
        _line("frames", *_frames(window)),
        _line("link", *_link(window)),
        _line("refusals", *_refusals(now)),
        "",
        *_latency(window, span),
        "",
        *_workers(now),
        "",
        *_keys(window, span),
    ]
    # whatever answers there must not steer the terminal
    return ["".join(c if c.isprintable() else "?" for c in line) for line in lines]


def _sessions(now: Scrape) -> list[str]:
    tokens, slots = now.value("svlm_kv_cache_tokens"), now.value("svlm_kv_cache_capacity_tokens")
    usage = tokens / slots if slots else 0.0
    return [
        f"{now.value('svlm_sessions', state='live'):.0f} live",
        f"{now.value('svlm_sessions', state='detached'):.0f} detached",
        f"room for {now.value('svlm_sessions_limit'):.0f}",
        f"KV cache {usage:.0%} ({tokens:,.0f} of {slots:,.0f} tokens)",
    ]


def _chunks(window: Window) -> list[str]:
    now = window.now
    return [
        f"{window.rate('svlm_request_success_total'):.1f}/s understood",
        f"{now.value('svlm_num_requests_running'):.0f} running",
        f"{now.value('svlm_num_requests_waiting'):.0f} waiting",
        f"{now.value('svlm_request_success_total'):,.0f} in all",
    ]


def _frames(window: Window) -> list[str]:
    now = window.now
    dropped = {
        reason: count
        for reason in now.label("svlm_frames_total", "reason")
        if (count := now.value("svlm_frames_total", outcome="dropped", reason=reason))
    }
    reasons = ", ".join(f"{count:,.0f} {reason}" for reason, count in dropped.items())
    return [
        f"{window.rate('svlm_frames_received_total'):.1f}/s received",
        f"in all {now.value('svlm_frames_received_total'):,.0f} received",
        f"{now.value('svlm_frames_total', outcome='used'):,.0f} used",
        f"dropped: {reasons or 'none'}",
    ]


def _link(window: Window) -> list[str]:
    now = window.now
    trip = "svlm_link_round_trip_seconds"
    return [
        f"{_bytes(window.rate('svlm_received_bytes_total'))}/s in",
        f"{_bytes(window.rate('svlm_sent_bytes_total'))}/s out",
        f"round trip p50 {_ms(window.quantile(0.5, trip))}, p99 {_ms(window.quantile(0.99, trip))}",
        f"{now.value('svlm_session_reconnects_total'):,.0f} reconnects",
    ]


def _refusals(now: Scrape) -> list[str]:
    codes = now.label("svlm_refusals_total", "code")
    counts = {code: now.value("svlm_refusals_total", code=code) for code in codes}
    return [f"{count:,.0f} {code}" for code, count in counts.items() if count] or ["none"]


def _latency(window: Window, span: str) -> list[str]:
    rows: list[tuple[str, str, dict[str, str]]] = [
        ("chunk", "svlm_e2e_request_latency_seconds", {}),
        ("first token", "svlm_time_to_first_token_seconds", {}),
        ("each token", "svlm_time_per_output_token_seconds", {}),
    ]
    stage = "svlm_request_stage_seconds"
    rows += [(name, stage, {"stage": name}) for name in window.now.label(f"{stage}_count", "stage")]
    rows.append(("journal", "svlm_journal_write_seconds", {}))
    cells = [
        [
            name,
            *(_ms(window.quantile(q, metric, **labels)) for q in (0.5, 0.95, 0.99)),
            _ms(window.mean(metric, **labels)),
        ]
        for name, metric, labels in rows
    ]
    return _columns([f"latency, {span}", "p50", "p95", "p99", "mean"], cells)


def _workers(now: Scrape) -> list[str]:
    cells = [
        [
            device,
            "up" if now.value("svlm_worker_up", device=device) else "DOWN",
            f"{now.value('svlm_num_requests_running', device=device):.0f}",
            f"{now.value('svlm_num_requests_waiting', device=device):.0f}",
            _seconds(now.value("svlm_since_decode_seconds", device=device)),
            f"{now.value('svlm_worker_restarts_total', device=device):.0f}",
        ]
        for device in now.label("svlm_worker_up", "device")
    ]
    return _columns(["worker", "state", "running", "waiting", "last token", "restarts"], cells)


def _keys(window: Window, span: str) -> list[str]:
    """The busiest keys first."""
    received, sent = "svlm_received_bytes_total", "svlm_sent_bytes_total"
    trip = "svlm_link_round_trip_seconds"
    keys = sorted(window.now.label(received, "key"), key=lambda key: -window.rate(received, key=key))
    cells = [
        [
            key,
            f"{window.rate('svlm_frames_received_total', key=key):.1f}/s",
            f"{window.count('svlm_frames_total', key=key, outcome='used'):,.0f}",
            f"{window.count('svlm_frames_total', key=key, outcome='dropped'):,.0f}",
            f"{_bytes(window.rate(received, key=key))}/s",
            f"{_bytes(window.rate(sent, key=key))}/s",
            _ms(window.quantile(0.5, trip, key=key)),
            _ms(window.quantile(0.99, trip, key=key)),
        ]
        for key in keys[:_KEYS_SHOWN]
    ]
    more = [f"and {len(keys) - _KEYS_SHOWN} more"] if len(keys) > _KEYS_SHOWN else []
    return (
        _columns([f"key, {span}", "frames", "used", "dropped", "in", "out", "round trip p50", "p99"], cells)
        + more
    )


def _line(name: str, *parts: str) -> str:
    return f"{name:<11}{'   '.join(parts)}"


def _columns(head: list[str], rows: list[list[str]]) -> list[str]:
    """Cells as wide as their columns need, the first to the left, figures to the right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    return [
        "   ".join(
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in [head, *rows]
    ]


def _ms(seconds: float) -> str:
    """Milliseconds, to about three figures."""
    if math.isnan(seconds):
        return "-"
    value = seconds * 1e3
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.3g} ms"


def _seconds(seconds: float) -> str:
    return "-" if math.isnan(seconds) else f"{seconds:.1f} s"


def _bytes(amount: float) -> str:
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.3g} GB"


def _duration(seconds: float) -> str:
    days, rest = divmod(int(seconds), 86400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    return (
        f"{days} d {hours} h" if days else f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
    )
