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

"""`svlm keys new|allow|revoke|list`: who may connect to a server."""

from __future__ import annotations

import argparse
from pathlib import Path
import sys
from typing import Any

from svlm_core.offload.keys import KeyStore, parse_public, SERVER

DEFAULT_DIR = "~/.config/svlm/keys"
STEPS = """\
on the server, once:  svlm keys new server           then: svlm serve --bind 'tcp://*:5577' --keys DIR
on each robot, once:  svlm keys new robot1           prints robot1's public key
on the server:        svlm keys allow robot1 'PUBLIC KEY'
on the robot:         svlm stream SOURCE --endpoint tcp://SERVER:5577 \\
                        --key DIR/robot1.key --server-key 'PUBLIC KEY OF THE SERVER'
a robot is lost:      svlm keys revoke robot1        on the server; works at once, without a restart

Quote keys with ' ': they have characters that mean something to a shell. The .pub file will do as well.
The secret, NAME.key, never leaves the machine that it was made on. More: docs/security.md
"""


def add_parser(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser(
        "keys",
        help="make keys, and say who may connect to svlm serve",
        description="Make keys, and say who may connect to svlm serve.",
        epilog=STEPS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    jobs = parser.add_subparsers(dest="job", metavar="JOB", required=True)
    new = _job(jobs, "new", "make a pair of keys", new_key)
    new.add_argument("name", help="of the robot; `server` for the server's own pair")
    allow = _job(jobs, "allow", "let a robot in from now on", allow_key)
    allow.add_argument("name", help="what logs and limits call the robot")
    allow.add_argument("public", help="its public key, or the path of its .pub file")
    revoke = _job(jobs, "revoke", "let a robot in no longer; the server need not be restarted", revoke_key)
    revoke.add_argument("name", help="as it was allowed")
    _job(jobs, "list", "show the keys that are here and those that are allowed", list_keys)


def _job(jobs: Any, name: str, what: str, run: Any) -> Any:
    parser = jobs.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")
    parser.add_argument("--dir", default=DEFAULT_DIR, help="directory of keys (default: %(default)s)")
    parser.set_defaults(run=run)
    return parser


def _store(options: argparse.Namespace) -> KeyStore:
    return KeyStore(Path(options.dir).expanduser())


def _tell(news: str) -> None:
    print(f"svlm: {news}", file=sys.stderr)


def new_key(options: argparse.Namespace) -> int:
    """Make a pair; its public key is all that goes to stdout."""
    store = _store(options)
    public = store.new(options.name).decode()
    print(public)
    use = (
        "each robot's --server-key"
        if options.name == SERVER
        else f"svlm keys allow {options.name} '{public}'"
    )
    _tell(f"the secret is {store.folder / options.name}.key and stays there; the public key is for {use}")
    return 0


def allow_key(options: argparse.Namespace) -> int:
    """Let a key in."""
    store = _store(options)
    store.allow(options.name, parse_public(options.public, "the public key"))
    _tell(f"{options.name} may connect to servers that use {store.folder}")
    return 0


def revoke_key(options: argparse.Namespace) -> int:
    """Let a key in no longer."""
    store = _store(options)
    store.revoke(options.name)
    _tell(f"{options.name} may connect no longer to servers that use {store.folder}")
    return 0


def list_keys(options: argparse.Namespace) -> int:
    """One line for each key: whose it is, its name, its public half."""
    store = _store(options)
    rows = [("here", *key) for key in store.own()] + [("allowed", *key) for key in store.allowed()]
    width = max((len(name) for _, name, _ in rows), default=0)
    for kind, name, public in rows:
        print(f"{kind:<7}  {name:<{width}}  {public.decode()}")
    return 0
