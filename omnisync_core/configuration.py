"""What a bundle's configuration may say. It is read against these bounds before anything is built of it.

Nothing in a file names code: a key that is not written here is refused, whatever a library would do with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from .diffusion import CONVENTIONS
from .diffusion.guidance import BOUNDS

FORMAT = 1
REQUIRED = object()
LARGEST_WINDOW = 1 << 27
"""Pixels of all frames of a window."""


class BadConfiguration(ValueError):
    """A configuration describes no OmniSync model: which of its values, and what it should be."""


def read_configuration(text: str) -> dict:
    """The configuration in a bundle's metadata (JSON). BadConfiguration in one line."""
    try:
        config = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise BadConfiguration(f"it is no JSON ({_short(str(error))})") from None
    found = config.get("format") if isinstance(config, dict) else None
    if type(found) is not int or found != FORMAT:
        raise BadConfiguration(f"format {None if found is None else _short(found)}, expected {FORMAT}")
    _Table({"format": _Whole(1, FORMAT), **PARTS}).check("", config)
    for wrong in _contradictions(config):
        raise BadConfiguration(wrong)
    return config


@dataclass(frozen=True)
class _Whole:
    least: int
    most: int
    default: Any = REQUIRED
    multiple: int = 1

    def check(self, name: str, value: Any) -> None:
        if type(value) is not int or not self.least <= value <= self.most or value % self.multiple:
            kind = "whole number" if self.multiple == 1 else f"multiple of {self.multiple}"
            _refuse(name, f"a {kind} from {self.least} to {self.most}", value)


@dataclass(frozen=True)
class _Number:
    least: float
    most: float
    default: Any = REQUIRED

    def check(self, name: str, value: Any) -> None:
        if type(value) not in (int, float) or not self.least <= value <= self.most:
            _refuse(name, f"a number within {self.least:g}..{self.most:g}", value)


@dataclass(frozen=True)
class _OneOf:
    values: tuple
    default: Any = REQUIRED

    def check(self, name: str, value: Any) -> None:
        if not any(type(value) is type(allowed) and value == allowed for allowed in self.values):
            _refuse(name, f"one of {', '.join(map(json.dumps, self.values))}", value)


@dataclass(frozen=True)
class _Text:
    longest: int
    default: Any = REQUIRED

    def check(self, name: str, value: Any) -> None:
        if not isinstance(value, str) or len(value) > self.longest:
            _refuse(name, f"text of at most {self.longest} characters", value)


@dataclass(frozen=True)
class _Maybe:
    """null, or what another rule says."""

    rule: Any
    default: Any = None

    def check(self, name: str, value: Any) -> None:
        if value is not None:
            self.rule.check(name, value)


@dataclass(frozen=True)
class _Three:
    rule: Any
    default: Any = ()

    def check(self, name: str, value: Any) -> None:
        if not isinstance(value, list) or len(value) != 3:
            _refuse(name, "a list of three", value)
        for number, entry in enumerate(value):
            self.rule.check(f"{name}[{number}]", entry)


@dataclass(frozen=True)
class _Table:
    """An object with these keys and no others."""

    rules: Mapping[str, Any]
    default: Any = REQUIRED

    def check(self, name: str, value: Any) -> None:
        if not isinstance(value, dict):
            _refuse(name, "an object", value)
        for key in value:
            if key not in self.rules:
                raise BadConfiguration(f"{_dotted(name, _short(key))} is no key of a bundle")
        for key, rule in self.rules.items():
            if key in value:
                rule.check(_dotted(name, key), value[key])
            elif rule.default is REQUIRED:
                raise BadConfiguration(f"{_dotted(name, key)} is missing")


FLAG = (True, False)
WIDTH, HEADS = 16384, 256
CHANNELS = _Whole(1, 256, 16)

TRANSFORMER: dict[str, Any] = {
    "width": _Whole(2, WIDTH),
    "depth": _Whole(1, 128),
    "heads": _Whole(1, HEADS),
    "ffn_width": _Whole(1, 4 * WIDTH),
    "speech_dim": _Whole(1, WIDTH),
    "text_dim": _Whole(1, WIDTH),
    "speech_tokens": _Whole(1, 64, 4),
    "speech_width": _Maybe(_Whole(1, WIDTH)),
    "speech_hidden": _Whole(1, WIDTH, 512),
    "speech_context": _Whole(1, 256, 16),
    "latent_channels": CHANNELS,
    "source_channels": CHANNELS,
    "frequency_dim": _Whole(2, 4096, 256, multiple=2),
    "norm": _OneOf(("rms", "layer"), "rms"),
    "text_first": _OneOf(FLAG, False),
    "residual_std": _Maybe(_Number(1e-3, 100)),
    "overshoot": _Number(0, 4, 0.0),
}
AUTOENCODER = {
    "widths": _Three(_Whole(1, 4096)),
    "encoder_blocks": _Three(_Whole(0, 64)),
    "decoder_blocks": _Three(_Whole(0, 64)),
    "latent_channels": CHANNELS,
    "skips": _OneOf(FLAG, False),
    "architecture": _OneOf(("omnisync", "wan"), "omnisync"),
}
WHISPER = {
    "d_model": _Whole(2, WIDTH, multiple=2),
    "encoder_layers": _Whole(1, 128),
    "encoder_attention_heads": _Whole(1, HEADS),
    "encoder_ffn_dim": _Whole(1, 4 * WIDTH),
    "num_mel_bins": _Whole(1, 256),
    "max_source_positions": _Whole(3, 6000),
}
TEXT = {
    "architecture": _OneOf(("t5", "umt5", "byt5")),
    "vocab_size": _Whole(1, 1 << 20),
    "d_model": _Whole(1, WIDTH),
    "d_kv": _Whole(1, WIDTH),
    "d_ff": _Whole(1, 4 * WIDTH),
    "num_layers": _Whole(1, 128),
    "num_heads": _Whole(1, HEADS),
    "feed_forward_proj": _OneOf(("relu", "gated-gelu", "gated-silu")),
    "tie_word_embeddings": _OneOf(FLAG, True),
    "tokenizer": _Text(1 << 26, None),
}
SPEC = {
    "temporal_stride": _Whole(4, 4, 4),
    "spatial_stride": _Whole(8, 8, 8),
    "latent_channels": CHANNELS,
    "crop_size": _Whole(32, 2048, 96, multiple=16),
    "crop_scale": _Number(0.5, 20, 2.4),
    "head_scale": _Number(0, 100, 0.0),
    "window_frames": _Whole(5, 1025, 17),
    "overlap_frames": _Whole(0, 1024, 5),
    "max_fps": _Number(1, 1000, 30.5),
    "mouth_height": _Number(0.05, 0.95, 0.5),
    "shared_noise": _OneOf(FLAG, False),
}
SAMPLING = {
    "steps": _Whole(1, 1000, None),
    "tau": _Number(1e-3, 1, None),
    "guidance": _Table(
        {
            **{name: _Number(low, high, None) for name, (low, high) in BOUNDS.items()},
            "convention": _OneOf(CONVENTIONS, None),
        },
        default=None,
    ),
}
PARTS = {
    "dit": _Table(TRANSFORMER),
    "vae": _Table(AUTOENCODER),
    "whisper": _Table(WHISPER),
    "text": _Table(TEXT),
    "spec": _Table(SPEC),
    "sampling": _Table(SAMPLING, default=None),
}
"""What each part of a configuration may hold; a rule with a default may be left out."""


def _contradictions(config: dict) -> Iterator[str]:
    """What does not fit together though each value is within its bounds."""
    dit, vae, whisper, text, spec = (_filled(config, part) for part in ("dit", "vae", "whisper", "text", "spec"))
    if dit["width"] % dit["heads"] or dit["width"] // dit["heads"] % 2:
        yield f"dit.width {dit['width']} gives {dit['heads']} heads no even width"
    if whisper["d_model"] % whisper["encoder_attention_heads"]:
        yield f"whisper.d_model {whisper['d_model']} is no multiple of its {whisper['encoder_attention_heads']} heads"
    if dit["speech_dim"] != whisper["d_model"]:
        yield f"dit.speech_dim is {dit['speech_dim']}, whisper.d_model {whisper['d_model']}"
    if dit["text_dim"] != text["d_model"]:
        yield f"dit.text_dim is {dit['text_dim']}, text.d_model {text['d_model']}"
    channels = {dit["latent_channels"], dit["source_channels"], vae["latent_channels"], spec["latent_channels"]}
    if len(channels) > 1:
        yield "latent_channels and source_channels of dit, vae and spec are not the same"
    if text["tokenizer"] is None and (text["architecture"] != "byt5" or text["vocab_size"] < 259):
        yield f"text: a {text['architecture']} of {text['vocab_size']} words needs its tokenizer"
    frames, overlap = spec["window_frames"], spec["overlap_frames"]
    if (frames - 1) % spec["temporal_stride"]:
        yield f"spec.window_frames must be 1 + 4k, got {frames}"
    if overlap >= frames:
        yield f"spec.overlap_frames must be below window_frames, got {overlap} of {frames}"
    if frames * spec["crop_size"] ** 2 > LARGEST_WINDOW:
        yield f"spec: windows of {frames} frames of {spec['crop_size']} pixels are larger than any model's"


def _filled(config: dict, part: str) -> dict:
    rules = PARTS[part].rules
    return {name: rule.default for name, rule in rules.items()} | config[part]


def _refuse(name: str, expected: str, value: Any) -> NoReturn:
    raise BadConfiguration(f"{name} must be {expected}, got {_short(value)}")


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def _dotted(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key


def _short(value: Any) -> str:
    """A value for a message: one line, no longer than it need be."""
    if isinstance(value, (dict, list)):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    try:
        text = value if isinstance(value, str) and value.isprintable() else json.dumps(value)
    except ValueError:  # a whole number of thousands of digits
        return "a number beyond all bounds"
    return text if len(text) <= 60 else f"{text[:57]}..."
