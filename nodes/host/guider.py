"""Guidance and noise as the host's samplers take them.

Shapes: latents BCthw (or BChw), mouth_T3 the mouth's x, y and width over the side of the picture, one row a frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import comfy.model_management as memory
import comfy.model_sampling
import comfy.nested_tensor
import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview
import torch
from torch import Tensor

from ...omnisync_core.diffusion import flow
from ...omnisync_core.diffusion.guidance import Guidance, mouth_per_latent_frame
from ...omnisync_core.errors import InputError
from ...omnisync_core.mouth.types import MouthTrack
from ...omnisync_core.spec import VideoSpec
from ...omnisync_core.windows import chunks
from .models import sampling_of

MIDDLE = (0.5, 0.5, 1 / VideoSpec().crop_scale)
"""Where a mouth is in its own crop."""
STRIDES = (8, 16, 32)
"""Pixels a latent position covers, in the families that the host knows."""
SPACINGS = ("linear", "shifted")
Mouth = MouthTrack | Tensor | None
"""Rows (T, 3) in the pictures that the latents show; or a track: its own rows where it is one of these pictures, else,
as with None, the middle of a crop."""


class DSCFGGuider(comfy.samplers.CFGGuider):
    """Classifier-free guidance whose weight depends on the noise level and on the distance to the mouth.

    Both branches go through one call of the host's batch function. `cfg` is the peak, so that a node which overrides
    the guidance's strength overrides that. With w_peak = w_base = cfg and gamma 0 it is the host's own guider.
    """

    def __init__(self, model_patcher):
        super().__init__(model_patcher)
        _check_flow(model_patcher)
        self.set_guidance(Guidance())

    def set_guidance(self, guidance: Guidance, mouth: Mouth = None) -> None:
        self.guidance, self.mouth = guidance, mouth
        self.set_cfg(guidance.w_peak)

    def predict_noise(self, x, timestep, model_options=None, seed=None):
        model_options = model_options or {}
        guidance = replace(self.guidance, w_peak=self.cfg)
        # The cache counts on the same branches at every step.
        skips = guidance.is_off and "easycache" not in model_options.get("transformer_options", {})
        options = {
            **model_options,
            "sampler_cfg_function": weighting(guidance, self.mouth),
            "disable_cfg1_optimization": not skips,
        }
        negative, positive = self.conds.get("negative"), self.conds.get("positive")
        return comfy.samplers.sampling_function(
            self.inner_model, x, timestep, negative, positive, 1.0, model_options=options, seed=seed
        )


def weighting(guidance: Guidance, mouth: Mouth) -> Callable[[dict], Tensor]:
    """DS-CFG as the host's `sampler_cfg_function`: from both predictions to what is taken away from the input."""

    def combine(given: dict) -> Tensor:
        conditional, unconditional = given["cond_denoised"], given["uncond_denoised"]
        if guidance.is_off:
            return given["input"] - conditional
        weight = weight_map(guidance, given["sigma"], mouth, conditional.shape).to(conditional)
        return given["input"] - (unconditional + weight * (conditional - unconditional))

    return combine


def weight_map(guidance: Guidance, sigma: Tensor, mouth: Mouth, shape: tuple[int, ...]) -> Tensor:
    """Weights (t, h, w) for latents BCthw, (h, w) for BChw. InputError for latents of several streams."""
    if len(shape) not in (4, 5):
        raise InputError(f"DS-CFG needs latents of pictures or of video, got shape {tuple(shape)}; use CFG Guider here")
    frames = shape[2] if len(shape) == 5 else 1
    mouth_t3 = _per_latent(_mouth_in_latents(mouth, *shape[-2:]), frames)
    weight = guidance.weight(float(sigma.flatten()[0]), mouth_t3, tuple(shape[-2:]))
    return weight if len(shape) == 5 else weight[0]


def patch_guidance(model, guidance: Guidance, mouth: Mouth):
    """A clone of a MODEL on which every sampler of the host guides by DS-CFG, whatever its own cfg says."""
    _check_flow(model)
    model = model.clone()
    model.set_model_sampler_cfg_function(weighting(guidance, mouth), disable_cfg1_optimization=not guidance.is_off)
    return model


@dataclass(frozen=True)
class ProgressiveNoise:
    """NOISE: standard normal, the core's for the first window of a job with this seed."""

    job_seed: int

    @property
    def seed(self) -> int:
        return chunks.window_seed(self.job_seed, 0)

    def generate_noise(self, input_latent: dict) -> Tensor:
        return comfy.sample.prepare_noise(input_latent["samples"], self.seed, input_latent.get("batch_index"))


def progressive_sigmas(model, tau: float, steps: int, spacing: str) -> Tensor:
    """`steps` + 1 noise levels from tau to 0; `shifted` bends them as the model's own schedule is bent. InputError.

    0 for `tau` or `steps` is what the model was made for.
    """
    _check_flow(model)
    own = sampling_of(model)
    if spacing not in SPACINGS:
        raise InputError(f"spacing must be one of {', '.join(SPACINGS)}, got {spacing!r}")
    sigmas = flow.linear_sigmas(steps or own.steps, tau or own.tau)
    shift = float(getattr(model.get_model_object("model_sampling"), "shift", 1.0))
    return flow.shift_sigmas(sigmas, shift) if spacing == "shifted" else sigmas


def sample(guider, noise, sigmas: Tensor, latent: dict) -> dict:
    """Euler's steps along `sigmas`, as the host's own sampling node runs a guider; a new LATENT."""
    patcher, result = guider.model_patcher, latent.copy()
    scales = (result.pop("downscale_ratio_spacial", None), result.pop("downscale_ratio_temporal", None))
    result["samples"] = comfy.sample.fix_empty_latent_channels(patcher, latent["samples"], *scales)
    samples = guider.sample(
        noise.generate_noise(result),
        result["samples"],
        comfy.samplers.sampler_object("euler"),
        sigmas,
        denoise_mask=latent.get("noise_mask"),
        callback=latent_preview.prepare_callback(patcher, len(sigmas) - 1),
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        seed=noise.seed,
    )
    result["samples"] = samples.to(memory.intermediate_device())
    return result


def _check_flow(patcher) -> None:
    if not isinstance(patcher.get_model_object("model_sampling"), comfy.model_sampling.CONST):
        name = type(patcher.model).__name__
        raise InputError(f"{name} is no flow model: its noise is added in another way; use OmniSync, Wan or the like")


def _mouth_in_latents(mouth: Mouth, height: int, width: int) -> Tensor:
    """The mouth (T, 3) in pictures whose latents are height x width."""
    if isinstance(mouth, MouthTrack):
        wide, high = mouth.frame_size
        if any((wide // stride, high // stride) == (width, height) for stride in STRIDES):
            return torch.as_tensor(mouth.mouth_N3)
        mouth = None
    return torch.tensor([MIDDLE]) if mouth is None else torch.as_tensor(mouth, dtype=torch.float32)


def _per_latent(mouth_T3: Tensor, frames: int) -> Tensor:
    """The mouth of each latent frame: its own video frames' mean where the counts say which, else evenly spread."""
    count = len(mouth_T3)
    if frames > 1 and count > 1 and (count - 1) % (frames - 1) == 0:
        return mouth_per_latent_frame(mouth_T3, (count - 1) // (frames - 1))
    return mouth_T3[torch.linspace(0, count - 1, frames).round().long()]
