"""One camera's stream: chunk in, words out, at constant cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import cast

import torch
from torch import Tensor

from svlm_core.cache.arena import KVArena
from svlm_core.cache.context import CachedContext
from svlm_core.cache.segments import Role, Segment
from svlm_core.cache.window import POLICIES, Limits
from svlm_core.config import StreamConfig
from svlm_core.errors import CacheFullError
from svlm_core.frames import Chunk
from svlm_core.model.adapter import StreamModel, VisionInput
from svlm_core.stream.positions import place
from svlm_core.stream.protocol import Protocol
from svlm_core.stream.sampling import Sampler

Choose = Callable[[Tensor, Tensor], int]  # (logits [vocabulary], ids in the context [N]) -> token id

_LONGEST_STREAM_S = 1e9  # thirty years: the widest time text a capacity is computed for


@dataclass(frozen=True)
class ChunkResult:
    """What one chunk gave.

    Attributes:
        text: the words, "" for silence.
        token_ids: all ids generated, silence mark and end of turn included.
        prefill_tokens: tokens of the chunk's prefill.
        cache_tokens: tokens in the KV cache after the chunk.
        stage_ms: wall time of preprocess, vision, cache, prefill and decode, milliseconds.
    """

    text: str
    token_ids: tuple[int, ...]
    prefill_tokens: int
    cache_tokens: int
    stage_ms: dict[str, float] = field(default_factory=dict)


class StreamSession:
    """Runs the chunk loop: encode new frames, evict, prefill, decode. Not thread-safe: one worker calls."""

    def __init__(self, model: StreamModel, config: StreamConfig, choose: Choose | None = None) -> None:
        """Prepare a stream; the KV cache is allocated with the first chunk, whose frames decide its size.

        Args:
            model: shared by any number of sessions.
            config: this stream's settings.
            choose: picks the next token in place of the sampling that the settings describe.
        """
        self.config = config
        self._model = model
        self._protocol = Protocol.from_config(config, model.tokenizer)
        self._policy = POLICIES[config.policy]
        # The reference counts the moved turn's <|im_end|> into the text window.
        text_window = config.text_window_tokens - (config.protocol == "streamingvlm")
        self._limits = Limits(config.window_chunks, config.text_sink_tokens, max(0, text_window))
        self._given_choose = choose
        self.reset()

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
        return self._context.cached_tokens if self._context else 0

    @property
    def capacity_tokens(self) -> int:
        """Slots of the KV cache, 0 before the first chunk."""
        return self._context.arena.capacity if self._context else 0

    def reset(self) -> None:
        """Forget everything, the random state included; the next chunk begins a new stream."""
        self._context: CachedContext | None = None
        self._choose: Choose = self._given_choose or Sampler(self.config, self._model.device)

    @torch.inference_mode()
    def step(self, chunk: Chunk) -> ChunkResult:
        """Understand one chunk.

        Raises:
            CacheFullError: it does not fit; the stream is as before the call.
            SourceError: the frames' shape is one no model can see.
        """
        config, model = self.config, self._model
        stage_ms: dict[str, float] = {}
        with _timed(stage_ms, "preprocess"):
            vision = model.preprocess(chunk.rgb(), config.min_visual_tokens, config.max_visual_tokens)
        with _timed(stage_ms, "vision"):
            features = model.encode_vision(vision)  # [tokens, hidden]
        with _timed(stage_ms, "cache"):
            context = self._context or self._begin(vision)
            self._forget(context, chunk.index)
        with _timed(stage_ms, "prefill"):
            prompt = self._open_round(context, chunk.index, vision)
            tokens = context.pending + sum(len(segment.ids) for segment in prompt)
            context.arena.reserve(tokens + config.max_new_tokens)
            context.segments += prompt
            self._context = context
            frames_per_grid_step = -(-len(chunk.frames) // vision.grid[0])
            logits = self._run(context, features, frames_per_grid_step / config.fps)
        with _timed(stage_ms, "cache"):
            context.remember_text()
            context.rebase()
        with _timed(stage_ms, "decode"):
            said = self._decode(context, chunk.index, logits)
        speech = self._protocol.take_apart(said).speech
        text = cast(str, model.tokenizer.decode(speech, skip_special_tokens=True)).strip()
        return ChunkResult(text, tuple(said), tokens, context.cached_tokens, stage_ms)

    def _begin(self, vision: VisionInput) -> CachedContext:
        model = self._model
        capacity = self._capacity(vision.tokens)
        if capacity > model.max_positions:
            raise CacheFullError(
                f"the settings need a KV cache of {capacity} tokens, {model.name} knows only "
                f"{model.max_positions} positions; shorten vision_window_s, text_window_tokens, "
                "max_visual_tokens or full_capacity_tokens"
            )
        arena = KVArena(model.layers, model.kv_heads, model.head_dim, capacity, model.dtype, model.device)
        return CachedContext(arena, model.rotate)

    def _capacity(self, visual_tokens: int) -> int:
        """Most tokens that are ever cached at once, an upper bound from the settings alone."""
        config, protocol = self.config, self._protocol
        if config.policy == "full":
            return config.full_capacity_tokens
        head = sum(len(segment.ids) for segment in protocol.head(config, ()))
        far = round(_LONGEST_STREAM_S / config.chunk_s)
        user = protocol.user(far, config.chunk_s, (1, 1, 1), visual_tokens, config.prompt)
        answer = len(protocol.answer_open(0).ids) + config.max_new_tokens
        closing = len(protocol.silence) + len(protocol.take_apart([]).close)
        given = len(protocol.words(config.previous_text))
        text = max(given, config.text_sink_tokens + config.text_window_tokens)
        return head + text + (config.window_chunks + 1) * (len(user.ids) + answer + closing)

    def _forget(self, context: CachedContext, chunk: int) -> None:
        """Carry out the policy before a chunk."""
        if not context.segments:
            return
        retention = self._policy(context.segments, chunk, self._limits)
        newest = max(segment.chunk for segment in context.segments)
        if any(context.segments[i].chunk == newest for i in retention.move):
            # A window of one chunk: the end of what was said has not been run through the model yet.
            context.arena.reserve(context.pending)
            self._run(context, None, 0.0)
            context.remember_text()
        elif any(context.segments[i].chunk == newest for i in retention.evict):
            context.drop_pending()
        context.retain(retention)

    def _open_round(self, context: CachedContext, chunk: int, vision: VisionInput) -> list[Segment]:
        """The chunk's new segments, the head before them if this is the first chunk."""
        config, protocol = self.config, self._protocol
        head = [] if context.segments else protocol.head(config, protocol.words(config.previous_text))
        query = config.prompt if head and not protocol.query_in_head else ""
        user = protocol.user(chunk, config.chunk_s, vision.grid, vision.tokens, query)
        return [*head, user, protocol.answer_open(chunk)]

    def _run(self, context: CachedContext, features: Tensor | None, seconds_per_grid_step: float) -> Tensor:
        """Run the model on everything pending; returns the last position's logits, float32 [vocabulary]."""
        model = self._model
        pending = _tail(context.segments, context.pending)
        positions, next_position = place(
            pending,
            context.next_position,
            lambda grid, base: model.vision_positions(grid, base, seconds_per_grid_step),
        )  # [3, L]
        ids = torch.tensor([i for segment in pending for i in segment.ids], device=model.device)
        embeds = model.embed(ids)  # [L, hidden]
        offset = 0
        for segment in pending:  # by place, not by id: a model may say the video pad, too
            if segment.vision is not None and features is not None:
                start = offset + segment.vision.start
                embeds[start : start + segment.vision.tokens] = features
            offset += len(segment.ids)
        logits = model.forward(embeds[None], positions[:, None].to(model.device), context.arena)
        context.extend(positions, next_position)
        return logits[0]

    def _decode(self, context: CachedContext, chunk: int, logits: Tensor) -> list[int]:
        """Generate until the end of the turn or the token limit; the turn is left closed, its end pending."""
        model, config = self._model, self.config
        ends = model.eos_token_ids | {self._protocol.end_of_turn}
        penalised = torch.tensor(context.ids, device=model.device)
        speech = Segment(Role.SPEECH, chunk, [])
        context.segments.append(speech)
        said: list[int] = []
        while True:
            token = self._choose(logits, penalised)
            said.append(token)
            if token in ends or len(said) == config.max_new_tokens:
                break
            speech.ids.append(token)
            logits = self._run(context, None, 0.0)
            penalised = torch.cat([penalised, penalised.new_tensor([token])])
        answer = self._protocol.take_apart([i for i in said if i not in ends])
        speech.ids = answer.speech
        context.segments.append(Segment(Role.ANSWER_CLOSE, chunk, answer.close))
        return said


def _tail(segments: list[Segment], tokens: int) -> list[Segment]:
    """The last `tokens` tokens of the segments; the first segment may be cut, behind its vision only."""
    tail: list[Segment] = []
    for segment in reversed(segments):
        if tokens == 0:
            break
        whole = tokens >= len(segment.ids)
        tail.append(segment if whole else replace(segment, ids=segment.ids[-tokens:], vision=None))
        tokens -= min(tokens, len(segment.ids))
    return tail[::-1]


@contextmanager
def _timed(stage_ms: dict[str, float], stage: str) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    stage_ms[stage] = stage_ms.get(stage, 0.0) + (time.perf_counter() - begin) * 1e3
