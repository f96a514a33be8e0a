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

"""One self-contained page: what all of svlm's pages have around their sections."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from string import Template

_PACKAGE = "svlm_core.page"
_MAY_RUN = "; script-src 'unsafe-inline'"


def render_page(title: str, subtitle: str, body: Iterable[str], style: str = "", script: str = "") -> str:
    """A page that loads nothing.

    Args:
        title: plain text.
        subtitle: plain text, one line.
        body: HTML, mostly what `section` makes.
        style: CSS beside what all pages have.
        script: JavaScript; without one the page may run none.
    """
    return Template(resource(_PACKAGE, "page.html")).substitute(
        may_run=_MAY_RUN if script else "",
        title=escape(title),
        subtitle=escape(subtitle),
        style=resource(_PACKAGE, "page.css") + style,
        body="\n".join(body),
        footer=escape(_footer()),
        script=f"<script>\n{script}</script>\n" if script else "",
    )


def resource(package: str, name: str) -> str:
    """The text of a file that is installed with a package."""
    return files(package).joinpath(name).read_text(encoding="utf-8")


def _footer() -> str:
    """Which svlm made the page."""
    try:
        return f"svlm {version('svlm_ros')}"
    except PackageNotFoundError:  # run from a folder that was never installed
        return "svlm"
