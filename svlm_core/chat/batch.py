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

"""Many questions at once, under one instruction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from svlm_core.chat.client import ChatClient
from svlm_core.chat.reply import Answer, NoReplyError, UnreadableError
from svlm_core.errors import EndpointError

_PARALLEL = 8


def ask_all(
    client: ChatClient,
    system: str,
    questions: Sequence[str],
    understand: Callable[[str, str], Answer],
    progress: Callable[[int], object],
) -> list[Answer | None]:
    """Ask all, several at once; the results in order.

    Args:
        client: asks.
        system: what the model is told before each question.
        questions: what it is asked.
        understand: (question, answer) -> a result; ValueError when the answer makes no sense: it is asked for
            again, as often as the endpoint's `attempts` allow.
        progress: called with the number of questions done.

    Returns:
        A result for each; None where no answer made sense.

    Raises:
        EndpointError: the server refuses, or cannot be reached; the rest is not even tried.
        ConfigError: the cache cannot be written.
    """

    def work(question: str) -> Answer | None:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": question}]
        for _ in range(client.endpoint.attempts):
            try:
                return client.ask(messages, lambda words: understand(question, words))
            except UnreadableError:
                continue
            except NoReplyError as error:
                reason = f"{client.endpoint.url}: {error}; what was done is kept, run the command again"
                client.stop(reason)  # what fails for one fails for all
                raise EndpointError(reason) from None
        return None

    results = []
    pool = ThreadPoolExecutor(_PARALLEL, thread_name_prefix="svlm-chat")
    try:
        for result in pool.map(work, questions):
            results.append(result)
            progress(1)
    except BaseException:
        client.stop("stopped")
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    return results
