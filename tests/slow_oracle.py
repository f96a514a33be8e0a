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

"""The streaming cache, done slowly: un-rotated keys of every retained token, all rotated at every forward.

Written apart from svlm_core.cache, .stream and .model.decoder: positions, retention, rotation, attention and
layers are spelled out here in plain loops and float64 angles, for every family. Only weights, vision tower
and the rendering of strings are shared.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from svlm_core.config import StreamConfig
from svlm_core.model.adapter import StreamModel, VisionInput
from svlm_core.stream.protocol import Protocol
import torch
from torch import Tensor

Place = tuple[float, float, float]


@dataclass
class Token:
    """One token.

    Attributes:
        id: its id.
        cell: its (time, row, column) in a vision block, time already in positions; None for text.
        number: which one it is in its vision block.
        last: whether its vision block ends with it.
        features: its embedding, if it is visual, and what is added to it behind layer 0, 1, ...
        keys: of each layer, un-rotated [kv_heads, head_dim].
        values: of each layer.
        place: where it was put when the model first saw it.
    """

    id: int
    cell: Place | None = None
    number: int = 0
    last: bool = False
    features: list[Tensor] = field(default_factory=list)
    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    place: Place | None = None


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
        self.protocol = Protocol.from_config(config, model.tokenizer, model.dialect)
        self.family: str = model.hf.config.model_type
        self.given = self.protocol.words(config.previous_text)
        self.before: list[Token] = []
        self.previous: list[Token] = []
        self.after: list[Token] = []
        self.rounds: list[Round] = []
        self.evicted = False
        self.following = 0.0  # native positions: where the next token is put

    def anew(self, config: StreamConfig) -> SlowOracle:
        """An oracle that has seen nothing and goes on from what is remembered of what was said."""
        other = SlowOracle(self.model, config)
        if self.before:
            text = [t.id for t in self.previous + [t for r in self.rounds for t in r.speech]]
            sink, keep = config.text_sink_tokens, config.text_window_tokens
            if config.policy != "full" and len(text) > sink + keep:
                text = text[:sink] + text[len(text) - keep :]
            other.given = text
        return other

    @torch.no_grad()
    def step(self, chunk: int, vision: VisionInput, said: list[int], query: str = "") -> list[Tensor]:
        """Logits [vocabulary] from which each token of `said` was to be chosen."""
        if not self.rounds and not self.before:
            self._begin()
        else:
            self._forget(chunk)
        user = self._user(chunk, vision, query)
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

    def positions(self) -> list[Place]:
        """(t, h, w) of every token: contiguous from 0; where each was first put, if positions are native."""
        tokens = self.tokens()
        if self.config.policy != "native-positions":
            return self._lay_out(tokens, 0.0)[0]
        new = iter(self._lay_out([token for token in tokens if token.place is None], self.following)[0])
        return [token.place or next(new) for token in tokens]

    def _lay_out(self, tokens: list[Token], p: float) -> tuple[list[Place], float]:
        """Places of tokens one behind the other from p on, and where the next one goes."""
        places: list[Place] = []
        block_max = p
        for token in tokens:
            if token.cell is None:
                places.append((p, p, p))
                p += 1
                continue
            if self.family == "smolvlm":
                places.append((p + token.number,) * 3)
            else:
                time, row, column = token.cell
                places.append((p + time, p + row, p + column))
            block_max = max(block_max, *places[-1])
            if token.last:
                p = block_max + 1
        return places, p

    def _user(self, chunk: int, vision: VisionInput, query: str) -> list[Token]:
        """The user's turn, its visual tokens with cells and features."""
        steps, rows, columns = vision.grid[0], vision.grid[1] // vision.merge, vision.grid[2] // vision.merge
        blocks = steps if self.family in ("qwen3_vl", "smolvlm") else 1
        time_step = 1.0
        if self.family == "qwen2_5_vl":
            frames_per_step = self.model.hf.config.vision_config.temporal_patch_size
            rate = self.model.hf.config.vision_config.tokens_per_second
            time_step = frames_per_step / self.config.fps * rate
        segments = self.protocol.user(chunk, self.config.chunk_s, vision.grid, vision.tokens, query)
        user = [Token(i) for segment in segments for i in segment.ids]
        visual = [token for token in user if token.id == self.model.video_token_id]
        of_block = steps // blocks * rows * columns
        features = self.model.encode_vision(vision).float()  # [tokens, hidden, and more of it]
        for n, (token, feature) in enumerate(zip(visual, features, strict=True)):
            token.number = n % of_block
            time, cell = divmod(token.number, rows * columns)
            token.cell = (time * time_step, *divmod(cell, columns))
            token.last = token.number == of_block - 1
            token.features = list(feature.split(self.model.hidden_size))
        return user

    def _begin(self) -> None:
        head = self.protocol.head(self.config, self.given)
        system, opened, previous, *after = [[Token(i) for i in segment.ids] for segment in head]
        self.before, self.previous = system + opened, previous
        self.after = [token for tokens in after for token in tokens]

    def _forget(self, chunk: int) -> None:
        config = self.config
        window = int(config.vision_window_s / config.chunk_s + 1e-6)
        if config.policy == "last-frames" or (config.policy == "window" and len(self.rounds) >= window):
            self.evicted |= bool(self.rounds)
            self.rounds = []
        elif config.policy == "window-recompute":
            kept = [r for r in self.rounds if r.chunk > chunk - window]
            self.evicted |= len(kept) < len(self.rounds)
            self.rounds = kept
            for token in self.tokens():
                token.keys, token.values = [], []
        elif config.policy in ("streaming", "native-positions"):
            newest = self.rounds[-1]
            if newest.chunk <= chunk - window and newest.speech:
                self._forward()  # the end of what was said has no keys yet, and gets them where it was said
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
        hf: Any = self.model.hf
        decoder = hf.model.text_model if self.family == "smolvlm" else hf.model.language_model
        places = self.positions()
        if self.config.policy == "native-positions":
            self.following = self._lay_out([everything[i] for i in new], self.following)[1]
            for i in new:
                everything[i].place = places[i]
        cos, sin = self._angles(torch.tensor(places, dtype=torch.float64))  # [N, head_dim]
        x = torch.stack(
            [
                t.features[0] if t.features else decoder.embed_tokens.weight[t.id].float()
                for t in (everything[i] for i in new)
            ]
        )  # [M, hidden]
        for depth, layer in enumerate(decoder.layers):
            attention = layer.self_attn
            h = self._norm(x, layer.input_layernorm)
            heads = attention.config.num_attention_heads
            groups = heads // self.model.kv_heads
            q = self._linear(h, attention.q_proj).view(len(new), heads, -1)
            k = self._linear(h, attention.k_proj).view(len(new), self.model.kv_heads, -1)
            v = self._linear(h, attention.v_proj).view(len(new), self.model.kv_heads, -1)
            if self.family == "qwen3_vl":
                q, k = self._norm(q, attention.q_norm), self._norm(k, attention.k_norm)
            for n, i in enumerate(new):
                everything[i].keys.append(k[n])
                everything[i].values.append(v[n])
            seen = [t for t in everything if len(t.keys) > depth]
            keys = self._turn(torch.stack([t.keys[depth] for t in seen]), cos, sin)  # [N, kv_heads, head_dim]
            values = torch.stack([t.values[depth] for t in seen])
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
            for n, i in enumerate(new):
                if depth + 1 < len(everything[i].features):  # DeepStack: behind layer d, the features d + 1
                    x[n] += everything[i].features[depth + 1]
        return self._linear(self._norm(x[-1:], decoder.norm), hf.lm_head)[0]

    def _angles(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """cos, sin [N, head_dim]: each frequency turns with one of the three axes of positions [N, 3]."""
        rope = self.model.hf.config.get_text_config().rope_parameters
        half = self.model.head_dim // 2
        frequencies = rope["rope_theta"] ** (-torch.arange(half, dtype=torch.float64) / half)
        axis = [0] * half  # one-dimensional positions are the same on all axes
        if self.family in ("qwen2_vl", "qwen2_5_vl"):  # one section of frequencies for each axis
            axis = [a for a, size in enumerate(rope["mrope_section"]) for _ in range(size)]
        elif self.family == "qwen3_vl":  # t h w t h w ..., and t where h and w have had their share
            for a in (1, 2):
                for n in range(rope["mrope_section"][a]):
                    axis[3 * n + a] = a
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
