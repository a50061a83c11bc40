"""VideoSeal's networks against the official code: its tensors by name and shape, its numbers on random weights."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from omnisync_core.errors import CheckpointError
from omnisync_core.models.published import Shapes
from omnisync_core.models.video_seal import SealConfig, VideoSeal

GOLDEN = Path(__file__).parents[1] / "golden"
CARDS = {"videoseal_1.0": SealConfig(), "pixelseal": SealConfig(widths=(32, 64, 128, 256))}


@pytest.mark.parametrize("card", CARDS)
def test_the_tensors_are_those_of_the_published_files(card):
    with torch.device("meta"):
        tensors = VideoSeal(CARDS[card]).state_dict()
    published = json.loads((GOLDEN / "seal_full_keys.json").read_text())[card]
    assert {name: list(value.shape) for name, value in tensors.items()} == published
    assert SealConfig.of(Shapes(tensors, "", "")) == CARDS[card]


@pytest.fixture(scope="module")
def golden():
    """Random small weights, six frames of 80 x 48, and what the official code (commit 871eda0) makes of them."""
    return load_file(GOLDEN / "seal_small.safetensors")


@pytest.fixture(scope="module")
def seal(golden):
    tensors = {name.removeprefix("model."): value for name, value in golden.items() if name.startswith("model.")}
    seal = VideoSeal(SealConfig.of(Shapes(tensors, "", "")))
    seal.load_state_dict(tensors)
    return seal.eval().requires_grad_(False)


def shown(golden, size=(256, 256), added=0.0):
    return F.interpolate(golden["frames"] / 255 + added, size=size, mode="bilinear", antialias=True)


def test_it_hides_and_reads_as_the_official_code(golden, seal):
    picture, bits = shown(golden), golden["bits"]
    hidden, heat = seal.hide(picture[:2], bits.expand(2, -1)), seal.heat(picture)
    torch.testing.assert_close(hidden[..., ::8, ::8], golden["hidden"], atol=1e-5, rtol=0)
    torch.testing.assert_close(heat[:2, :, ::8, ::8], golden["heat"], atol=1e-6, rtol=0)
    logits = seal.read(shown(golden, added=golden["added"]))
    torch.testing.assert_close(logits, golden["logits"], atol=1e-5, rtol=0)
    assert logits.std() > 0.3


def test_the_constants_of_luma_and_attenuation_are_the_published_ones(golden, seal):
    for name, value in VideoSeal(seal.config).state_dict().items():
        if name.startswith(("attenuation", "rgb2yuv")):
            assert torch.equal(value, golden[f"model.{name}"])


def test_another_message_is_hidden_otherwise(golden, seal):
    picture, bits = shown(golden)[:1], golden["bits"].clone()
    before = seal.hide(picture, bits)
    bits[0, 3] ^= 1
    assert (seal.hide(picture, bits) - before).abs().max() > 1e-3


def test_another_model_has_no_such_tensor(seal):
    tensors = {name: value for name, value in seal.state_dict().items() if "msg_embeddings" not in name}
    with pytest.raises(CheckpointError, match=r"no VideoSeal: it has no tensor embedder\.unet\.msg_processor"):
        SealConfig.of(Shapes(tensors, "no VideoSeal", "take another"))
