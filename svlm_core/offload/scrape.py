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

"""What a server's metrics say, read back: two scrapes make rates, quantiles and means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
import math
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from svlm_core.errors import ConfigError, MissingPackageError, SvlmError

try:
    from prometheus_client.parser import text_string_to_metric_families
except ModuleNotFoundError as error:
    raise MissingPackageError(f"reading metrics needs {error.name}: pip install prometheus-client") from error

TIMEOUT_S = 2.0
MAX_BYTES = 4 * 1024 * 1024
_UPTIME = "svlm_uptime_seconds"


class NoServerError(SvlmError):
    """Nothing that answers like a server of svlm is at the address."""


@dataclass(frozen=True)
class Scrape:
    """All samples at one moment.

    Attributes:
        samples: name -> (labels, value) of each.
        ready: what /ready says: whether it is, and why.
    """

    samples: dict[str, list[tuple[dict[str, str], float]]]
    ready: tuple[bool, str]

    @classmethod
    def parse(cls, text: str, ready: tuple[bool, str]) -> Scrape:
        """Read Prometheus' text format.

        Raises:
            NoServerError: these are not the metrics of a server of svlm.
        """
        samples: dict[str, list[tuple[dict[str, str], float]]] = {}
        try:
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    samples.setdefault(sample.name, []).append((sample.labels, sample.value))
        except ValueError as error:
            raise NoServerError(f"what answers there does not send metrics: {error}") from None
        if _UPTIME not in samples:
            raise NoServerError("what answers there is not a server of svlm")
        return cls(samples, ready)

    @property
    def uptime_s(self) -> float:
        """Since the server started."""
        return self.value(_UPTIME)

    def value(self, name: str, **labels: str) -> float:
        """The sum of all samples that have these labels; 0 if there is none."""
        return sum(value for _, value in self.matching(name, labels))

    def label(self, name: str, label: str) -> list[str]:
        """The values of one label, in order of appearance."""
        return list(
            dict.fromkeys(labels[label] for labels, _ in self.samples.get(name, ()) if label in labels)
        )

    def matching(self, name: str, labels: dict[str, str]) -> Iterator[tuple[dict[str, str], float]]:
        """The samples that have these labels, others or not."""
        for found, value in self.samples.get(name, ()):
            if labels.items() <= found.items():
                yield found, value


@dataclass(frozen=True)
class Window:
    """What happened between two scrapes of one server; from its start on if `before` is None."""

    before: Scrape | None
    now: Scrape

    @property
    def length_s(self) -> float:
        """By the server's own clock."""
        return self.now.uptime_s - (self.before.uptime_s if self.before else 0.0)

    def count(self, name: str, **labels: str) -> float:
        """How much a counter grew."""
        return self.now.value(name, **labels) - (self.before.value(name, **labels) if self.before else 0.0)

    def rate(self, name: str, **labels: str) -> float:
        """How much a counter grew, a second."""
        return self.count(name, **labels) / self.length_s if self.length_s > 0 else 0.0

    def mean(self, name: str, **labels: str) -> float:
        """Mean of what a histogram was told; NaN if that was nothing."""
        count = self.count(f"{name}_count", **labels)
        return self.count(f"{name}_sum", **labels) / count if count else math.nan

    def quantile(self, q: float, name: str, **labels: str) -> float:
        """A quantile of what a histogram was told, between its bounds by straight line; NaN if nothing was.

        Beyond the last bound it is that bound, as in Prometheus' histogram_quantile.
        """
        bounds = sorted(self.now.label(f"{name}_bucket", "le"), key=float)
        reached = [self.count(f"{name}_bucket", le=le, **labels) for le in bounds]
        if not reached or not reached[-1]:
            return math.nan
        rank = q * reached[-1]
        below_bound, below_count = 0.0, 0.0
        for bound, count in zip(map(float, bounds), reached, strict=True):
            if count >= rank:
                if math.isinf(bound):
                    return below_bound
                part = (rank - below_count) / (count - below_count) if count > below_count else 1.0
                return below_bound + part * (bound - below_bound)
            below_bound, below_count = bound, count
        return below_bound


def scrape(url: str) -> Scrape:
    """Ask a server.

    Args:
        url: of the server, without a path.

    Raises:
        NoServerError: it does not answer, or is something else.
    """
    try:
        with urlopen(f"{url}/metrics", timeout=TIMEOUT_S) as answer:
            text = answer.read(MAX_BYTES).decode(errors="replace")
        try:
            with urlopen(f"{url}/ready", timeout=TIMEOUT_S) as answer:
                ready = True, answer.read(MAX_BYTES).decode(errors="replace").strip()
        except HTTPError as error:
            ready = False, error.read(MAX_BYTES).decode(errors="replace").strip()
    except (OSError, ValueError) as error:  # URLError is an OSError; ValueError: not HTTP at all
        reason = error.reason if isinstance(error, URLError) else error
        raise NoServerError(f"{url} does not answer: {getattr(reason, 'strerror', None) or reason}") from None
    return Scrape.parse(text, ready)


def base_url(text: str) -> str:
    """The server's address from what a user writes: HOST:PORT, or a URL with or without /metrics.

    Raises:
        ConfigError: it is neither.
    """
    url = urlsplit(text if "://" in text else f"http://{text}")
    try:
        valid = url.scheme in ("http", "https") and bool(url.hostname) and url.path in ("", "/", "/metrics")
        valid = valid and (url.port is None or url.port > 0)
    except ValueError:
        valid = False
    if not valid:
        raise ConfigError(f"--metrics takes HOST:PORT or http://HOST:PORT, got {text!r}")
    return f"{url.scheme}://{url.netloc}"
