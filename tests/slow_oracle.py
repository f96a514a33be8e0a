"""The streaming cache, done slowly: un-rotated keys of every retained token, all rotated at every forward.

Written apart from svlm_core.cache and .stream: positions, retention, rotation and attention are spelled out
here in plain loops and float64 angles. Only weights, vision tower and the rendering of strings are shared.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from svlm_core.config import StreamConfig
from svlm_core.model.adapter import StreamModel, VisionInput
from svlm_core.stream.protocol import Protocol


@dataclass
class Token:
    """One token; `cell` is its (row, column) in a vision block, `last` whether the block ends with it."""

    id: int
    cell: tuple[int, int] | None = None
    last: bool = False
    feature: Tensor | None = None
    keys: list[Tensor] = field(default_factory=list)  # per layer, un-rotated [kv_heads, head_dim]
    values: list[Tensor] = field(default_factory=list)


@dataclass
class Round:
    chunk: int
    user: list[Token]
    opened: list[Token]
    speech: list[Token] = field(default_factory=list)
    close: list[Token] = field(default_factory=list)

    def tokens(self) -> list[Token]:
        return self.user + self.opened + self.speech + self.close


class SlowOracle:
    """Holds the retained tokens as lists and computes everything anew."""

    def __init__(self, model: StreamModel, config: StreamConfig) -> None:
        self.model, self.config = model, config
        self.protocol = Protocol.from_config(config, model.tokenizer)
        self.before: list[Token] = []
        self.previous: list[Token] = []
        self.after: list[Token] = []
        self.rounds: list[Round] = []
        self.evicted = False

    @torch.no_grad()
    def step(self, chunk: int, vision: VisionInput, said: list[int]) -> list[Tensor]:
        """Logits [vocabulary] from which each token of `said` was to be chosen."""
        if not self.rounds and not self.before:
            self._begin()
        else:
            self._forget(chunk)
        grid = vision.grid
        user = [Token(i) for i in self.protocol.user(chunk, self.config.chunk_s, grid, vision.tokens).ids]
        pads = [token for token in user if token.id == self.model.video_token_id]
        columns = grid[2] // vision.merge
        for n, (token, feature) in enumerate(zip(pads, self.model.encode_vision(vision), strict=True)):
            token.cell, token.feature = divmod(n, columns), feature
        pads[-1].last = True
        opened = [Token(i) for i in self.protocol.answer_open(chunk).ids]
        self.rounds.append(Round(chunk, user, opened))
        logits = [self._forward()]
        answer = self.protocol.take_apart(said)
        for token_id in said[:-1]:
            self.rounds[-1].speech.append(Token(token_id))
            logits.append(self._forward())
        # What was generated last, and the end of the turn, go through the model with the next chunk.
        body = self.rounds[-1].speech
        wanted = answer.speech + answer.close
        body += [Token(i) for i in wanted[len(body) :]]
        self.rounds[-1].speech, self.rounds[-1].close = body[: len(answer.speech)], body[len(answer.speech) :]
        return logits

    def tokens(self) -> list[Token]:
        return self.before + self.previous + self.after + [t for r in self.rounds for t in r.tokens()]

    def positions(self) -> list[tuple[float, float, float]]:
        """(t, h, w) of every token, contiguous from 0."""
        places: list[tuple[float, float, float]] = []
        p, block_max = 0.0, 0.0
        for token in self.tokens():
            if token.cell is None:
                places.append((p, p, p))
                p += 1
                continue
            row, column = token.cell
            places.append((p, p + row, p + column))
            block_max = max(block_max, p, p + row, p + column)
            if token.last:
                p = block_max + 1
        return places

    def _begin(self) -> None:
        head = self.protocol.head(self.config, self.protocol.words(self.config.previous_text))
        system, opened, previous, *after = [[Token(i) for i in segment.ids] for segment in head]
        self.before, self.previous = system + opened, previous
        self.after = [token for tokens in after for token in tokens]

    def _forget(self, chunk: int) -> None:
        config = self.config
        window = int(config.vision_window_s / config.chunk_s + 1e-6)
        if config.policy == "last-frames" or (config.policy == "window" and len(self.rounds) >= window):
            self.evicted |= bool(self.rounds)
            self.rounds = []
        elif config.policy == "streaming":
            if len(self.rounds) and any(not t.keys for t in self.rounds[-1].speech) and window == 1:
                self._forward()
            while self.rounds and self.rounds[0].chunk <= chunk - window:
                self.previous += self.rounds.pop(0).speech
                self.evicted = True
            sink, keep = config.text_sink_tokens, config.text_window_tokens
            excess = len(self.previous) - sink - keep
            if excess > 0:
                del self.previous[sink : sink + excess]
                self.evicted = True

    def _forward(self) -> Tensor:
        """Run every token that has no keys yet; logits of the last, float32."""
        everything = self.tokens()
        new = [i for i, token in enumerate(everything) if not token.keys]
        decoder: Any = self.model.hf.model.language_model
        positions = torch.tensor(self.positions(), dtype=torch.float64)  # [N, 3]
        cos, sin = self._angles(positions)  # [N, head_dim]
        x = torch.stack(
            [
                decoder.embed_tokens.weight[t.id].float() if t.feature is None else t.feature.float()
                for t in (everything[i] for i in new)
            ]
        )  # [M, hidden]
        for layer in decoder.layers:
            attention = layer.self_attn
            h = self._norm(x, layer.input_layernorm)
            heads = attention.config.num_attention_heads
            groups = heads // self.model.kv_heads
            q = self._linear(h, attention.q_proj).view(len(new), heads, -1)
            k = self._linear(h, attention.k_proj).view(len(new), self.model.kv_heads, -1)
            v = self._linear(h, attention.v_proj).view(len(new), self.model.kv_heads, -1)
            for n, i in enumerate(new):
                everything[i].keys.append(k[n])
                everything[i].values.append(v[n])
            at = len(everything[new[0]].keys) - 1
            seen = [t for t in everything if len(t.keys) > at]
            keys = self._turn(torch.stack([t.keys[at] for t in seen]), cos, sin)  # [N, kv_heads, head_dim]
            values = torch.stack([t.values[at] for t in seen])
            queries = self._turn(q, cos[new], sin[new])  # [M, heads, head_dim]
            scores = torch.einsum("mhd,nhd->hmn", queries, keys.repeat_interleave(groups, 1))
            scores = scores / queries.shape[-1] ** 0.5
            mask = torch.arange(len(everything)) <= torch.tensor(new)[:, None]  # [M, N]
            weights = scores.masked_fill(~mask, float("-inf")).softmax(-1)
            mixed = torch.einsum("hmn,nhd->mhd", weights, values.repeat_interleave(groups, 1))
            x = x + self._linear(mixed.reshape(len(new), -1), attention.o_proj)
            h = self._norm(x, layer.post_attention_layernorm)
            gate = torch.nn.functional.silu(self._linear(h, layer.mlp.gate_proj))
            x = x + self._linear(gate * self._linear(h, layer.mlp.up_proj), layer.mlp.down_proj)
        hf: Any = self.model.hf
        return self._linear(self._norm(x[-1:], decoder.norm), hf.lm_head)[0]

    def _angles(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """cos, sin [N, head_dim]: frequency f belongs to the axis whose section it falls into."""
        rope = self.model.hf.config.get_text_config().rope_parameters
        half = self.model.head_dim // 2
        frequencies = rope["rope_theta"] ** (-torch.arange(half, dtype=torch.float64) / half)
        axis = [a for a, size in enumerate(rope["mrope_section"]) for _ in range(size)]
        angles = positions[:, axis] * frequencies  # [N, half]
        both = torch.cat([angles, angles], dim=1)
        return both.cos().float(), both.sin().float()

    @staticmethod
    def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Rotate [N, heads, head_dim]."""
        first, second = x.chunk(2, dim=-1)
        return x * cos[:, None] + torch.cat([-second, first], dim=-1) * sin[:, None]

    @staticmethod
    def _linear(x: Tensor, module: Any) -> Tensor:
        out = x @ module.weight.float().T
        return out if module.bias is None else out + module.bias.float()

    @staticmethod
    def _norm(x: Tensor, module: Any) -> Tensor:
        return (
            x
            * torch.rsqrt(x.square().mean(-1, keepdim=True) + module.variance_epsilon)
            * module.weight.float()
        )
