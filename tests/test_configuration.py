"""A bundle's configuration is not trusted: it is within bounds, or refused in one line before anything is built."""

import json
from dataclasses import asdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisync_core.configuration import PARTS, BadConfiguration, read_configuration
from omnisync_core.diffusion.guidance import Guidance
from omnisync_core.models.dit import BASE, MINI, DiT, DiTConfig
from omnisync_core.models.vae import VAEConfig
from omnisync_core.spec import VideoSpec
from tests import tiny

WHOLE = json.loads(json.dumps({"format": 1, **tiny.CONFIG, "sampling": {"guidance": {}}}))
TABLES = [(), *((part,) for part in PARTS), ("sampling", "guidance")]
LEAVES = [(part, key) for part in PARTS for key in WHOLE[part] if part != "sampling"]
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.sampled_from([-1, 0, 97, 10**6, 10**12, 2**63, 10**300]), st.floats(),
    st.text(), st.lists(st.integers(), max_size=4), st.dictionaries(st.text(), st.integers(), max_size=2),
)  # fmt: skip


def changed(path: tuple, value) -> dict:
    """The whole configuration with another value at a path."""
    config = json.loads(json.dumps(WHOLE))
    place = config
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return config


def refusal(config) -> str:
    with pytest.raises(BadConfiguration) as caught:
        read_configuration(config if isinstance(config, str) else json.dumps(config))
    message = str(caught.value)
    assert message.isprintable(), message
    assert len(message) < 250, message
    return message


def test_what_is_written_is_what_is_read():
    assert read_configuration(json.dumps(WHOLE)) == WHOLE


@pytest.mark.parametrize(
    ("part", "own"), [("dit", DiTConfig), ("vae", VAEConfig), ("spec", VideoSpec)], ids=lambda value: str(value)
)
def test_every_field_has_a_rule(part, own):
    """A field that a class gains must be bounded here too, with the same default."""
    rules = PARTS[part].rules
    assert set(rules) == set(own.__dataclass_fields__)
    for name, rule in rules.items():
        default = own.__dataclass_fields__[name].default
        if isinstance(default, (int, float, str, bool)):
            assert rule.default == default, name


def test_guidance_and_the_shipped_sizes_are_within_bounds():
    assert set(PARTS["sampling"].rules["guidance"].rules) == set(Guidance.__dataclass_fields__)
    for dit in (MINI, BASE):
        PARTS["dit"].check("dit", asdict(dit))


@pytest.mark.parametrize("path", TABLES, ids=str)
@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation", "torch_dtype", "auto_map", "a\nb", ""])
def test_unknown_keys_are_refused(path, key):
    assert "is no key of a bundle" in refusal(changed((*path, key), "kernels-community/flash-attn"))


@pytest.mark.parametrize("path", LEAVES, ids=".".join)
@settings(max_examples=30, deadline=None)
@given(value=ODD)
def test_any_value_anywhere(path, value):
    """It is refused in one line, or what it describes can be built."""
    try:
        config = read_configuration(json.dumps(changed(path, value)))
    except BadConfiguration as error:
        assert str(error).isprintable()
        assert len(str(error)) < 250
        return
    if path[0] in ("dit", "spec"):
        with torch.device("meta"):
            DiT(DiTConfig(**config["dit"]))
        VideoSpec(**config["spec"])


@settings(max_examples=200, deadline=None)
@given(st.recursive(ODD, lambda inner: st.dictionaries(st.sampled_from(["format", *PARTS]), inner) | st.lists(inner)))
def test_any_json(value):
    refusal(value if isinstance(value, str) else json.dumps(value))


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("dit", "width"), 10**12, "dit.width must be a whole number from 2 to 16384"),
        (("dit", "width"), True, "dit.width must be a whole number"),
        (("dit", "width"), {"a": 1}, "got an object of 1"),
        (("dit", "heads"), 0, "dit.heads must be"),
        (("dit", "heads"), 5, "dit.width 24 gives 5 heads"),
        (("dit", "depth"), 24.0, "dit.depth must be"),
        (("dit", "speech_dim"), 8, "whisper.d_model 16"),
        (("dit", "text_dim"), 9, "text.d_model 8"),
        (("dit", "latent_channels"), 8, "are not the same"),
        (("dit", "residual_std"), 0, "residual_std must be"),
        (("vae", "widths"), [8, 8], "a list of three"),
        (("vae", "widths"), [8, -8, 8], "vae.widths[1] must be"),
        (("vae", "skips"), 1, "vae.skips must be one of true, false"),
        (("whisper", "encoder_attention_heads"), 3, "no multiple"),
        (("text", "architecture"), "gpt", 'one of "t5", "umt5", "byt5"'),
        (("text", "architecture"), "t5", "needs its tokenizer"),
        (("text", "feed_forward_proj"), "kernels-community/x", "feed_forward_proj must be"),
        (("text", "vocab_size"), 100, "needs its tokenizer"),
        (("spec", "crop_size"), 0, "crop_size must be"),
        (("spec", "crop_size"), 97, "a multiple of 16"),
        (("spec", "crop_size"), 10**6, "crop_size must be"),
        (("spec", "temporal_stride"), 8, "temporal_stride must be"),
        (("spec", "overlap_frames"), 9, "below window_frames"),
        (("sampling", "steps"), 10**9, "sampling.steps must be"),
        (("sampling", "guidance"), 3, "sampling.guidance must be an object"),
        (("format",), 1.0, "format 1.0, expected 1"),
    ],
)
def test_what_is_wrong_is_named(path, value, words):
    assert words in refusal(changed(path, value))


@pytest.mark.parametrize("text", ["", "{", "[" * 10**5, '{"a":' * 10**5, '{"format": 1e999}', '{"format": NaN}', "7"])
def test_no_configuration(text):
    refusal(text)


def test_windows_beyond_any_memory():
    config = changed(("spec", "crop_size"), 2048)
    config["spec"]["window_frames"] = 1025
    assert "larger than any model's" in refusal(config)
