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

"""One camera's stream: chunk in, words out, at constant cost."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
import time
from typing import Any, cast

import numpy as np
from svlm_core.cache.arena import KVArena
from svlm_core.cache.context import CachedContext
from svlm_core.cache.pool import KVPools
from svlm_core.cache.segments import Role, Segment, tail
from svlm_core.cache.window import Limits, POLICIES, trim
from svlm_core.config import StreamConfig
from svlm_core.errors import CacheFullError, ConfigError, QueryError
from svlm_core.frames import Chunk
from svlm_core.model.adapter import StreamModel, VisionInput
from svlm_core.model.decoder import Piece, Visual
from svlm_core.stream.budget import ChunkBudget
from svlm_core.stream.capacity import most_tokens
from svlm_core.stream.positions import place
from svlm_core.stream.protocol import Protocol
from svlm_core.stream.query import Query
from svlm_core.stream.result import (
    ChunkResult,
    FINISH_CANCELLED,
    FINISH_DEADLINE,
    FINISH_END,
    FINISH_LENGTH,
)
from svlm_core.stream.runner import Choose, drive, Encode, Forward, Runner, Work
from svlm_core.stream.sampling import Sampler
import torch
from torch import Tensor

Steps = Generator[Work, Any, "ChunkResult"]
Hear = Callable[[Sequence[int]], object]  # is told all token ids that the chunk has said so far


class StreamSession:
    """The chunk loop of one stream: encode new frames, evict, prefill, decode. One worker calls at a time.

    What it needs of the model it asks for, as works that `steps` yields; so the same code runs alone (`step`)
    and in a batch with other streams (svlm_core.stream.engine).

    Attributes:
        config: its settings, from the next chunk on.
    """

    def __init__(
        self,
        model: StreamModel,
        config: StreamConfig,
        choose: Choose | None = None,
        allocate: Callable[[int], KVArena] | None = None,
        said: str | None = None,
        spare_tokens: int = 0,
    ) -> None:
        """Prepare a stream; the KV cache is allocated with the first chunk, whose frames decide its size.

        Args:
            model: shared by any number of sessions.
            config: this stream's settings.
            choose: picks the next token in place of the sampling that the settings describe.
            allocate: capacity -> where the cache is to be, if others shall lie beside it.
            said: `said_text` of a stream that this one goes on from, until it is reset; what is too long to
                be remembered is left out.
            spare_tokens: room in the cache beside what the settings need.
        """
        self.config = self._config = config  # the second is what the chunk in work goes by
        self._model = model
        self._protocol = Protocol.from_config(config, model.tokenizer, model.dialect)
        self._policy = POLICIES[config.policy]
        # The reference counts the moved turn's <|im_end|> into the text window.
        text_window = config.text_window_tokens - (config.protocol == "streamingvlm")
        self._limits = Limits(config.window_chunks, config.text_sink_tokens, max(0, text_window))
        self._given_choose, self._spare_tokens = choose, spare_tokens
        self._runner: Runner | None = None
        self._frames: tuple[int, tuple[int, int, int]] | None = None  # a chunk's visual tokens, and its grid
        sizes = (model.layers, model.kv_heads, model.head_dim, model.dtype, model.device)
        self._allocate = allocate or KVPools(1, *sizes)
        self.reset()
        if said is not None:
            self._said = self._remembered(self._protocol.words(said))

    @property
    def context(self) -> CachedContext:
        """The cached context, for inspection.

        Raises:
            RuntimeError: before the first chunk.
        """
        if self._context is None:
            raise RuntimeError("the context exists from the first chunk on")
        return self._context

    @property
    def cache_tokens(self) -> int:
        """Tokens in the KV cache."""
        context = self._context  # another thread may reset it meanwhile
        return context.cached_tokens if context else 0

    @property
    def capacity_tokens(self) -> int:
        """Slots of the KV cache, 0 before the first chunk."""
        context = self._context
        return context.arena.capacity if context else 0

    @property
    def said_text(self) -> str:
        """The text so far, as far as it is remembered, at the end of the last chunk; from any thread.

        A stream that shall go on from here, in another process too, is given it as previous_text.
        """
        return cast(str, self._model.tokenizer.decode(self._said, skip_special_tokens=True))

    def words(self, token_ids: Sequence[int]) -> str:
        """The text of what a chunk says, without the mark of silence and the end of the turn; any thread."""
        speech = self._protocol.take_apart(list(token_ids)).speech
        return cast(str, self._model.tokenizer.decode(speech, skip_special_tokens=True)).strip()

    def reset(self) -> None:
        """Forget everything, the random state included; the next chunk begins a new stream."""
        self._context: CachedContext | None = None
        self._choose: Choose = self._given_choose or Sampler(self._config, self._model.device)
        self._said = self._protocol.words(self._config.previous_text)  # the text so far, for the next head

    @torch.inference_mode()
    def freeze(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All of the stream between two chunks, as tensors and JSON's types; see svlm_core.stream.snapshot.

        Raises:
            RuntimeError: there was no chunk yet, or one is in work.
            ConfigError: the policy computes the window anew from pictures, which are not kept.
        """
        if self._policy.recompute:
            raise ConfigError(f"a stream of policy {self._config.policy} cannot be saved")
        tensors, plain = self.context.freeze()
        if isinstance(self._choose, Sampler):
            tensors["random"] = self._choose.random_state
        plain |= {"said": self._said, "frames": self._frames, "config": asdict(self._config)}
        return tensors, plain

    @torch.inference_mode()
    def thaw(self, tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> None:
        """Go on from where a session of the same model and settings was frozen.

        Raises:
            ConfigError: it had other settings.
        """
        self.reset()
        if plain["config"] != asdict(self._config):
            raise ConfigError("the stream was frozen with other settings")
        tokens, grid = plain["frames"]
        self._frames = tokens, tuple(grid)
        self._context = self._new_context()
        self._context.thaw(tensors, plain)
        self._said = list(plain["said"])
        if isinstance(self._choose, Sampler):
            self._choose.random_state = tensors["random"]

    def reconfigure(self, config: StreamConfig) -> None:
        """Take over other settings before the next chunk; from any thread.

        Most fields that may change leave the cache as it is. A new prompt, or more new tokens than the cache
        was made for, need a new one: the stream then goes on with the text so far as its previous text; the
        vision of the window is lost. The random state goes on unless the seed changes.

        Raises:
            ConfigError: a field that may not change differs, or the model has too few positions for the new
                prompt; nothing has changed.
        """
        self.config.check_live_change(config)
        if self._frames is not None:
            try:
                self._capacity(config)
            except CacheFullError as error:
                raise ConfigError(str(error)) from None
        self.config = config

    def check_query(self, query: Query) -> None:
        """Make sure that a question can be asked; from any thread.

        Raises:
            QueryError: it is longer than max_query_tokens.
        """
        tokens, most = len(self._protocol.words(query.text)), self.config.max_query_tokens
        if tokens > most:
            raise QueryError(
                f"the question has {tokens} tokens, max_query_tokens allows {most}: {query.text[:40]!r}"
            )

    def preprocess(self, chunk: Chunk) -> VisionInput:
        """Make a chunk's frames ready, on the CPU; touches nothing else, so it may run ahead in any thread.

        Raises:
            SourceError: the frames' shape is one no model can see.
        """
        config = self.config
        return self._model.preprocess(chunk.rgb(), config.min_visual_tokens, config.max_visual_tokens)

    def step(
        self,
        chunk: Chunk,
        vision: VisionInput | None = None,
        budget: ChunkBudget | None = None,
        query: Query | None = None,
        hear: Hear | None = None,
    ) -> ChunkResult:
        """Understand one chunk, alone. Arguments and errors are those of `steps`."""
        self._runner = self._runner or Runner(self._model)
        return drive(self.steps(chunk, vision, budget, query, hear), self._runner.run)

    @torch.inference_mode()
    def steps(
        self,
        chunk: Chunk,
        vision: VisionInput | None = None,
        budget: ChunkBudget | None = None,
        query: Query | None = None,
        hear: Hear | None = None,
    ) -> Steps:
        """Understand one chunk, in steps.

        Args:
            chunk: the next one; numbers may be left out, not repeated.
            vision: its frames, if `preprocess` has run already.
            budget: limits the time; no limit if not given.
            query: a question that rides in the chunk; its words are the answer.
            hear: called after each token but the last; must be quick, and raise nothing.

        Yields:
            What the model is to do; send the answer, or throw the exception, that Runner gives for it.

        Returns:
            The result.

        Raises:
            CacheFullError: the chunk does not fit; the stream is as before the call.
            SourceError: the frames' shape is one no model can see; the stream is as before the call.
            QueryError: the question is too long; the stream is as before the call.
            NumericsError: the scores were not finite; the stream begins anew, as after any other error.
        """
        if query:
            self.check_query(query)
        self._adopt(self.config)
        budget = budget or ChunkBudget()
        stage_ms: dict[str, float] = {}
        with _timed(stage_ms, "preprocess"):
            vision = vision or self.preprocess(chunk)
        with _timed(stage_ms, "vision"):
            features = yield Encode(vision)  # [tokens, feature_size]
        if budget.cancelled:
            return ChunkResult("", (), 0, self.cache_tokens, FINISH_CANCELLED, stage_ms)
        try:
            with _timed(stage_ms, "cache"):
                context = self._context or self._begin(vision)
                yield from self._forget(context, chunk.index)
            with _timed(stage_ms, "prefill"):
                tokens = self._open_round(context, chunk.index, vision, features, query)
                token = yield from self._run(context, self._choose)
            with _timed(stage_ms, "cache"):
                context.remember_text()
                context.rebase()
            with _timed(stage_ms, "decode"):
                said, finish = yield from self._decode(context, chunk.index, token, budget, hear)
            self._said = self._text_so_far(context)
        except CacheFullError:
            raise
        except BaseException:  # Ctrl-C, too: half a chunk is in the cache
            self.reset()
            raise
        return ChunkResult(self.words(said), tuple(said), tokens, context.cached_tokens, finish, stage_ms)

    def _adopt(self, config: StreamConfig) -> None:
        """Go by these settings from now on, see `reconfigure`."""
        before = self._config
        if config == before:
            return
        if self._context and self._frames:
            outgrown = self._capacity(config) > self._context.arena.capacity
            if outgrown or config.prompt != before.prompt:
                self._context = None
        if self._given_choose is None and isinstance(self._choose, Sampler):
            self._choose.config = config
            if config.sampling_seed != before.sampling_seed:
                self._choose = Sampler(config, self._model.device)
        self._config = config

    def _begin(self, vision: VisionInput) -> CachedContext:
        self._frames = vision.tokens, vision.grid
        return self._new_context()

    def _new_context(self) -> CachedContext:
        """An empty context with room for frames like those seen first."""
        model = self._model
        arena = self._allocate(self._capacity(self._config))
        return CachedContext(arena, model.rotate, model.vocab_size, self._policy.contiguous)

    def _capacity(self, config: StreamConfig) -> int:
        """Slots of a cache for frames like those seen first; raises CacheFullError, see most_tokens."""
        assert self._frames is not None
        return most_tokens(
            config, self._protocol, self._model, *self._frames, len(self._said), self._spare_tokens
        )

    def _text_so_far(self, context: CachedContext) -> list[int]:
        """Ids of the old text and of the speech that is still in the context, no more than may stay."""
        roles = (Role.PREVIOUS, Role.SPEECH)
        return self._remembered(
            [i for segment in context.segments if segment.role in roles for i in segment.ids]
        )

    def _remembered(self, text: list[int]) -> list[int]:
        """What may stay of a text."""
        start, stop = trim(len(text), self._limits) if self._policy.bounded else (0, 0)
        return text[:start] + text[stop:]

    def _forget(self, context: CachedContext, chunk: int) -> Generator[Work, Any, None]:
        """Carry out the policy before a chunk."""
        if not context.segments:
            return
        retention = self._policy.retain(context.segments, chunk, self._limits)
        newest = max(segment.chunk for segment in context.segments)
        if any(context.segments[i].chunk == newest for i in retention.move):
            # A window of one chunk: the end of what was said has not been run through the model yet.
            context.arena.reserve(context.pending)
            yield from self._run(context, None)
            context.remember_text()
        elif any(context.segments[i].chunk == newest for i in retention.evict):
            context.drop_pending()
        context.retain(retention)
        if self._policy.recompute:
            context.restart()

    def _open_round(
        self, context: CachedContext, chunk: int, vision: VisionInput, features: Tensor, query: Query | None
    ) -> int:
        """Append the chunk's segments, the head before them if this is the first; returns all pending tokens.

        Raises:
            CacheFullError: they do not fit; nothing was appended.
        """
        config, protocol = self._config, self._protocol
        head = [] if context.segments else protocol.head(config, self._said)
        prompt = config.prompt if head and not protocol.query_in_head else ""
        asked = query.text if query else ""
        user = protocol.user(chunk, config.chunk_s, vision.grid, vision.tokens, prompt, asked)
        offset = 0
        for segment in user:
            if segment.vision is not None:
                segment.features = features[offset : offset + segment.vision.tokens]
                offset += segment.vision.tokens
        opened = [*head, *user, protocol.answer_open(chunk)]
        tokens = context.pending + sum(len(segment.ids) for segment in opened)
        context.arena.reserve(tokens + config.max_new_tokens)
        context.append(*opened)
        self._context = context
        return tokens

    def _run(self, context: CachedContext, choose: Choose | None) -> Generator[Work, Any, Any]:
        """Run the model on everything pending; returns the next token's id, None without `choose`."""
        model = self._model
        pending = tail(context.segments, context.pending)
        positions, next_position = place(
            pending,
            context.next_position,
            lambda grid, base: model.vision_positions(grid, base, model.frames_per_step / self._config.fps),
        )  # [3, L]
        visual, offset = [], 0
        for segment in pending:  # by place, not by id: a model may say the visual token, too
            if segment.vision is not None and segment.features is not None:
                visual.append(Visual(offset + segment.vision.start, segment.features))
            offset += len(segment.ids)
        ids = torch.tensor([i for segment in pending for i in segment.ids], device=model.device)
        piece = Piece(ids, positions.to(model.device), context.arena, tuple(visual))
        token = yield Forward(piece, choose, context.counts)
        context.extend(positions.numpy(), next_position)
        if not self._policy.recompute:
            for segment in pending:
                segment.features = None
        return token

    def _say(self, context: CachedContext, token: int) -> Generator[Work, Any, int]:
        """Run the model on a token just said, with nothing else pending; returns the next one's id."""
        position, device = context.next_position, self._model.device
        context.say(token)
        positions = torch.full((3, 1), position, device=device)
        piece = Piece(torch.tensor([token], device=device), positions, context.arena)
        following = yield Forward(piece, self._choose, context.counts)
        context.extend(np.full((3, 1), position), position + 1)
        return following

    def _decode(
        self,
        context: CachedContext,
        chunk: int,
        token: int,
        budget: ChunkBudget,
        hear: Hear | None,
    ) -> Generator[Work, Any, tuple[list[int], str]]:
        """Generate from the first token on; the turn is left closed, its end pending."""
        config = self._config
        ends = self._model.eos_token_ids | {self._protocol.end_of_turn}
        context.append(Segment(Role.SPEECH, chunk, []))
        said = [token]
        while True:
            if said[-1] in ends:
                finish = FINISH_END
            elif len(said) == config.max_new_tokens:
                finish = FINISH_LENGTH
            elif budget.cancelled:
                finish = FINISH_CANCELLED
            elif budget.spent:
                finish = FINISH_DEADLINE
            else:
                if hear:
                    hear(said)
                said.append((yield from self._say(context, said[-1])))
                continue
            break
        answer = self._protocol.take_apart([i for i in said if i not in ends])
        context.end_speech(answer.speech, Segment(Role.ANSWER_CLOSE, chunk, answer.close))
        return said, finish


@contextmanager
def _timed(stage_ms: dict[str, float], stage: str) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    stage_ms[stage] = stage_ms.get(stage, 0.0) + (time.perf_counter() - begin) * 1e3
