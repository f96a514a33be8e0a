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

"""Loading checkpoints, whole and damaged."""

from collections.abc import Callable
import json
from pathlib import Path
import shutil
from typing import Any

import pytest
from random_models import write_random_model
from safetensors.torch import load_file, save_file
from svlm_core.errors import ConfigError, ModelError
from svlm_core.model.load import load_model
import torch

WEIGHTS = "model.safetensors"


@pytest.fixture
def checkpoint(random_checkpoints: dict[str, Path], tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(random_checkpoints["qwen2_5_vl"], tmp_path / "checkpoint"))


def edit_json(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def assert_refused(name: object, *parts: str, **options: Any) -> None:
    """Loading fails with one line that holds all parts."""
    with pytest.raises(ModelError) as caught:
        load_model(str(name), **options)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_weights_load_in_the_dtype_asked_for(checkpoint: Path) -> None:
    stored = load_file(checkpoint / WEIGHTS)
    model = load_model(str(checkpoint), dtype="bfloat16")
    assert model.dtype == torch.bfloat16
    assert model.name == str(checkpoint)
    name = next(name for name in stored if name.endswith("embed_tokens.weight"))
    torch.testing.assert_close(model.hf.get_input_embeddings().weight, stored[name].bfloat16())


def test_tensor_names_of_older_checkpoints_are_understood(checkpoint: Path) -> None:
    def rename(tensors: dict[str, torch.Tensor]) -> None:
        for name in list(tensors):
            old = name.replace("model.language_model.", "model.").replace("model.visual.", "visual.")
            tensors[old] = tensors.pop(name)

    new = load_model(str(checkpoint)).hf.state_dict()
    edit_weights(checkpoint, rename)
    assert "visual.patch_embed.proj.weight" in load_file(checkpoint / WEIGHTS)
    old = load_model(str(checkpoint)).hf.state_dict()
    assert new.keys() == old.keys()
    assert all(torch.equal(new[name], old[name]) for name in new)


def test_sharded_weights_load(checkpoint: Path) -> None:
    whole = load_model(str(checkpoint))
    whole.hf.save_pretrained(checkpoint, max_shard_size="60KB")
    (checkpoint / WEIGHTS).unlink(missing_ok=True)
    assert len(list(checkpoint.glob("*.safetensors"))) > 1
    shards = load_model(str(checkpoint)).hf.state_dict()
    assert all(torch.equal(tensor, shards[name]) for name, tensor in whole.hf.state_dict().items())
    next(checkpoint.glob("model-00002-*")).unlink()
    assert_refused(checkpoint, "model-00002-of-", "is missing; copy the weights there or download")


def test_stream_yaml_gives_the_checkpoints_own_settings(checkpoint: Path) -> None:
    assert load_model(str(checkpoint)).stream_defaults == {}
    (checkpoint / "stream.yaml").write_text("fps: 1.0\nprotocol: streamingvlm\n")
    assert load_model(str(checkpoint)).stream_defaults == {"fps": 1.0, "protocol": "streamingvlm"}
    (checkpoint / "stream.yaml").write_text("- fps\n")
    with pytest.raises(ConfigError, match="stream.yaml: must be a mapping"):
        load_model(str(checkpoint))


def test_a_missing_folder_says_where_it_looked(tmp_path: Path) -> None:
    missing = tmp_path / "models" / "mine"
    assert_refused(missing, f"no such folder (looked for {missing})", "a hub id of the form org/name")


def test_a_hub_id_that_cannot_be_had_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert_refused(
        "no-such-org/no-such-model", "no such folder", "the Hugging Face hub did not give it either ("
    )


def test_a_file_is_not_a_folder(checkpoint: Path) -> None:
    assert_refused(checkpoint / WEIGHTS, "is a file; name the folder that holds config.json")


def test_a_folder_without_config_is_not_a_checkpoint(tmp_path: Path) -> None:
    assert_refused(tmp_path, f"{tmp_path}: has no config.json")


def test_broken_config_json_is_named(checkpoint: Path) -> None:
    (checkpoint / "config.json").write_text('{"model_type": ')
    assert_refused(checkpoint, "config.json: not valid JSON (Expecting value: line 1")


def test_a_config_value_of_the_wrong_type_is_one_line(checkpoint: Path) -> None:
    edit_json(checkpoint / "config.json", lambda config: config["text_config"].update(hidden_size="wide"))
    assert_refused(checkpoint, "config.json: does not describe a model (", "hidden_size")


def test_config_sizes_that_do_not_fit_together_are_one_line(checkpoint: Path) -> None:
    edit_json(checkpoint / "config.json", lambda config: config["text_config"].update(num_attention_heads=5))
    assert_refused(checkpoint, "config.json does not describe a model (", "hidden_size must be divisible by")


def test_pickled_weights_are_refused(checkpoint: Path) -> None:
    (checkpoint / WEIGHTS).rename(checkpoint / "pytorch_model.bin")
    assert_refused(
        checkpoint, f"{WEIGHTS} is missing; pytorch_model.bin is a pickle", "convert it to safetensors"
    )


def test_missing_weights_are_named(checkpoint: Path) -> None:
    (checkpoint / WEIGHTS).unlink()
    assert_refused(checkpoint, f"{WEIGHTS} is missing; copy the weights there")


def test_missing_tensors_are_named_instead_of_made_up(checkpoint: Path) -> None:
    def remove(tensors: dict[str, torch.Tensor]) -> None:
        for name in [name for name in tensors if "mlp.gate_proj" in name and "layers" in name]:
            del tensors[name]

    edit_weights(checkpoint, remove)
    assert_refused(checkpoint, "the weights lack tensor", "layers.0.mlp.gate_proj.weight and 1 more")


def test_an_untied_head_may_not_be_missing(checkpoint: Path) -> None:
    edit_json(checkpoint / "config.json", lambda config: config.update(tie_word_embeddings=False))
    edit_json(
        checkpoint / "config.json", lambda config: config["text_config"].update(tie_word_embeddings=False)
    )
    assert_refused(checkpoint, "the weights lack tensor lm_head.weight")


def test_a_misshapen_tensor_is_named_with_both_shapes(checkpoint: Path) -> None:
    def crop(tensors: dict[str, torch.Tensor]) -> None:
        name = next(name for name in tensors if name.endswith("layers.1.mlp.down_proj.weight"))
        tensors[name] = tensors[name][:, :7].contiguous()

    edit_weights(checkpoint, crop)
    assert_refused(
        checkpoint, "layers.1.mlp.down_proj.weight has shape [32, 7], config.json makes it [32, 64]"
    )


def test_weights_of_a_dtype_that_is_not_loaded_are_named(checkpoint: Path) -> None:
    def quantise(tensors: dict[str, torch.Tensor]) -> None:
        name = next(name for name in tensors if name.endswith("embed_tokens.weight"))
        tensors[name] = tensors[name].to(torch.int8)

    edit_weights(checkpoint, quantise)
    assert_refused(checkpoint, "embed_tokens.weight is stored as I8; svlm reads F32, BF16, F16")


@pytest.mark.parametrize("kept", [0, 5, 1000, -1])
def test_a_truncated_weight_file_is_reported(checkpoint: Path, kept: int) -> None:
    weights = checkpoint / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:kept])
    assert_refused(checkpoint, f"{weights}: damaged or cut short (")


def test_a_broken_index_is_reported(checkpoint: Path) -> None:
    (checkpoint / f"{WEIGHTS}.index.json").write_text('{"weight_map": {}}')
    assert_refused(checkpoint, "index.json: has no weight_map")


def test_a_missing_tokenizer_is_reported(checkpoint: Path) -> None:
    (checkpoint / "tokenizer.json").unlink()
    assert_refused(checkpoint, f"{checkpoint}: has no tokenizer (tokenizer.json")


def test_a_broken_tokenizer_is_reported(checkpoint: Path) -> None:
    (checkpoint / "tokenizer.json").write_text("{}")
    assert_refused(checkpoint, "the tokenizer cannot be loaded (")


def test_a_tokenizer_of_another_model_is_refused(checkpoint: Path) -> None:
    edit_json(checkpoint / "config.json", lambda config: config.update(video_token_id=7))
    assert_refused(checkpoint, "the tokenizer's <|video_pad|> is 262, config.json's video_token_id is 7")


def test_a_tokenizer_larger_than_the_vocabulary_is_refused(tmp_path: Path) -> None:
    write_random_model(tmp_path / "small", vocab_size=263)
    assert load_model(str(tmp_path / "small")).vocab_size == 263
    edit_json(
        tmp_path / "small" / "tokenizer.json",
        lambda tokenizer: tokenizer["added_tokens"].append(
            {**tokenizer["added_tokens"][-1], "id": 263, "content": "<|extra|>"}
        ),
    )
    assert_refused(tmp_path / "small", "the tokenizer has 264 tokens, the model only 263")


def test_an_unknown_dtype_or_device_is_refused(checkpoint: Path) -> None:
    assert_refused(checkpoint, "dtype must be one of float32", "got 'int4'", dtype="int4")
    assert_refused(checkpoint, "device 'warp' cannot be used here", device="warp")
