"""What engines over published weights share: a denoiser, a codec and a Whisper, and one window at a time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import torch
from torch import nn

from ..errors import InputError
from ..models.whisper import WhisperEncoder
from ..spec import VideoSpec
from .protocol import Excerpt, WindowEngine

Resident = Callable[[nn.Module], AbstractContextManager]
"""Entered around every use of a network: a host moves it in."""


class Placed(Protocol):
    """A network where it runs."""

    device: torch.device
    dtype: torch.dtype


class DrawSettings(Protocol):
    """A frozen dataclass: how a window is drawn."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def spec(self) -> VideoSpec: ...


SettingsT = TypeVar("SettingsT", bound=DrawSettings)
DenoiserT = TypeVar("DenoiserT", bound=Placed)
CodecT = TypeVar("CodecT")


class PublishedEngine(WindowEngine, Generic[SettingsT, DenoiserT, CodecT]):
    """A kind adds its `name`, `speech` and `edit_window`."""

    name: str

    def __init__(
        self,
        denoiser: DenoiserT,
        codec: CodecT,
        whisper: WhisperEncoder,
        settings: SettingsT,
        models: str | list[str],
        resident: Resident = lambda module: nullcontext(),
    ) -> None:
        """`models` are digests of what the weights are; `resident` is Whisper's."""
        self.settings, self.spec = settings, settings.spec
        self._denoiser, self._codec, self._whisper, self._resident = denoiser, codec, whisper, resident
        self.fingerprint = {
            "engine": self.name, "models": models, **asdict(settings),
            "dtype": str(denoiser.dtype), "device": str(denoiser.device),
        }  # fmt: skip

    def check(self, excerpt: Excerpt) -> None:
        """InputError: the window is longer than the network was trained on."""
        if len(excerpt.frames_THWC) > self.spec.window_frames:
            raise InputError(f"a window has at most {self.spec.window_frames} frames, got {len(excerpt.frames_THWC)}")
