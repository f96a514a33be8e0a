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

"""The benches' figures as tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from svlm_core.bench.plan import ChunkTime, Plan, Terms

_MIB = 2**20


def efficiency_table(figures: Mapping[str, Any]) -> str:
    """What svlm_core.bench.efficiency.measure_efficiency returned."""
    columns = {
        "p50 ms": "p50_ms",
        "p99 ms": "p99_ms",
        "p99/p50": "p99_over_p50",
        "early ms": "early_ms",
        "late ms": "late_ms",
        "late/early": "late_over_early",
        "old/young": "old_over_young",
        "x streaming": "over_reference",
    }
    rows: list[Sequence[str]] = [["policy", "chunks", *columns, "cache tokens", "MiB"]]
    notes = []
    for name, policy in figures["policies"].items():
        chunks, summary = len(policy["chunk_ms"]), policy["summary"]
        measured = [_number(summary.get(key)) for key in columns.values()]
        tokens, mib = max(policy["cache_tokens"], default=0), max(policy["cache_bytes"], default=0) / _MIB
        rows.append([name, str(chunks), *measured, str(tokens), _number(mib)])
        if policy["stopped"]:
            notes.append(f"{name} broke after {chunks} chunks: {policy['stopped']}")
        if policy["untrained_at"] is not None:
            notes.append(
                f"{name}: positions the model was not trained for from chunk {policy['untrained_at']} on"
            )
    return "\n".join([_align(rows), *notes])


def limit_table(figures: Mapping[str, Any]) -> str:
    """What svlm_core.bench.limit.measure_limit returned."""
    columns = {
        "real ms": "real_ms",
        "products": "products_ms",
        "attention": "attention_ms",
        "rest": "rest_ms",
    }
    rows: list[Sequence[str]] = [["stage", *columns, "rest of chunk"]]
    for stage, row in figures["stages"].items():
        rows.append([stage, *(_number(row[key]) for key in columns.values()), f"{row['rest_share']:.1%}"])
    products, kernels = figures["decode_of_products"], figures["decode_of_kernels"]
    return "\n".join(
        [
            _align(rows),
            f"decode: torch's bare products would take {products:.1%} of its time; its own, and attention, "
            f"take {kernels:.1%}",
            f"memory is read at {figures['read_gb_per_s']} GB/s: at that speed weights and cache would take "
            f"{figures['decode_of_memory']:.1%} of decode's time",
        ]
    )


def capacity_table(figures: Mapping[str, Any]) -> str:
    """What svlm_core.bench.capacity.measure_capacity returned."""
    batched = {"p50 ms": "p50_ms", "p95 ms": "p95_ms", "p99 ms": "p99_ms", "chunks/s": "chunks_per_s"}
    rows: list[Sequence[str]] = [
        ["cameras", *batched, "in turn: p99 ms", "chunks/s", "speedup", "bare kernels'", "real time"]
    ]
    for row in figures["cameras"]:
        numbers = [row["batched"][key] for key in batched.values()]
        numbers += [row["in_turn"]["p99_ms"], row["in_turn"]["chunks_per_s"]]
        numbers += [row["speedup"], row["bare_speedup"]]
        held = "held" if row["held"] else "late"
        rows.append([str(row["cameras"]), *(_number(number) for number in numbers), held])
    return f"{_align(rows)}\n{figures['held']} cameras are held in real time"


def offload_table(figures: Mapping[str, Any]) -> str:
    """What svlm_core.bench.offload.measure_link returned."""
    columns = {
        "encode ms": "encode_ms",
        "decode": "decode_ms",
        "step here": "here_ms",
        "over the link": "over_link_ms",
        "link adds": "overhead_ms",
        "p25": "overhead_ms_p25",
        "p75": "overhead_ms_p75",
        "transport": "transport_ms",
        "MB/s": "mb_per_s",
    }
    rows: list[Sequence[str]] = [["pictures", "kB a chunk", *columns]]
    for row in figures["sizes"]:
        numbers = [row["chunk_bytes"] / 1e3, *(row[key] for key in columns.values())]
        rows.append([f"{row['width_px']}x{row['height_px']}", *map(_number, numbers)])
    lines = [_align(rows)]
    if figures["overhead_ms"] is not None:
        verdict = "within" if figures["within_limit"] else "above"
        lines.append(
            f"{_number(figures['overhead_ms'])} ms is {verdict} the limit of {figures['limit_ms']} ms"
        )
    return "\n".join(lines)


def plan_table(plan: Plan, terms: Terms) -> str:
    """A plan, and the terms it is made of."""

    def times(time: ChunkTime) -> list[str]:
        return [f"{s * 1e3:.1f}" for s in (time.vision_s, time.prefill_s, time.decode_s, time.total_s)]

    rows: list[Sequence[str]] = [
        ["ms for a chunk of", "vision", "prefill", "decode", "total"],
        ["1 camera", *times(plan.alone)],
        [f"{max(1, plan.cameras)} cameras", *times(plan.full)],
    ]
    return "\n".join(
        [
            _align([[name, f"{value:,}"] for name, value in vars(terms).items()]),
            "",
            _align(rows),
            "",
            f"{plan.cameras} cameras in real time ({plan.frames_per_s:.0f} frames per second); {plan.limit} "
            f"forbids more: time would allow {plan.by_time}, memory {plan.by_memory}",
        ]
    )


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.1f}" if abs(value) >= 100 else f"{value:.2f}"


def _align(rows: Sequence[Sequence[str]]) -> str:
    """Columns of equal width, the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )
