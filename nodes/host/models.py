"""A bundle as the host's own objects: MODEL, VAE, CLIP and AUDIO_ENCODER, loaded and moved by the host.

Shapes: latents BCthw, speech_BtsND grouped by latent frame (`models.dit.group_speech`), text_BLD.
"""

from __future__ import annotations

from pathlib import Path

import comfy.conds
import comfy.context_windows
import comfy.latent_formats
import comfy.ldm.modules.attention
import comfy.model_base
import comfy.patcher_extension as extension
import comfy.supported_models_base
import torch
from torch import Tensor

from ...omnisync_core.checkpoint import Bundle, read_bundle, tensor_digest
from ...omnisync_core.engines.omnisync import Sampling, build_spec, check_sizes, own_sampling
from ...omnisync_core.errors import InputError
from ...omnisync_core.models.dit import DiT, DiTConfig, group_speech
from ...omnisync_core.windows.chunks import SHORTEST
from .encoders import SPEECH, AudioEncoder, text_clip
from .patchers import model_patcher
from .vae import VideoVAEAdapter

SPARE_CHANNELS = 2222
"""Width of a Wan-like transformer whose `memory_usage_factor` is 1 (the host's own figure)."""


def load_bundle(path: str | Path, weight_dtype: str = "default") -> tuple:
    """(MODEL, VAE, CLIP, AUDIO_ENCODER) of a bundle; `weight_dtype` is the transformer's. CheckpointError."""
    bundle = read_bundle(path)
    check_sizes(bundle)
    model = _transformer_patcher(bundle, weight_dtype)
    vae = VideoVAEAdapter(bundle)
    encoder = AudioEncoder.of_bundle(bundle, model.model.diffusion_model.config.speech_tokens)
    return model, vae, text_clip(bundle), encoder


def load_transformer(path: str, weight_dtype: str = "default", disable_dynamic: bool = False):
    """The MODEL of a bundle alone, as the host rebuilds it for another device or without dynamic memory."""
    return _transformer_patcher(read_bundle(path), weight_dtype, disable_dynamic)


def sampling_of(model) -> Sampling:
    """How a MODEL wants to be sampled: a bundle says so, of any other flow model the usual is taken."""
    transformer = getattr(model, "model", None)
    return transformer.sampling if isinstance(transformer, OmniSyncModel) else Sampling()


class OmniSyncModel(comfy.model_base.BaseModel):
    """The host's view of the transformer: which conditions it takes and how they are cut for a context window."""

    def __init__(self, config: OmniSyncConfig, bundle: Bundle, device=None):
        """`digest` is the transformer's own, `bundle_digest` that of the whole file at `bundle_path`."""
        super().__init__(config, comfy.model_base.ModelType.FLOW, device=device, unet_model=HostDiT)
        self.digest, self.bundle_digest = tensor_digest(bundle.tensors["dit"]), bundle.digest
        self.bundle_path, self.spec, self.sampling = bundle.path, build_spec(bundle), own_sampling(bundle)

    def extra_conds(self, **kwargs) -> dict:
        """`latent_image` becomes the source's channels; speech and text must fit the latents. InputError."""
        noise, device, sizes = kwargs["noise"], kwargs["device"], self.diffusion_model.config
        _check_latents(noise, sizes)
        out = super().extra_conds(**kwargs)
        source = kwargs.get("latent_image")
        out["source"] = comfy.conds.CONDNoiseShape(torch.zeros_like(noise) if source is None else source.to(device))
        _check_text(kwargs.get("cross_attn"), sizes)
        speech = _checked_speech(kwargs.get(SPEECH), noise.shape[2], sizes)
        out["speech"] = comfy.conds.CONDRegular(group_speech(speech).to(device))
        return out

    def resize_cond_for_context_window(self, cond_key, cond_value, window, x_in, device, retain_index_list=()):
        """A window of latent frames keeps their own speech and their own source."""
        dims = {"speech": 1, "source": 2}
        if cond_key not in dims:
            return None
        return comfy.context_windows.slice_cond(cond_value, window, x_in, device, temporal_dim=dims[cond_key])


class HostDiT(DiT):
    """The core's transformer with the host's layers, attention and door."""

    def __init__(self, config: DiTConfig, *, device=None, dtype=None, operations=None):
        super().__init__(config, device=device, dtype=dtype, operations=operations, attention=host_attention)
        self.dtype = dtype

    def forward(
        self, x, timestep, context=None, source=None, speech=None, control=None, transformer_options=None, **_
    ) -> Tensor:
        options = transformer_options or {}
        wrappers = extension.get_all_wrappers(extension.WrappersMP.DIFFUSION_MODEL, options)
        run = extension.WrapperExecutor.new_class_executor(self._velocity, self, wrappers)
        return run.execute(x, timestep, context, source, speech, options)

    def _velocity(self, x, timestep, context, source, speech, transformer_options) -> Tensor:
        return super().forward(
            x, timestep / 1000, source, speech, context, {"transformer_options": transformer_options}
        )


class LatentFormat(comfy.latent_formats.LatentFormat):
    """A bundle's autoencoder normalises its latents itself."""

    latent_channels = 16
    latent_dimensions = 3
    temporal_downscale_ratio = 4
    spacial_downscale_ratio = 8


class OmniSyncConfig(comfy.supported_models_base.BASE):
    """What the host asks of a model family."""

    unet_extra_config: dict = {}  # noqa: RUF012 - as the host declares it
    latent_format = LatentFormat
    sampling_settings = {"shift": 1.0, "multiplier": 1000}  # noqa: RUF012
    supported_inference_dtypes = [torch.bfloat16, torch.float16, torch.float32]  # noqa: RUF012

    def __init__(self, config: DiTConfig):
        super().__init__({"config": config})
        self.memory_usage_factor = config.width / SPARE_CHANNELS


def _transformer_patcher(bundle: Bundle, weight_dtype: str, disable_dynamic: bool = False):
    tensors, config = bundle.tensors["dit"], OmniSyncConfig(DiTConfig(**bundle.config["dit"]))

    def build() -> OmniSyncModel:
        return OmniSyncModel(config, bundle)

    patcher = model_patcher(config, build, tensors, f"{bundle.path} (dit)", weight_dtype, disable_dynamic)
    patcher.cached_patcher_init = (load_transformer, (str(bundle.path), weight_dtype))
    return patcher


def host_attention(q: Tensor, k: Tensor, v: Tensor, heads: int, transformer_options: dict | None = None) -> Tensor:
    """The attention that the host chose at its start or a node overrides."""
    attention = comfy.ldm.modules.attention.optimized_attention
    return attention(q, k, v, heads, transformer_options=transformer_options or {})


def _check_latents(noise: Tensor, sizes: DiTConfig) -> None:
    if noise.ndim != 5 or noise.shape[1] != sizes.latent_channels or any(side % 2 for side in noise.shape[-2:]):
        raise InputError(
            f"this model works on video latents (1, {sizes.latent_channels}, t, h, w) with even h and w, got "
            f"{tuple(noise.shape)}; encode pictures of a multiple of 16 pixels with the VAE of Load OmniSync Model"
        )


def _check_text(text: Tensor | None, sizes: DiTConfig) -> None:
    if text is None or text.shape[-1] != sizes.text_dim:
        found = "none" if text is None else f"features of width {text.shape[-1]}"
        raise InputError(
            f"this model reads text features of width {sizes.text_dim}, got {found}; "
            "use the CLIP of Load OmniSync Model in Encode Prompt T5"
        )


def _checked_speech(speech: Tensor | None, latent_frames: int, sizes: DiTConfig) -> Tensor:
    if speech is None:
        raise InputError("this conditioning holds no speech; make it with Encode Audio Whisper and Encode Prompt T5")
    if tuple(speech.shape[2:]) != (sizes.speech_tokens, sizes.speech_dim):
        raise InputError(
            f"this model hears {sizes.speech_tokens} x {sizes.speech_dim} features a frame, got "
            f"{' x '.join(map(str, speech.shape[2:]))}; use the AUDIO_ENCODER of the same Load OmniSync Model"
        )
    frames = 1 + DiT.stride * (latent_frames - 1)
    if speech.shape[1] < frames <= SHORTEST:  # so short a clip was filled with its last picture before it was encoded
        speech = torch.cat([speech, speech[:, -1:].expand(-1, frames - speech.shape[1], -1, -1)], 1)
    if speech.shape[1] != frames:
        raise InputError(
            f"the speech covers {speech.shape[1]} frames, the latents {frames}; "
            "set frame_count of Encode Audio Whisper to the number of pictures that were encoded"
        )
    return speech
