"""X-Dub's file as the host's own MODEL, and the engine over it, a Wan 2.2 VAE, Whisper large-v2 and wav2vec2 base.

Shapes: latents (B, 48, f, h, w), audio (1, f, 8, 2048), context (1, 512, 4096).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import comfy.conds
import comfy.latent_formats
import comfy.model_base
import comfy.model_management as memory
import comfy.patcher_extension as extension
import comfy.samplers
import comfy.supported_models_base
import comfy.utils
import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from ....omnisync_core.checkpoint import check_strictly, tensor_digest
from ....omnisync_core.engines.xdub.config import XDubConfig, hears, read_config
from ....omnisync_core.engines.xdub.dit import XDubDiT
from ....omnisync_core.engines.xdub.engine import Given, Settings, XDubEngine, check_hearing
from ....omnisync_core.engines.xdub.sampling import BRANCHES, Velocity, sigmas
from ....omnisync_core.engines.xdub.weights import PROMPT_FILE, read_prompt, write_prompt
from ....omnisync_core.errors import CheckpointError, InputError
from ....omnisync_core.models.whisper import read_whisper
from ..digest import model_digest
from ..encoders import AudioEncoder
from ..folders import GGUF, file_names, file_path, folder_of
from ..gguf import installed_pack
from ..models import SPARE_CHANNELS, host_attention
from ..patchers import stored, streamed_patcher
from ..weights import chosen_dtype
from .handle import check_kind, check_own_encoder, check_vae, model_options

LOADER = "connect Load X-Dub Model"
VAE_FILE = "connect Load VAE with that of Wan 2.2 5B, wan2.2_vae.safetensors"
WAV_FILE = "Load Audio Encoder with wav2vec2-base-960h"
TEXT_FOLDER = "text_encoders"
SOURCE, SOUND, MOTION = "xdub_source", "xdub_sound", "xdub_motion"
SCALES = (".weight_scale", ".input_scale", ".comfy_quant")
"""What the host keeps beside the weights of a scaled or quantised layer."""
TABLES = (".pe", ".modulation")
"""Tensors (1, rows, width)."""
PATCHES = "patch_embedding.weight"


def load_xdub(dit: Path, whisper: Path, weight_dtype: str = "default") -> tuple:
    """(MODEL, AUDIO_ENCODER) of the published files. CheckpointError: other files."""
    model = load_dit_patcher(str(dit), weight_dtype)
    network = read_whisper(whisper)
    return model, AudioEncoder(network, tensor_digest(network.state_dict()), 1)


def load_dit_patcher(path: str, weight_dtype: str = "default", disable_dynamic: bool = False):
    """The MODEL alone, as the host rebuilds it for another device or without dynamic memory."""
    if path.lower().endswith(GGUF):
        return _load_gguf(path, weight_dtype)
    tensors, quantised = _read(path)
    config, device = XDubModelConfig(read_config(tensors)), memory.get_torch_device()
    plain = {key: value for key, value in tensors.items() if not key.endswith(SCALES)}
    check_strictly(XDubDiT(config.unet_config["config"], device="meta"), plain, path)
    kinds, kept = config.supported_inference_dtypes, chosen_dtype(weight_dtype)
    if quantised:
        config.quant_config, kept = quantised, None
    found = None if quantised else comfy.utils.weight_dtype(tensors)
    kept = kept or memory.unet_dtype(
        model_params=comfy.utils.calculate_parameters(tensors), supported_dtypes=kinds, weight_dtype=found
    )
    cast = memory.unet_manual_cast(None if quantised else kept, device, kinds)
    config.set_inference_dtype(kept, cast, device=device)
    model = XDubModel(config)
    patcher = streamed_patcher(model, device, memory.unet_offload_device(), disable_dynamic)
    model.load_model_weights(dict(tensors) if quantised else stored(tensors, kept), "", assign=patcher.is_dynamic())
    patcher.cached_patcher_init = (load_dit_patcher, (path, weight_dtype))
    return patcher


def _load_gguf(path: str, weight_dtype: str):
    """The MODEL of a GGUF file: ours on the layers and with the patcher of ComfyUI-GGUF. `weight_dtype` computes."""
    pack, chosen = installed_pack(path), chosen_dtype(weight_dtype)
    if chosen is not None and chosen.itemsize == 1:
        raise InputError(f"{path} is quantised already, weight_dtype {weight_dtype} cannot be had of it: take default")
    tensors = pack.read(path, TABLES)
    if PATCHES not in tensors and hears(tensors):
        raise CheckpointError(
            f"{path} has no {PATCHES}, which the tools of ComfyUI-GGUF leave out at first: run their "
            "fix_5d_tensors.py on it"
        )
    config, device = XDubModelConfig(read_config(tensors)), memory.get_torch_device()
    check_strictly(XDubDiT(config.unet_config["config"], device="meta"), tensors, path)
    numbers, kinds = sum(math.prod(value.shape) for value in tensors.values()), config.supported_inference_dtypes
    computes = chosen or memory.unet_dtype(model_params=numbers, supported_dtypes=kinds)
    config.set_inference_dtype(computes, memory.unet_manual_cast(computes, device, kinds), device=device)
    config.custom_operations = pack.operations
    model = XDubModel(config)
    model.load_model_weights(tensors)
    patcher = pack.patcher(model, load_device=device, offload_device=memory.unet_offload_device())
    patcher.cached_patcher_init = (load_dit_patcher, (path, weight_dtype))
    return patcher


def _read(path: str) -> tuple[dict[str, Tensor], dict | None]:
    """Tensors, and what the host says of their quantisation. CheckpointError."""
    try:
        tensors, metadata = comfy.utils.load_torch_file(path, safe_load=True, return_metadata=True)
    except (SafetensorError, OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(f"{path} is damaged or no safetensors file ({reason}); copy it again") from None
    scaled = "scaled_fp8" in tensors
    if scaled and not any(key.endswith((".scale_weight", ".weight_scale")) for key in tensors):
        raise CheckpointError(f"{path} says that its fp8 weights are scaled but holds no scales; download it again")
    tensors, _ = comfy.utils.convert_old_quants(tensors, "", metadata=metadata)
    return tensors, comfy.utils.detect_layer_quantization(tensors, "")


class XDubModel(comfy.model_base.BaseModel):
    """The host's view of the transformer; it is sampled by its own engine."""

    engine_node = "X-Dub Engine"

    def __init__(self, config: XDubModelConfig, device=None):
        super().__init__(config, comfy.model_base.ModelType.FLOW, device=device, unet_model=HostXDubDiT)

    def extra_conds(self, **kwargs) -> dict:
        if kwargs.get(SOURCE) is None:
            raise InputError("an X-Dub MODEL is not sampled by KSampler: connect it to X-Dub Engine")
        out, device = super().extra_conds(**kwargs), kwargs["device"]
        out["ref_latents"] = comfy.conds.CONDRegular(kwargs[SOURCE].to(device))
        out["audio_feats"] = comfy.conds.CONDRegular(kwargs[SOUND].to(device))
        out["motion_frames"] = comfy.conds.CONDConstant(kwargs[MOTION])
        return out


class HostXDubDiT(XDubDiT):
    """The core's transformer with the host's layers, attention and door."""

    def __init__(self, config: XDubConfig, *, device=None, dtype=None, operations=None):
        super().__init__(config, device=device, dtype=dtype, operations=operations, attention=host_attention)
        self.dtype = dtype

    def forward(
        self, x, timestep, context=None, ref_latents=None, audio_feats=None, motion_frames=0, control=None,
        transformer_options=None, **_,
    ) -> Tensor:  # fmt: skip
        options = transformer_options or {}
        wrappers = extension.get_all_wrappers(extension.WrappersMP.DIFFUSION_MODEL, options)
        run = extension.WrapperExecutor.new_class_executor(self._velocity, self, wrappers)
        return run.execute(x, timestep, context, ref_latents, audio_feats, motion_frames, options)

    def _velocity(self, x, timestep, context, ref_latents, audio_feats, motion_frames, transformer_options) -> Tensor:
        return super().forward(
            x, timestep, ref_latents=ref_latents, context=context, audio_feats=audio_feats,
            motion_frames=motion_frames, hints={"transformer_options": transformer_options},
        )  # fmt: skip


class XDubModelConfig(comfy.supported_models_base.BASE):
    """What the host asks of a model family."""

    unet_extra_config: dict = {}  # noqa: RUF012 - as the host declares it
    latent_format = comfy.latent_formats.Wan22
    sampling_settings = {"shift": 1.0, "multiplier": 1000}  # noqa: RUF012
    supported_inference_dtypes = [torch.bfloat16, torch.float16, torch.float32]  # noqa: RUF012

    def __init__(self, config: XDubConfig):
        super().__init__({"config": config})
        # The sequence holds the source's tokens beside the latents that the host counts.
        self.memory_usage_factor = 2 * config.width / SPARE_CHANNELS


@dataclass(frozen=True, eq=False)
class XDubHandle:
    """The ENGINE: host MODEL, Wan 2.2 VAE and both AUDIO_ENCODERs, and how to draw. InputError: they do not fit.

    `clip` (umT5-XXL) is needed once: what it makes of the empty prompt is kept in models/text_encoders.
    """

    model: Any
    vae: Any
    whisper: Any
    wav2vec2: Any
    settings: Settings
    clip: Any = None

    def __post_init__(self):
        check_model(self.model)
        check_vae(self.vae, VAE_FILE, channels=48, dimensions=3)
        _check_encoders(self.whisper, self.wav2vec2, self.model.model.diffusion_model.config)
        if self.clip is None and PROMPT_FILE not in file_names(TEXT_FOLDER):
            raise InputError(
                "X-Dub reads an empty prompt, which umT5-XXL must put into numbers once: connect Load CLIP "
                f"(umt5_xxl, type wan) to clip; it is kept as {PROMPT_FILE} in models/{TEXT_FOLDER}"
            )

    def get_models(self) -> list:
        return [self.model, self.vae.patcher, self.whisper.patcher, self.wav2vec2.patcher]

    def open(self) -> XDubEngine:
        return XDubEngine(
            HostDenoiser(self.model, self.settings),
            HostCodec(self.vae, self.model.model),
            self.whisper.model,
            self._hear,
            self._prompt(),
            self.settings,
            [*map(model_digest, self.get_models()), str(model_options(self.model))],
            self.whisper.resident,
        )

    @torch.inference_mode()
    def _hear(self, wave_S: np.ndarray) -> np.ndarray:
        """The last states of a normalised wave; the host's encoder of this kind does not normalise."""
        memory.throw_exception_if_processing_interrupted()
        encoded = self.wav2vec2.encode_audio(torch.from_numpy(wave_S)[None, None], 16000)
        return encoded["encoded_audio"][0].float().cpu().numpy()

    def _prompt(self) -> Tensor:
        """The empty prompt's row: the kept one, else made by `clip` and kept."""
        if PROMPT_FILE in file_names(TEXT_FOLDER):
            row = read_prompt(file_path(TEXT_FOLDER, PROMPT_FILE))
        else:
            text = self.clip.encode_from_tokens_scheduled(self.clip.tokenize(""))[0][0]
            self._check_text(text.shape[-1])
            row = write_prompt(folder_of(TEXT_FOLDER) / PROMPT_FILE, text[0])
        self._check_text(row.shape[-1])
        return row

    def _check_text(self, width: int) -> None:
        wanted = self.model.model.diffusion_model.config.text_dim
        if width != wanted:
            raise InputError(
                f"this X-Dub reads text of width {wanted}, the empty prompt has {width}; load umt5_xxl with type wan "
                f"and delete {PROMPT_FILE} in models/{TEXT_FOLDER} if it is of another model"
            )


class HostDenoiser:
    """A `Denoiser` over a MODEL by the host's own guider: LoRA, casts, offloading, batches by memory, other GPUs."""

    def __init__(self, patcher, settings: Settings):
        self._patcher, self._levels = patcher, sigmas(settings.steps)
        self.device, self.dtype = patcher.load_device, patcher.model.get_dtype_inference()

    def run(self, given: Given, work: Callable[[Velocity], Tensor]) -> Tensor:
        guider, sampler = comfy.samplers.CFGGuider(self._patcher), BranchSampler(work)
        guider.inner_set_conds(
            {
                branch: [[given.context, {SOURCE: given.reference(branch), SOUND: given.sound(branch),
                                          MOTION: given.motion_frames}]]
                for branch in BRANCHES
            }
        )  # fmt: skip
        nothing = torch.zeros_like(given.source)
        guider.sample(nothing, nothing, sampler, self._levels, disable_pbar=True, seed=0)
        return sampler.result


class BranchSampler(comfy.samplers.Sampler):
    """Lets the core sample while the host holds the model: each step's branches are conditions of one host call."""

    def __init__(self, work: Callable[[Velocity], Tensor]):
        self._work = work

    def sample(
        self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None, disable_pbar=False
    ) -> Tensor:
        options = extra_args["model_options"]

        def velocity(latents: Tensor, sigma: float, branches: tuple[str, ...]) -> Tensor:
            memory.throw_exception_if_processing_interrupted()
            x = latents.to(noise)
            conds = [model_wrap.conds[branch] for branch in branches]
            level = torch.full((len(x),), sigma, device=x.device)
            clean = comfy.samplers.calc_cond_batch(model_wrap.inner_model, conds, x, level, options)
            return ((x - torch.cat(clean)) / sigma).float().cpu()

        self.result = self._work(velocity)
        return torch.zeros_like(noise)


class HostCodec:
    """A Wan 2.2 VAE of the host; latents are brought to the network's scale."""

    def __init__(self, vae, model):
        self._vae, self._model = vae, model

    def encode(self, frames_THWC: np.ndarray) -> Tensor:
        latents = self._vae.encode(torch.from_numpy(np.ascontiguousarray(frames_THWC, np.float32)))
        return self._model.process_latent_in(latents.float()).cpu()

    def decode(self, latents: Tensor) -> np.ndarray:
        return self._vae.decode(self._model.process_latent_out(latents))[0].float().cpu().numpy()


def check_model(patcher) -> None:
    is_wan = isinstance(getattr(patcher, "model", None), comfy.model_base.WAN21)
    hint = ", which hears nothing, even of X-Dub's file" if is_wan else ""
    check_kind(patcher, XDubModel, "X-Dub's transformer", LOADER, hint)


def _check_encoders(whisper, wav2vec2, sizes: XDubConfig) -> None:
    check_own_encoder(whisper, f"{LOADER}, its second output")
    projection = getattr(getattr(wav2vec2, "model", None), "feature_projection", None)
    if projection is None:
        raise InputError(f"wav2vec2 is no wav2vec2 encoder: connect {WAV_FILE}")
    if wav2vec2.model.do_normalize:
        raise InputError(f"wav2vec2 is another size of it, which normalises by itself: connect {WAV_FILE}")
    check_hearing(sizes, whisper.model, projection.projection.out_features)
