"""What OmniEdit's engines over public models share: settings, models, and how a window goes through the host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import latent_preview
import numpy as np
import torch
from torch import Tensor

from ....omnisync_core.engines.latents import LatentEngine
from ....omnisync_core.engines.protocol import OnStep
from ....omnisync_core.errors import InputError
from ....omnisync_core.spec import VideoSpec
from ..digest import digest, model_digest
from ..trajectory import Focus, OmniEditGuider
from .handle import model_options

CROP_SCALE = 4.5
"""Side of the crop over the mouth's width: a face with some room, most pixels for the mouth. OmniEdit's own program
edits whole frames; 10 and more come near to that."""


@dataclass(frozen=True)
class Settings:
    """What decides an edit beside its models; each kind has its own numbers."""

    steps: int
    start: int
    end: int
    cfg: float
    noise: str = "estimated"
    focus: Focus = Focus()  # noqa: RUF009 - frozen
    crop_size: int = 480
    window_frames: int = 97
    overlap_frames: int = 13
    crop_scale: float = CROP_SCALE
    sizes: ClassVar[dict] = {}
    """Strides and channels of the model's latents, as `VideoSpec` names them."""
    crop_step: ClassVar[int] = 16
    """Pixels: sides are multiples of it."""

    def __post_init__(self):
        if not 0 <= self.start < self.steps:
            raise InputError(f"start must be below steps, got start {self.start} of {self.steps} steps")
        if self.crop_size % self.crop_step:
            raise InputError(f"crop_size must be a multiple of {self.crop_step}, got {self.crop_size}")
        try:
            self.spec()
        except ValueError as error:
            raise InputError(str(error)) from None

    def spec(self) -> VideoSpec:
        return VideoSpec(
            crop_size=self.crop_size, crop_scale=self.crop_scale,
            window_frames=self.window_frames, overlap_frames=self.overlap_frames, **self.sizes,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Handle:
    """ENGINE payload: the host's models and how to use them."""

    model: Any
    vae: Any
    sound_encoder: Any
    """An AUDIO_ENCODER, or an audio VAE."""
    text: Any = field(repr=False)
    """CONDITIONING of the prompt."""
    prompt: str
    settings: Settings

    def get_models(self) -> list:
        return [self.model, self.vae.patcher, self.sound_encoder.patcher]

    @cached_property
    def digests(self) -> list[str]:
        return [model_digest(patcher) for patcher in self.get_models()]


class OmniEditEngine(LatentEngine):
    """An engine over a handle; its kind adds `speech`, `prepare` and `sample`.

    Speech is (target, source), or the target's alone: a silent source.
    """

    hears_source = True
    group = 2
    """A window of these models takes minutes: as many are edited again where a job was stopped."""
    name = ""

    def __init__(self, handle: Handle):
        self.handle, self.settings, self.spec = handle, handle.settings, handle.settings.spec()
        model = handle.model
        self._previewer = latent_preview.get_previewer(model.load_device, model.model.latent_format)
        self._latest: tuple | None = None
        self.fingerprint = {
            "engine": self.name, "group": self.group, "prompt": handle.prompt, **asdict(handle.settings),
            "models": handle.digests, "options": model_options(model), "text": digest(handle.text[0][0]),
            "dtype": str(model.model.get_dtype_inference()), "device": str(model.load_device),
        }  # fmt: skip

    def preview(self) -> tuple | None:
        """The last step as a picture, where the host was asked for previews."""
        return self._latest

    def guider(self, target: list, source: list, mouth_T3: np.ndarray) -> OmniEditGuider:
        guider = OmniEditGuider(self.handle.model)
        guider.set_conds(target, source)
        guider.set_focus(self.settings.focus, torch.as_tensor(np.asarray(mouth_T3, np.float32)))
        return guider

    def callback(self, on_step: OnStep) -> Callable:
        """The host's sampling callback that tells of steps and keeps a preview."""
        start, total = self.settings.start, self.settings.steps - self.settings.start

        def on_sampled(step: int, clean: Tensor, latent: Tensor, steps: int) -> None:
            if self._previewer is not None:
                video = clean.unbind()[0] if clean.is_nested else clean
                self._latest = self._previewer.decode_latent_to_preview_image("JPEG", video)
            on_step(step + 1 - start, total)

        return on_sampled

    def encode(self, frames_THWC: np.ndarray) -> Tensor:
        return self.handle.vae.encode(torch.as_tensor(np.ascontiguousarray(frames_THWC)))

    def decode(self, latent: Tensor) -> np.ndarray:
        return self.handle.vae.decode(latent)[0].float().cpu().numpy()


def with_values(conditioning: list, values: dict) -> list:
    """A CONDITIONING with more values, the old one untouched."""
    return [[tensor, {**rest, **values}] for tensor, rest in conditioning]
