"""Prompts: any T5's encoder, its own width and tokens, and nothing where nothing is said."""

import pytest
import torch

from omnisync_core.models import text
from omnisync_core.models.text import TextEncoder, byte_tokens
from tests.tiny import TEXT, stirred

SIZES = {"vocab_size": 384, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}


def words(prompt: str) -> list[int]:
    """A tokenizer: one number per word, then the end."""
    return [3 + sum(map(ord, word)) % 300 for word in prompt.split()] + [1]


def encoder(architecture="byt5", width=16, **settings) -> TextEncoder:
    torch.manual_seed(0)
    tokenize = None if architecture == "byt5" else words
    config = {"architecture": architecture, "d_model": width, **SIZES, **settings}
    return stirred(TextEncoder(config, tokenize)).eval().requires_grad_(False)


@pytest.mark.parametrize("architecture", ["t5", "umt5", "byt5"])
@pytest.mark.parametrize("width", [768, 1024])
def test_the_width_is_read_from_the_configuration(architecture, width):
    model = encoder(architecture, width)
    found = model.encode(["says it loudly"], length=20)
    assert model.width == width
    assert found.shape == (1, 20, width)
    assert torch.isfinite(found).all()
    assert found[0, 0].abs().sum() > 0


@pytest.mark.parametrize("architecture", ["t5", "umt5", "byt5"])
def test_only_the_prompts_own_tokens_have_features(architecture):
    model = encoder(architecture)
    found = model.encode(["one two"])
    count = len(model.tokenize("one two"))
    assert (found[0, :count].abs().sum(-1) > 0).all()
    assert (found[0, count:] == 0).all()


@pytest.mark.parametrize("architecture", ["t5", "umt5", "byt5"])
def test_padding_and_company_do_not_change_a_prompt(architecture):
    model = encoder(architecture)
    prompts = ["a b", "some longer prompt with more in it", ""]
    alone = model.encode(prompts[:1], length=12)
    np_close = {"atol": 1e-5, "rtol": 1e-5}
    torch.testing.assert_close(model.encode(prompts, length=64)[:1, :12], alone, **np_close)
    exact = len(model.tokenize("a b"))
    torch.testing.assert_close(model.encode(prompts[:1], length=exact), alone[:, :exact], **np_close)


def test_an_empty_prompt_is_nothing():
    found = encoder().encode(["", "x", ""])
    assert (found[[0, 2]] == 0).all()
    assert found[1].abs().sum() > 0
    half = encoder().bfloat16().encode([""])
    assert half.dtype == torch.bfloat16
    assert (half == 0).all()


def test_other_words_are_other_features():
    loud, low = encoder().encode(["She shouts.", "She mumbles."])
    assert (loud[:4] - low[:4]).abs().max() > 1e-3


def test_a_long_prompt_is_cut():
    model = encoder()
    found = model.encode(["x" * 500])
    assert found.shape == (1, text.LENGTH, 16)
    assert (found[0, -1] != 0).any()


def test_bytes_are_tokens():
    assert byte_tokens("Ab") == [ord("A") + 3, ord("b") + 3, 1]
    assert byte_tokens("é") == [0xC3 + 3, 0xA9 + 3, 1]
    assert byte_tokens("") == [1]
    assert max(byte_tokens("\U0001f600")) < 384


@pytest.mark.parametrize("architecture", ["t5", "umt5"])
def test_an_encoder_without_its_tokenizer(architecture):
    with pytest.raises(ValueError, match="tokenizer"):
        TextEncoder({"architecture": architecture, "d_model": 16, **SIZES})


def test_the_minis_configuration_is_built_as_it_is_stored():
    model = TextEncoder(text.MINI)
    assert model.config == text.MINI
    assert model.encode(["a"]).shape == (1, text.LENGTH, 64)
    assert TextEncoder(TEXT).state_dict().keys() == TextEncoder(model.config | TEXT).state_dict().keys()
