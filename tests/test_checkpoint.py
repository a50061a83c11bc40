"""Bundles: what is written is what is read, and everything else is refused in one line."""

import hashlib
import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from omnisync_core.checkpoint import load_strictly, read_bundle, tensor_digest, write_bundle
from omnisync_core.engines.omnisync import build_networks, load_engine
from omnisync_core.errors import CheckpointError, InputError
from tests import tiny


@pytest.fixture
def bundle(tmp_path):
    path = tmp_path / "tiny.safetensors"
    write_bundle(path, tiny.networks(), tiny.CONFIG)
    return path


def refused(path, *words: str) -> None:
    """The bundle is refused by one line that holds these words and the file's name."""
    with pytest.raises(CheckpointError) as caught:
        load_engine(path, device="cpu", dtype="float32")
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    assert all(word in message for word in (path.name, *words)), message
    assert isinstance(caught.value, InputError)


def rewrite(path, change=lambda tensors: None, **metadata):
    """The bundle with other tensors or metadata; its digest fits unless it is given."""
    tensors = load_file(path)
    change(tensors)
    own = {"omnisync.config": json.dumps({"format": 1, **tiny.CONFIG}), "omnisync.digest": tensor_digest(tensors)}
    save_file(tensors, path, {key: value for key, value in (own | metadata).items() if value is not None})


def test_round_trip(bundle):
    found = read_bundle(bundle)
    assert {key: found.config[key] for key in tiny.CONFIG} == json.loads(json.dumps(tiny.CONFIG))
    for part, module in build_networks(found).items():
        original = tiny.networks()[part].state_dict()
        for name, value in module.state_dict().items():
            assert value.dtype == original[name].dtype
            torch.testing.assert_close(value, original[name].half().float(), atol=0, rtol=0)


def test_other_types_are_stored_as_asked(tmp_path):
    path = tmp_path / "exact.safetensors"
    module = nn.BatchNorm1d(3)
    write_bundle(path, {"vae": module}, tiny.CONFIG, dtype=torch.float32)
    found = read_bundle(path).tensors["vae"]
    assert found["weight"].dtype == torch.float32
    assert found["num_batches_tracked"].dtype == torch.int64


def test_the_digest_is_sha256_of_keys_and_bytes(bundle):
    tensors = load_file(bundle)
    sha = hashlib.sha256()
    for key in sorted(tensors):
        sha.update(key.encode() + tensors[key].numpy().tobytes())
    assert read_bundle(bundle).digest == sha.hexdigest() == tensor_digest(dict(reversed(tensors.items())))
    changed = {**tensors, key: tensors[key] + 1}
    assert tensor_digest(changed) != sha.hexdigest()


def test_digest_of_every_type():
    values = [torch.ones(2, dtype=torch.bfloat16), torch.tensor(3), torch.zeros(0), torch.tensor(True)]
    assert len(tensor_digest({str(index): value for index, value in enumerate(values)})) == 64
    turned = torch.arange(6.0).reshape(2, 3).T
    assert tensor_digest({"a": turned}) == tensor_digest({"a": turned.contiguous()})


def test_writing_leaves_nothing_beside_and_replaces(bundle):
    first = read_bundle(bundle).digest
    second = write_bundle(bundle, tiny.networks(seed=1), tiny.CONFIG)
    assert read_bundle(bundle).digest == second != first
    assert [path.name for path in bundle.parent.iterdir()] == [bundle.name]


def test_numbers_that_do_not_fit_are_not_written(tmp_path):
    module = nn.Linear(2, 2)
    nn.init.constant_(module.weight, 1e6)
    with pytest.raises(CheckpointError, match=r"dit\.weight holds NaN or infinite"):
        write_bundle(tmp_path / "big.safetensors", {"dit": module}, {})
    assert not list(tmp_path.iterdir())


def test_no_such_file(tmp_path):
    refused(tmp_path / "absent.safetensors", "no such model file")
    refused(tmp_path, "no such model file")


@pytest.mark.parametrize("size", [0, 5, 100, -1, -1000])
def test_truncated(bundle, size):
    data = bundle.read_bytes()
    bundle.write_bytes(data[: size if size >= 0 else len(data) + size])
    refused(bundle, "damaged")


def test_not_safetensors(bundle):
    bundle.write_bytes(b"PK\x03\x04" + bytes(range(256)) * 40)
    refused(bundle, "damaged")
    torch.save({"a": torch.ones(3)}, bundle)
    refused(bundle, "damaged")


def test_another_kind_of_model(tmp_path):
    path = tmp_path / "wan.safetensors"
    save_file({"blocks.0.weight": torch.ones(2)}, path)
    refused(path, "not an OmniSync bundle")
    save_file({"blocks.0.weight": torch.ones(2)}, path, {"format": "pt"})
    refused(path, "not an OmniSync bundle")


def test_a_changed_byte(bundle):
    data = bytearray(bundle.read_bytes())
    data[-3] ^= 1
    bundle.write_bytes(bytes(data))
    refused(bundle, "digest")


def test_a_missing_digest(bundle):
    rewrite(bundle, **{"omnisync.digest": None})
    refused(bundle, "digest")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_none(bundle, value):
    rewrite(bundle, lambda tensors: tensors["vae.latent_mean"].fill_(value))
    refused(bundle, "vae.latent_mean", "NaN")


def test_a_missing_tensor(bundle):
    rewrite(bundle, lambda tensors: tensors.pop("dit.head.out.weight"))
    refused(bundle, "1 tensors are missing", "head.out.weight", "0 unexpected")


def test_an_unexpected_tensor(bundle):
    rewrite(bundle, lambda tensors: tensors.update({"dit.extra": torch.ones(1)}))
    refused(bundle, "1 unexpected", "extra")


def test_a_key_of_no_part(bundle):
    rewrite(bundle, lambda tensors: tensors.update({"unet.conv": torch.ones(1)}))
    refused(bundle, "unet.conv", "dit, vae, whisper, text")


def test_another_shape(bundle):
    rewrite(bundle, lambda tensors: tensors.update({"dit.head.out.bias": torch.ones(7)}))
    refused(bundle, "head.out.bias has shape (7,), expected (64,)")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("{not json", ("no JSON",)),
        ("[1]", ("format None, expected 1",)),
        ("{}", ("format None, expected 1",)),
        (json.dumps({"format": 2, **tiny.CONFIG}), ("format 2, expected 1",)),
        (json.dumps({"format": 1}), ("describes no OmniSync model",)),
        (json.dumps({"format": 1, **tiny.CONFIG, "dit": {"width": 8}}), ("describes no OmniSync model", "depth")),
        (json.dumps({"format": 1, **tiny.CONFIG, "spec": {"side": 8}}), ("describes no OmniSync model", "side")),
        (json.dumps({"format": 1, **tiny.CONFIG, "spec": {"window_frames": 8}}), ("describes no", "1 + 4k")),
        (json.dumps({"format": 1, **tiny.CONFIG, "vae": 3}), ("describes no OmniSync model",)),
        ("[" * 10**5, ("describes no OmniSync model", "no JSON")),
        ('{"format": 1, "dit": NaN}', ("describes no OmniSync model", "NaN is no number")),
    ],
)
def test_configurations_that_describe_nothing(bundle, config, words):
    rewrite(bundle, **{"omnisync.config": config})
    refused(bundle, *words)


def test_names_that_break_lines_and_types_that_no_model_has(bundle):
    rewrite(bundle, lambda tensors: tensors.update({"dit.a\nb": torch.ones(1)}))
    refused(bundle, "begin with dit, vae, whisper, text")
    for kind in (torch.complex64, torch.float8_e4m3fn):
        path = bundle.with_name(f"{kind}.safetensors")
        path.write_bytes(bundle.read_bytes())
        rewrite(path, lambda tensors, kind=kind: tensors.update({"dit.a": torch.ones(1).to(kind)}))
        refused(path, "of type")


def test_a_configuration_of_a_huge_model_takes_no_memory(bundle):
    huge = {"width": 16384, "heads": 128, "depth": 128, "ffn_width": 65536}
    config = {"format": 1, **tiny.CONFIG, "dit": {**tiny.CONFIG["dit"], **huge}}
    rewrite(bundle, **{"omnisync.config": json.dumps(config)})
    refused(bundle, "tensors are missing")


@pytest.mark.parametrize("tokenizer", ["", "{", "[]", "{}", '{"model": {"type": "WordLevel"}}'])
def test_a_broken_tokenizer(bundle, tokenizer):
    text = {**tiny.TEXT, "architecture": "t5", "tokenizer": tokenizer}
    rewrite(bundle, **{"omnisync.config": json.dumps({"format": 1, **tiny.CONFIG, "text": text})})
    with pytest.raises(CheckpointError, match="tokenizer cannot be read") as caught:
        load_engine(bundle, device="cpu")
    assert "\n" not in str(caught.value)


def test_loading_is_by_shape_and_name():
    module = nn.Linear(2, 3)
    given = {"weight": torch.ones(3, 2), "bias": torch.zeros(3)}
    load_strictly(module, given, "x")
    assert module.weight.sum() == 6
    for broken, word in (({"weight": given["weight"]}, "bias"), ({**given, "gain": given["bias"]}, "gain")):
        with pytest.raises(CheckpointError, match=word):
            load_strictly(module, broken, "x")
