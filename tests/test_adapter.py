"""A speaker adapter: what is written is read and added, and what does not belong is refused in one line."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from omnisync_core.adapter import apply_adapter, read_adapter, write_adapter
from omnisync_core.checkpoint import read_bundle, write_bundle
from omnisync_core.engines.omnisync import load_engine
from omnisync_core.errors import CheckpointError
from tests import tiny

LAYER, PARAMETER = "blocks.0.self_attention.q", "outer.conv.bias"


@pytest.fixture
def path(tmp_path):
    torch.manual_seed(1)
    weight = tiny.networks()["dit"].get_submodule(LAYER).weight
    pair = torch.randn(2, weight.shape[1]), torch.randn(weight.shape[0], 2)
    bias = tiny.networks()["vae"].decoder.get_parameter(PARAMETER)
    write_adapter(tmp_path / "a.safetensors", {LAYER: pair}, {PARAMETER: torch.ones_like(bias)}, {"base": "tiny"})
    return tmp_path / "a.safetensors"


def test_what_was_learned_is_added(path):
    networks, before = tiny.networks(), tiny.networks()
    adapter = read_adapter(path)
    apply_adapter(adapter, networks, "tiny")
    inner, outer = adapter.transformer()[LAYER]
    added = networks["dit"].get_submodule(LAYER).weight - before["dit"].get_submodule(LAYER).weight
    torch.testing.assert_close(added, outer @ inner)
    moved = networks["vae"].decoder.get_parameter(PARAMETER) - before["vae"].decoder.get_parameter(PARAMETER)
    torch.testing.assert_close(moved, torch.ones_like(moved))
    same = "blocks.1.self_attention.q"
    assert torch.equal(networks["dit"].get_submodule(same).weight, before["dit"].get_submodule(same).weight)


def test_an_engine_with_an_adapter_is_another_engine(tmp_path, path):
    bundle = tmp_path / "tiny.safetensors"
    digest = write_bundle(bundle, tiny.networks(), tiny.CONFIG, dtype=torch.float32)
    adapter = read_adapter(path)
    write_adapter(path, adapter.transformer(), adapter.decoder(), {"base": digest})
    plain, adapted = (load_engine(bundle, adapter=which, device="cpu") for which in (None, path))
    assert plain.fingerprint["model"] == digest
    assert adapted.fingerprint["model"] == f"{digest}+{read_adapter(path).digest}"


def test_an_adapter_of_another_base_is_refused(path):
    with pytest.raises(CheckpointError, match="was learned with the model tiny, this is other"):
        apply_adapter(read_adapter(path), tiny.networks(), "other")


def test_a_layer_that_the_model_does_not_have_is_refused(tmp_path):
    pair = torch.zeros(2, 3), torch.zeros(4, 2)
    write_adapter(tmp_path / "a.safetensors", {"blocks.9.ffn.0": pair}, {}, {"base": "tiny"})
    with pytest.raises(CheckpointError, match=r"blocks\.9\.ffn\.0 is of shape \(4, 3\), the model does not have it"):
        apply_adapter(read_adapter(tmp_path / "a.safetensors"), tiny.networks(), "tiny")


def test_a_bundle_is_no_adapter(tmp_path):
    write_bundle(tmp_path / "tiny.safetensors", tiny.networks(), tiny.CONFIG)
    with pytest.raises(CheckpointError, match="is no speaker adapter"):
        read_adapter(tmp_path / "tiny.safetensors")
    read_bundle(tmp_path / "tiny.safetensors")


def test_a_changed_file_is_refused(path):
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    save_file({key: value + 1 for key, value in tensors.items()}, path, metadata)
    with pytest.raises(CheckpointError, match="was changed or damaged"):
        read_adapter(path)


@pytest.mark.parametrize("content", [b"", b"no safetensors at all", b"\xff" * 64])
def test_a_damaged_file_is_one_line(tmp_path, content):
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        read_adapter(tmp_path / "a.safetensors")
    assert "\n" not in str(caught.value)


def test_half_a_pair_and_strange_keys_are_refused(tmp_path):
    import json

    from omnisync_core.checkpoint import tensor_digest

    for key in ("diffusion_model.blocks.0.ffn.0.lora_A.weight", "os.system", "vae.encoder.x.diff"):
        tensors = {key: torch.zeros(2, 3)}
        header = {"omnisync.adapter": json.dumps({"base": "tiny"}), "omnisync.digest": tensor_digest(tensors)}
        save_file(tensors, tmp_path / "a.safetensors", header)
        with pytest.raises(CheckpointError, match="which no speaker adapter does"):
            read_adapter(tmp_path / "a.safetensors")
