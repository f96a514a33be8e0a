"""The Qwen2-VL and Qwen2.5-VL adapter, against the golden trace and transformers itself."""

from pathlib import Path

import golden
import numpy as np
import pytest
import torch
from random_qwen import write_random_qwen
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from svlm_core.model.adapter import StreamModel
from svlm_core.model.load import load_model


def sequence(
    model: StreamModel, grid: tuple[int, int, int], step_s: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Three text tokens, a visual block and two text tokens: ids [L] and positions [3, L]."""
    vision = model.vision_positions(grid, 3.0, step_s)
    behind = 3 + model.vision_extent(grid, step_s) + torch.arange(2)
    positions = torch.cat([torch.arange(3.0).expand(3, 3), vision, behind.expand(3, 2)], dim=1)
    ids = torch.tensor([1, 2, 3, *[model.video_token_id] * vision.shape[1], 4, 5])
    return ids, positions


def test_vision_tokens_are_the_references(golden_model: StreamModel, golden_t3: golden.Trace) -> None:
    with torch.inference_mode():
        tokens = golden_model.encode_vision(golden_model.preprocess(golden.frames(0), 100, 768))
    np.testing.assert_allclose(tokens.numpy(), golden_t3.vision0, atol=2e-5)


def test_logits_are_the_references(golden_model: StreamModel, golden_t3: golden.Trace) -> None:
    chunk = golden_t3.chunks[0]
    ids = torch.from_numpy(np.concatenate([chunk.ids, chunk.new[:4]]))
    visual = ids == golden_model.video_token_id
    with torch.inference_mode():
        embeds = golden_model.embed(ids)
        embeds[visual] = golden_model.encode_vision(golden_model.preprocess(golden.frames(0), 100, 768))
        hidden = golden_model.hidden(embeds[None], torch.from_numpy(chunk.pos)[:, None])
        logits = golden_model.head(hidden[0, len(chunk.ids) - 1 :])
    assert logits.dtype == torch.float32
    np.testing.assert_allclose(logits[:, :: golden.LOGITS_STEP].numpy(), chunk.raw, atol=2e-4)
    np.testing.assert_allclose(
        logits.gather(1, torch.from_numpy(chunk.top_i)).numpy(), chunk.top_v, atol=2e-4
    )
    np.testing.assert_allclose(logits.logsumexp(-1).numpy(), chunk.lse, atol=2e-4)


def test_vision_positions_are_the_references(golden_model: StreamModel, golden_t3: golden.Trace) -> None:
    chunk = golden_t3.chunks[0]
    visual = np.flatnonzero(chunk.ids == golden_model.video_token_id)
    base = chunk.pos[0, visual[0] - 1] + 1
    positions = golden_model.vision_positions((1, 20, 20), base, 1.0)
    np.testing.assert_array_equal(positions.numpy(), chunk.pos[:, visual])
    assert chunk.pos[0, visual[-1] + 1] == base + golden_model.vision_extent((1, 20, 20), 1.0)


@pytest.mark.parametrize("grid", [(1, 6, 6), (2, 4, 8), (3, 8, 4)])
def test_positions_are_transformers_own(random_model: StreamModel, grid: tuple[int, int, int]) -> None:
    step_s = 0.5  # one position for Qwen2.5-VL at two tokens per second; Qwen2-VL counts without a clock
    ids, positions = sequence(random_model, grid, step_s)
    kinds = torch.where(ids == random_model.video_token_id, 2, 0)
    expected, _ = random_model.hf.model.get_rope_index(
        ids[None], kinds[None], video_grid_thw=torch.tensor([grid]), second_per_grid_ts=torch.tensor([step_s])
    )
    torch.testing.assert_close(positions.long(), expected[:, 0])


def test_a_long_block_advances_by_its_time_and_keeps_fractions(random_checkpoints: dict[str, Path]) -> None:
    timed = load_model(str(random_checkpoints["qwen2_5_vl"]))
    assert timed.vision_positions((3, 2, 2), 10.0, 0.4)[0].tolist() == pytest.approx([10.0, 10.8, 11.6])
    assert timed.vision_extent((3, 2, 2), 0.4) == pytest.approx(2.6)
    assert timed.vision_extent((3, 8, 2), 0.4) == 4
    counted = load_model(str(random_checkpoints["qwen2_vl"]))
    assert counted.vision_positions((3, 2, 2), 10.0, 0.4)[0].tolist() == [10, 11, 12]
    assert counted.vision_extent((3, 2, 2), 0.4) == 3


def test_chunks_of_one_size_can_be_encoded_together(random_model: StreamModel) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (4, 112, 84, 3), dtype=np.uint8)
    with torch.inference_mode():
        together = random_model.encode_vision(random_model.preprocess(rgb, 1, 12))
        single = [random_model.encode_vision(random_model.preprocess(rgb[i : i + 2], 1, 12)) for i in (0, 2)]
    assert together.shape == (24, random_model.hidden_size)
    torch.testing.assert_close(together, torch.cat(single), rtol=0, atol=1e-6)


def test_forward_with_a_cache_gives_the_last_positions_logits(random_model: StreamModel) -> None:
    ids, positions = sequence(random_model, (1, 6, 6), 0.5)
    cache = DynamicCache(config=random_model.hf.config)
    with torch.inference_mode():
        embeds = random_model.embed(ids)[None]
        whole = random_model.head(random_model.hidden(embeds, positions[:, None]))
        random_model.forward(embeds[:, :-2], positions[:, None, :-2], cache)
        last = random_model.forward(embeds[:, -2:], positions[:, None, -2:], cache)
    assert last.shape == (1, random_model.vocab_size)
    assert cache.get_seq_length() == len(ids)
    torch.testing.assert_close(last, whole[:, -1], rtol=0, atol=1e-5)


def cached_keys(model: StreamModel, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    cache = DynamicCache(config=model.hf.config)
    with torch.inference_mode():
        model.hidden(model.embed(ids)[None], positions[:, None], cache)
    layer = cache.layers[0]
    assert isinstance(layer, DynamicLayer)
    assert layer.keys is not None
    return layer.keys[0]


def assert_rotates_like_attention(model: StreamModel) -> None:
    ids, positions = sequence(model, (2, 4, 6), 0.7)
    generator = torch.Generator().manual_seed(0)
    moved = positions * 3 + torch.randint(0, 500, positions.shape, generator=generator)
    keys = cached_keys(model, ids, positions)
    bare = model.rotate(keys, positions, inverse=True)
    torch.testing.assert_close(model.rotate(bare, positions), keys, rtol=0, atol=1e-5)
    torch.testing.assert_close(model.rotate(bare, moved), cached_keys(model, ids, moved), rtol=0, atol=2e-5)
    assert (keys - cached_keys(model, ids, moved)).abs().max() > 0.01  # the two places do differ


def test_rotate_is_what_attention_does_to_keys(random_model: StreamModel) -> None:
    assert_rotates_like_attention(random_model)


def test_rotate_undoes_a_rope_type_that_also_scales(tmp_path: Path) -> None:
    yarn = {
        "rope_type": "yarn",
        "rope_theta": 10000.0,
        "factor": 8.0,
        "original_max_position_embeddings": 512,
    }
    write_random_qwen(tmp_path / "yarn", rope_parameters={**yarn, "mrope_section": [2, 3, 3]})
    assert_rotates_like_attention(load_model(str(tmp_path / "yarn")))


def test_rotating_bfloat16_keys_leaves_the_rounding_to_the_caller(random_model: StreamModel) -> None:
    keys = torch.randn(1, 5, random_model.head_dim, generator=torch.Generator().manual_seed(0)).bfloat16()
    positions = torch.arange(5).expand(3, 5)
    rotated = random_model.rotate(keys, positions)
    assert rotated.dtype == torch.float32
    torch.testing.assert_close(
        random_model.rotate(rotated, positions, inverse=True), keys.float(), rtol=0, atol=1e-6
    )


def test_gradients_reach_the_vision_tower_after_streaming(random_model: StreamModel) -> None:
    vision = random_model.preprocess(np.zeros((2, 56, 56, 3), np.uint8), 1, 4)
    with torch.inference_mode():
        random_model.encode_vision(vision)
    embeds = random_model.encode_vision(vision)[None]
    random_model.head(random_model.hidden(embeds, torch.zeros(3, 1, 4))).sum().backward()
    assert all(p.grad is not None for p in random_model.hf.model.visual.parameters())


def test_says_what_a_session_must_know(random_model: StreamModel) -> None:
    tokenizer = random_model.tokenizer
    assert (random_model.layers, random_model.kv_heads, random_model.head_dim) == (2, 1, 16)
    assert (random_model.max_positions, random_model.vocab_size, random_model.hidden_size) == (4096, 272, 32)
    assert random_model.video_token_id == tokenizer.convert_tokens_to_ids("<|video_pad|>")
    assert random_model.eos_token_ids == {tokenizer.convert_tokens_to_ids("<|im_end|>")}
    assert (random_model.dtype, random_model.device.type) == (torch.float32, "cpu")
    assert not random_model.hf.training
