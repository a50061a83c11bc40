"""What the nodes share: sockets, widgets that several have, checks of what comes in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from comfy_api.latest import io

from ..omnisync_core.diffusion import CONVENTIONS
from ..omnisync_core.diffusion.guidance import Guidance
from ..omnisync_core.errors import InputError

Track = io.Custom("OMNISYNC_TRACK")
RegionType = io.Custom("OMNISYNC_REGION")
EngineType = io.Custom("OMNISYNC_ENGINE")
Speakers = io.Custom("OMNISYNC_SPEAKERS")

LONGEST_PREVIEW = 86400.0
"""Seconds."""
HINTS = {
    "alpha": "switch lossless on", "no_lossless": "switch lossless off", "resume": "switch resume on",
    "point": "click there, or give the width of yours too (point_width)",
}  # fmt: skip
"""What to do, by the core's codes."""
ENGINE_OUT = "For Lip Sync Video and Lip Sync Images."
GUIDANCE_NAMES = ("w_peak", "w_base", "gamma", "sigma_g", "convention")
OWN = "own"
"""The convention that leaves the guidance to the model, but for the weights that were changed."""
OWN_TIP = "own: as the model was made to be guided (the bundled one: not at all), but for the weights changed here. "
CONVENTION_TIP = (
    "floored: fades to the conditional prediction. normalised: fades to the unconditional one. paper: as printed, up "
    "to w_peak squared at the mouth."
)
GUIDANCE_BOUNDS = {"w_peak": (0, 20), "w_base": (0, 20), "gamma": (0, 10), "sigma_g": (0.05, 10)}
"""Of the widgets: the part of the core's `BOUNDS` that is of use."""


def source_input() -> io.Input:
    """Frames, from memory or from a file."""
    return io.MultiType.Input("source", [io.Image, io.Video], tooltip="The frames. A video file is streamed.")


def fps_input(tooltip: str = "Frames per second of images; a video has its own.") -> io.Input:
    return io.Float.Input("fps", default=25.0, min=0.01, max=1000.0, step=0.01, tooltip=tooltip)


def seed_input(tooltip: str) -> io.Input:
    return io.Int.Input(
        "seed", default=0, min=0, max=0xFFFFFFFFFFFFFFFF, control_after_generate=True, tooltip=tooltip
    )  # fmt: skip


def preview_input(tooltip: str, *, optional: bool = False) -> io.Input:
    """Seconds; `read_preview` takes them."""
    return io.Float.Input(
        "preview_seconds", default=0.0, min=0.0, max=LONGEST_PREVIEW, step=0.5, optional=optional, tooltip=tooltip
    )  # fmt: skip


def track_input(left_open: str) -> io.Input:
    """Where the mouth is, for nodes that can do without."""
    return Track.Input(
        "mouth_track", optional=True,
        tooltip=f"From Mouth Track, of this source or of the video it was made from. Left open: {left_open}.",
    )  # fmt: skip


def guidance_inputs(*, own: bool = False) -> list:
    """The widgets of DS-CFG, in the order of `GUIDANCE_NAMES`; their values go to `read_guidance`.

    own: the model may say how it is to be guided, and does unless the user says otherwise.
    """
    usual = Guidance()
    return [
        io.Float.Input(
            "w_peak", default=usual.w_peak, **_between("w_peak"), step=0.1,
            tooltip="Strength of the guidance at the mouth and at full noise. 1 is none; more makes the mouth obey the "
            "sound more, too much distorts it.",
        ),
        io.Float.Input(
            "w_base", default=usual.w_base, **_between("w_base"), step=0.1,
            tooltip="Strength far from the mouth; 1 leaves the rest of the face as the model sees it.",
        ),
        io.Float.Input(
            "gamma", default=usual.gamma, **_between("gamma"), step=0.1, advanced=True,
            tooltip="How fast the guidance fades with the noise: its weight follows sigma ^ gamma. 0 does not fade.",
        ),
        io.Float.Input(
            "sigma_g", default=usual.sigma_g, **_between("sigma_g"), step=0.05, advanced=True,
            tooltip="Width of the guidance's Gaussian around the mouth, in mouth widths.",
        ),
        io.Combo.Input(
            "convention", options=[*([OWN] if own else []), *CONVENTIONS], default=OWN if own else usual.convention,
            advanced=True, tooltip=(OWN_TIP if own else "") + CONVENTION_TIP,
        ),
    ]  # fmt: skip


def rarely_touched(inputs: list) -> list:
    """Widgets that are hidden until asked for, and not needed in a prompt."""
    for given in inputs:
        given.advanced = given.optional = True
    return inputs


def _between(name: str) -> dict[str, float]:
    low, high = GUIDANCE_BOUNDS[name]
    return {"min": float(low), "max": float(high)}


def read_guidance(
    w_peak: float, w_base: float, gamma: float, sigma_g: float, convention: str, own: Guidance | None = None
) -> Guidance:
    """The core's guidance from the widgets. InputError for NaN and for what is out of bounds.

    own: the model's, which `convention` "own" takes (None: the usual one) with the weights that differ from the usual.
    """
    usual = Guidance()
    if convention != OWN:
        return Guidance(w_peak, w_base, gamma, sigma_g, convention)
    given = {"w_peak": w_peak, "w_base": w_base, "gamma": gamma, "sigma_g": sigma_g}
    return replace(own or usual, **{name: value for name, value in given.items() if value != getattr(usual, name)})


def finite(name: str, value: float, low: float = -math.inf, high: float = math.inf) -> float:
    """`value` itself. InputError unless it is a number within low..high; the host's bounds let NaN pass."""
    if not (math.isfinite(value) and low <= value <= high):
        raise InputError(f"{name} must be a number within {low}..{high}, got {value}")
    return float(value)


def within(bounds: dict[str, tuple[float, float]], **values) -> bool | str:
    """What `validate_inputs` returns: True, or which value is out of its bounds or no number.

    The host's own check lets NaN pass, and leaves out the inputs that are named there. None is linked: not known yet.
    """
    try:
        checked(bounds, **{name: value for name, value in values.items() if value is not None})
    except (InputError, TypeError) as error:
        return str(error)
    return True


def checked(bounds: dict[str, tuple[float, float]], **values) -> None:
    """InputError for the first value out of its bounds: what is linked is only known when a node runs."""
    for name, value in values.items():
        finite(name, value, *bounds[name])


def within_fps(fps) -> bool | str:
    """As `within`."""
    try:
        positive_fps(25.0 if fps is None else fps)
    except (InputError, TypeError) as error:
        return str(error)
    return True


def within_preview(seconds) -> bool | str:
    """As `within`."""
    return within({"preview_seconds": (0, LONGEST_PREVIEW)}, preview_seconds=seconds)


def read_preview(seconds: float) -> float | None:
    """None: all of it."""
    return finite("preview_seconds", seconds, 0, LONGEST_PREVIEW) or None


def positive_fps(fps: float) -> float:
    """Frames per second above 0."""
    if not (math.isfinite(fps) and 0 < fps <= 1000):
        raise InputError(f"fps must be a number above 0 and at most 1000, got {fps}; give the video's frame rate")
    return float(fps)


def rgb_frames(images_NHWC: torch.Tensor, name: str = "images") -> torch.Tensor:
    """IMAGE (N, H, W, 3): at least one frame, finite; an alpha channel is dropped, grey becomes RGB."""
    if not isinstance(images_NHWC, torch.Tensor) or images_NHWC.ndim != 4 or not len(images_NHWC):
        found = tuple(getattr(images_NHWC, "shape", ())) or type(images_NHWC).__name__
        raise InputError(f"{name} must hold at least one picture (N, H, W, C), got {found}; connect a video's frames")
    channels = images_NHWC.shape[-1]
    if channels not in (1, 3, 4):
        raise InputError(f"{name} must have 1, 3 or 4 channels (grey, RGB, RGBA), got {channels}")
    for index, picture_HWC in enumerate(images_NHWC):
        if not torch.isfinite(picture_HWC).all():
            raise InputError(f"{name}: frame {index} holds NaN or infinite numbers; check the node before it")
    return images_NHWC.expand(*images_NHWC.shape[:-1], 3) if channels == 1 else images_NHWC[..., :3]


def read_sound(audio) -> tuple[torch.Tensor, int]:
    """Samples (C, S) float32 and their rate, from an AUDIO: the host's dictionary or any mapping with its two keys.

    InputError: None, another kind, empty, a rate that no recording has, NaN.
    """
    from ..omnisync_core.media.sound import RATES

    if audio is None:
        raise InputError("there is no sound: the video before has none; connect Load Audio")
    if not isinstance(audio, Mapping) or "waveform" not in audio or "sample_rate" not in audio:
        raise InputError(f"audio must be AUDIO (waveform and sample_rate), got {type(audio).__name__}")
    wave, rate = torch.as_tensor(audio["waveform"]).float(), audio["sample_rate"]
    wave_CS = wave[0] if wave.ndim == 3 and len(wave) else wave.reshape(-1, wave.shape[-1] if wave.ndim else 1)
    if not wave_CS.numel():
        raise InputError("the sound is empty (0 samples); connect a sound that has some")
    least, most = RATES
    if not (math.isfinite(rate) and least <= rate <= most and rate == int(rate)):
        raise InputError(f"the sound's sample rate must be a whole number from {least} to {most}, got {rate}")
    if not torch.isfinite(wave_CS).all():
        raise InputError("the sound holds NaN or infinite samples; check the node before it")
    return wave_CS.cpu(), int(rate)


def mono_wave(audio):
    """The core's `Wave` of an AUDIO: mono, 16 kHz. InputError as in `read_sound`."""
    from ..omnisync_core.audio import ArrayWave, resample

    wave_CS, rate = read_sound(audio)
    return ArrayWave(resample(wave_CS.mean(0).numpy(), rate))
