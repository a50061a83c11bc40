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
from tests.odd import CODE_KEYS, CONFIGURATION, NO_CONFIGURATION, WRONG_VALUES, changed

TABLES = [(), *((part,) for part in PARTS), ("sampling", "guidance")]
LEAVES = [(part, key) for part in PARTS for key in CONFIGURATION[part] if part != "sampling"]
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.sampled_from([-1, 0, 97, 10**6, 10**12, 2**63, 10**300]), st.floats(),
    st.text(), st.lists(st.integers(), max_size=4), st.dictionaries(st.text(), st.integers(), max_size=2),
)  # fmt: skip


def refusal(config) -> str:
    with pytest.raises(BadConfiguration) as caught:
        read_configuration(config if isinstance(config, str) else json.dumps(config))
    message = str(caught.value)
    assert message.isprintable(), message
    assert len(message) < 250, message
    return message


def test_what_is_written_is_what_is_read():
    assert read_configuration(json.dumps(CONFIGURATION)) == CONFIGURATION


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
@pytest.mark.parametrize("key", CODE_KEYS)
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


@pytest.mark.parametrize(("path", "value", "words"), WRONG_VALUES)
def test_what_is_wrong_is_named(path, value, words):
    assert words in refusal(changed(path, value))


@pytest.mark.parametrize("text", NO_CONFIGURATION)
def test_no_configuration(text):
    refusal(text)


def test_windows_beyond_any_memory():
    config = changed(("spec", "crop_size"), 2048)
    config["spec"]["window_frames"] = 1025
    assert "larger than any model's" in refusal(config)
