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

"""What the codes of the wire mean, in words for people."""

from __future__ import annotations

from svlm_core.offload import wire
from svlm_core.offload.wire import Code

_WORDS = {
    Code.VERSION: "the server speaks another version of the protocol; install the same svlm on both sides",
    Code.SCHEMA: "the server could not read a message",
    Code.TOO_LARGE: "a message was too large for the server; send smaller pictures",
    Code.IMAGE: "the server could not read a picture",
    Code.FULL: "the server is full: it has no room for another stream",
    Code.RATE: "this robot's key has sent more than the server lets it",
    Code.REVOKED: "this robot's key was revoked",
    Code.SESSION: "the server does not know the stream",
    Code.TAKEN: "the stream belongs to another key, or to another connection",
    Code.EPOCH: "the server has lost the memory that the chunk was for",
    Code.ORDER: "the server has had a newer chunk",
    Code.CREDIT: "the server still works on the chunk before",
    Code.CONFIG: "the server refuses a setting",
    Code.QUERY: "the question is longer than max_query_tokens",
    Code.CACHE: "the chunk does not fit into the KV cache; the settings that decide its size are "
    "vision_window_s, text_window_tokens, prompt, max_new_tokens, max_query_tokens and max_visual_tokens",
    Code.NUMERICS: "the model's scores were not finite; the stream begins anew",
    Code.SLOW: "the server has cut this robot, which did not fetch its messages",
    Code.ENDING: "the server shuts down",
    Code.INTERNAL: "the server failed; its log says more",
}


def in_words(error: wire.Error) -> str:
    """Why something was refused."""
    words = _WORDS[error.code]
    # what is not the name of a field may be anything, and is not for a terminal
    return f"{words}: {error.field}" if error.field.isidentifier() else words
