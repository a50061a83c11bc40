"""The OmniSync engine over the host's own models.

Shapes: frames_THWC 0..1, latents BCthw, speech_TND, mouth_T3 (x, y and width in the crop).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import comfy.model_management as memory
import comfy.samplers
import latent_preview
import numpy as np
import torch
from comfy.cli_args import LatentPreviewMethod, args
from PIL import Image
from torch import Tensor

from ....omnisync_core.audio import Wave
from ....omnisync_core.diffusion import flow
from ....omnisync_core.engines.latents import Encoded, Held, LatentEngine
from ....omnisync_core.engines.omnisync import Sampling
from ....omnisync_core.engines.protocol import Edit, Excerpt, OnStep
from ....omnisync_core.errors import InputError
from ....omnisync_core.models.whisper import SpeechFeatures
from ..digest import model_digest
from ..encoders import SPEECH
from ..guider import DSCFGGuider
from ..vae import decode_pictures, looks_at_source
from .handle import check_own_encoder, check_vae, model_options

LOAD_MODEL = "connect Load OmniSync Model"


@dataclass(frozen=True, eq=False)
class OmniSyncHandle:
    """The OmniSync engine: host MODEL, VAE, CLIP and AUDIO_ENCODER, and how to sample. InputError: they do not fit."""

    model: Any
    vae: Any
    clip: Any
    audio_encoder: Any
    sampling: Sampling

    def __post_init__(self):
        flow.linear_sigmas(self.sampling.steps, self.sampling.tau)
        model = getattr(self.model, "model", None)
        spec = getattr(model, "spec", None)
        if spec is None:
            other = getattr(model, "engine_node", None)
            found = f"one for {other}" if other else type(model).__name__
            raise InputError(f"the MODEL is {found}, not a transformer of OmniSync; {LOAD_MODEL}")
        sizes = {"channels": spec.latent_channels, "frames": spec.temporal_stride, "pixels": spec.spatial_stride}
        check_vae(self.vae, LOAD_MODEL, **sizes)
        if self.clip is None:
            raise InputError(f"there is no CLIP: the checkpoint before has none; {LOAD_MODEL}")
        _check_encoder(self.audio_encoder, model.diffusion_model.config)

    def get_models(self) -> list:
        return [self.model, self.vae.patcher, self.clip.patcher, self.audio_encoder.patcher]

    def open(self) -> HostEngine:
        return HostEngine(self)


class HostEngine(LatentEngine):
    """The core's `Engine` over the host's models: the same window, seed and settings give the core's own result.

    Sampling goes through the host's guider, so that whatever hangs on the MODEL works.
    """

    def __init__(self, handle: OmniSyncHandle):
        self._handle, self.sampling = handle, handle.sampling
        self.spec = handle.model.model.spec
        self.decodes_with_source = looks_at_source(handle.vae)
        self._text = handle.clip.encode_from_tokens_scheduled(handle.clip.tokenize(handle.sampling.prompt))
        self._previewer = latent_preview.get_previewer(handle.model.load_device, handle.model.model.latent_format)
        self._latest: tuple | None = None
        self.fingerprint = {
            "engine": "omnisync in ComfyUI",
            "models": [model_digest(patcher) for patcher in handle.get_models()],
            "transformer": asdict(handle.model.model.diffusion_model.config),
            "options": model_options(handle.model),
            **asdict(handle.sampling),
            "dtype": str(handle.model.model.get_dtype_inference()),
            "device": str(handle.model.load_device),
        }

    def speech(self, wave: Wave) -> SpeechFeatures:
        return self._handle.audio_encoder.features(wave)

    def edit_group(self, excerpts: Sequence[Excerpt], *, anchor: np.ndarray | None, on_step: OnStep) -> Iterator[Edit]:
        for edit in super().edit_group(excerpts, anchor=anchor, on_step=on_step):
            self._show(edit.edited_THWC[-1])
            yield edit

    def preview(self) -> tuple | None:
        """The last step (or window, where nothing turns these latents into pictures), if the host shows previews."""
        return self._latest

    def encode(self, frames_THWC: np.ndarray) -> Tensor:
        return self._handle.vae.encode(torch.from_numpy(np.ascontiguousarray(frames_THWC))).float()

    def sample(self, window: Encoded, held: Held | None, on_step: OnStep) -> Tensor:
        excerpt, source_BCthw = window.excerpt, window.source_BCthw

        def callback(step: int, x0: Tensor, x: Tensor, steps: int) -> None:
            if self._previewer is not None:
                self._latest = self._previewer.decode_latent_to_preview_image("JPEG", x0)
            on_step(step + 1, steps)

        guider = DSCFGGuider(self._handle.model)
        guider.set_conds(*_conditions(self._text, torch.as_tensor(excerpt.speech_TND)[None].float()))
        guider.set_guidance(self.sampling.guidance, torch.as_tensor(excerpt.mouth_T3, dtype=torch.float32))
        return guider.sample(
            torch.randn(source_BCthw.shape, generator=torch.Generator().manual_seed(excerpt.seed)),
            source_BCthw,
            comfy.samplers.KSAMPLER(anchored_euler, {"held": held}),
            flow.linear_sigmas(self.sampling.steps, self.sampling.tau),
            callback=callback,
            disable_pbar=True,
            seed=excerpt.seed,
        )

    def decode(self, latent_BCthw: Tensor, source_THWC: np.ndarray | None = None) -> np.ndarray:
        if source_THWC is None:
            return self._handle.vae.decode(latent_BCthw)[0].float().cpu().numpy()
        source = torch.from_numpy(np.ascontiguousarray(source_THWC))
        return torch.cat(list(decode_pictures(self._handle.vae, latent_BCthw, source))).float().cpu().numpy()

    def _show(self, picture_HWC: np.ndarray) -> None:
        if self._previewer is None and args.preview_method != LatentPreviewMethod.NoPreviews:
            picture = Image.fromarray(np.rint(picture_HWC * 255).astype(np.uint8))
            self._latest = ("JPEG", picture, latent_preview.MAX_PREVIEW_RESOLUTION)


def anchored_euler(model, x, sigmas, extra_args=None, callback=None, disable=None, held: Held | None = None):
    """Euler's steps as the host's KSAMPLER runs them; `held` latent frames stay on the path to what they shall be."""

    def hold(x: Tensor, sigma: Tensor) -> Tensor:
        return x if held is None else held.on_path(x, model.noise, sigma)

    denoised = x

    def velocity(x: Tensor, sigma: Tensor) -> Tensor:
        nonlocal denoised
        denoised = model(x, sigma * x.new_ones(len(x)), **(extra_args or {}))
        return flow.velocity(x, denoised, sigma)

    def finish_step(index: int, x: Tensor) -> Tensor:
        memory.throw_exception_if_processing_interrupted()
        if callback is not None:
            callback({"x": x, "i": index, "sigma": sigmas[index], "sigma_hat": sigmas[index], "denoised": denoised})
        return hold(x, sigmas[index + 1])

    return flow.euler(velocity, hold(x, sigmas[0]), sigmas, finish_step)


def _conditions(text: list, speech: Tensor) -> tuple[list, list]:
    """Positive and negative CONDITIONING: prompt and speech, and zeros in the place of both."""
    positive = [[words, {**values, SPEECH: speech}] for words, values in text]
    nothing = {"pooled_output": None, SPEECH: torch.zeros_like(speech)}
    return positive, [[torch.zeros_like(words), {**values, **nothing}] for words, values in text]


def _check_encoder(encoder, sizes) -> None:
    check_own_encoder(encoder, f"{LOAD_MODEL} (or Load Whisper Encoder of its size)")
    found, wanted = (encoder.tokens, encoder.model.width), (sizes.speech_tokens, sizes.speech_dim)
    if found != wanted:
        raise InputError(
            f"this Whisper gives {found[0]} x {found[1]} features a frame, the model hears {wanted[0]} x {wanted[1]}; "
            f"take the AUDIO_ENCODER of the same Load OmniSync Model"
        )
