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

"""From the first signal handler to the exit code: the life of a process that holds ROS nodes.

rclpy's own signal handlers shut the context down under the node's feet, which is why a Ctrl-C shows up as an
ExternalShutdownException here and an RCLError there. They stay off. Signals and failures alike put an exit
code into one queue; the main thread waits on it and then takes everything down in order. A second signal, as
`ros2 launch` sends, is one more entry in a queue that nobody reads any more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import os
from queue import SimpleQueue
import signal
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # rclpy takes a while to import; the handlers below must stand before that
    from rclpy.executors import Executor
    from rclpy.node import Node

End = Callable[[int], None]  # ends the process with this exit code; any thread may call, the first wins


def run_node(make_node: Callable[[End], Node], name: str, args: Sequence[str] | None = None) -> int:
    """As `run_nodes`, for one node."""
    return run_nodes(lambda end: [make_node(end)], name, args)


def run_nodes(
    make_nodes: Callable[[End], Sequence[Node]], name: str, args: Sequence[str] | None = None
) -> int:
    """Make nodes, spin them until one ends the process or a signal comes, and take them down.

    Args:
        make_nodes: builds the nodes; import what they need inside, so that a signal finds its handler ready.
        name: logger name for what goes wrong before there is a node.
        args: ROS arguments; the process's own when None.

    Returns:
        The exit code: 0 after SIGINT or SIGTERM, else what a node gave to its `End`. Does not return when
        a thread of a node is busy for seconds (a model that loads cannot be interrupted): then the process
        ends here, with everything that others can see already taken down.
    """
    codes: SimpleQueue[int] = SimpleQueue()  # its put() is safe inside a signal handler, Event.set() is not
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: codes.put(0))

    import rclpy
    from rclpy.exceptions import ParameterException
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.logging import get_logger
    from rclpy.signals import SignalHandlerOptions
    from svlm_core.errors import SvlmError

    try:
        rclpy.init(args=None if args is None else list(args), signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:
        get_logger(name).fatal(str(error).splitlines()[0])
        return 1
    try:
        try:
            nodes = make_nodes(codes.put)
        except (SvlmError, ParameterException) as error:
            get_logger(name).fatal(" ".join(str(error).split()))
            return 1
        executor = SingleThreadedExecutor()
        for node in nodes:
            executor.add_node(node)
        spinner = threading.Thread(
            target=_spin, args=(executor, name, codes.put), name="executor", daemon=True
        )
        spinner.start()
        code = codes.get()
        executor.shutdown()
        spinner.join()
        for node in nodes:
            node.destroy_node()
    finally:
        rclpy.shutdown()
    if threading.active_count() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _spin(executor: Executor, name: str, end: End) -> None:
    from rclpy.logging import get_logger

    try:
        executor.spin()
    except Exception as error:  # a bug in a callback: say so and end, rather than live on deaf
        get_logger(name).fatal(f"{type(error).__name__} in a callback: {error}")
        end(1)
        raise
