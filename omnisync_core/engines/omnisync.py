"""The OmniSync engine: a window of crops in, the same window with the mouth saying the sound out.

Encode the source, start from progressive noise, follow the guided velocity to 0, decode. Shapes as in `models/dit.py`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..adapter import apply_adapter, read_adapter
from ..audio import Wave
from ..checkpoint import Bundle, check_strictly, read_bundle
from ..diffusion import flow
from ..diffusion.guidance import Guidance, guide, mouth_per_latent_frame
from ..errors import InputError
from ..models.dit import DiT, DiTConfig
from ..models.text import TextEncoder
from ..models.vae import VAEConfig, VideoVAE
from ..models.wan_vae import build_vae
from ..models.whisper import SpeechFeatures, WhisperEncoder
from ..spec import VideoSpec
from .latents import Encoded, Held, LatentEngine
from .protocol import Edit, Excerpt, OnStep

BUNDLED = Path(__file__).parents[1] / "assets" / "omnisync_mini.safetensors"
PROMPT = "A person speaks."
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Sampling:
    """How a window is sampled: steps from noise level tau to 0, guidance, prompt.

    A bundle says which it was made for (`own_sampling`); these defaults are for one that does not.
    """

    steps: int = 50
    tau: float = 0.92
    guidance: Guidance = field(default_factory=Guidance)
    prompt: str = PROMPT


class OmniSyncEngine(LatentEngine):
    """See `engines/protocol.py`. `resident(module)` is entered while a network is used: a host moves weights there."""

    def __init__(
        self,
        networks: dict[str, nn.Module],
        spec: VideoSpec,
        sampling: Sampling,
        digest: str,
        resident: Callable[[nn.Module], AbstractContextManager] = lambda module: nullcontext(),
    ) -> None:
        self.dit: DiT = networks["dit"]
        self.vae: VideoVAE = networks["vae"]
        self.whisper: WhisperEncoder = networks["whisper"]
        self.spec, self.sampling, self.resident = spec, sampling, resident
        self.decodes_with_source = self.vae.config.skips
        with torch.inference_mode(), resident(networks["text"]):
            self.text = networks["text"].encode([sampling.prompt])
        weight = self.dit.patch_embedding.weight
        self.fingerprint = {
            "engine": "omnisync", "model": digest, "transformer": asdict(self.dit.config), **asdict(sampling),
            "dtype": str(weight.dtype), "device": str(weight.device),
        }  # fmt: skip

    def speech(self, wave: Wave) -> SpeechFeatures:
        return SpeechFeatures(self.whisper, wave, self.dit.config.speech_tokens, self.resident)

    def prepare(self, excerpt: Excerpt) -> Encoded:
        if not self.decodes_with_source:
            return super().prepare(excerpt)
        with self.resident(self.vae):
            latent_BCthw, source = self.vae.encode_source(self._video(excerpt.frames_THWC))
            return Encoded(excerpt, latent_BCthw.float(), given=source)

    def finish(self, window: Encoded, result: Tensor) -> Edit:
        if not self.decodes_with_source:
            return super().finish(window, result)
        with self.resident(self.vae):
            edited_THWC = self._pictures(self.vae.decode_edit(result, window.given))
        return Edit(edited_THWC, window.excerpt.frames_THWC)

    def encode(self, frames_THWC: np.ndarray) -> Tensor:
        with self.resident(self.vae):
            return self.vae.encode(self._video(frames_THWC)).float()

    def sample(self, window: Encoded, held: Held | None, on_step: OnStep) -> Tensor:
        """From progressive noise on the source's latents to the edited ones."""
        with self.resident(self.dit):
            steps, tau = self.sampling.steps, self.sampling.tau
            source = window.source_BCthw.to(self.dit.patch_embedding.weight.device)
            eps = torch.randn(source.shape, generator=torch.Generator().manual_seed(window.excerpt.seed)).to(source)
            sigmas = flow.linear_sigmas(steps, tau)

            def hold(x: Tensor, sigma: Tensor) -> Tensor:
                return x if held is None else held.on_path(x, eps, sigma)

            def finish_step(index: int, x: Tensor) -> Tensor:
                on_step(index + 1, steps)
                return hold(x, sigmas[index + 1])

            start = hold(flow.add_noise(source, eps, tau), sigmas[0])
            velocity = self._guided_velocity(source, window.excerpt)
            return flow.euler(velocity, start, sigmas, finish_step)

    def decode(self, latent_BCthw: Tensor, source_THWC: np.ndarray | None = None) -> np.ndarray:
        with self.resident(self.vae):
            source = None if source_THWC is None else self._video(source_THWC)
            return self._pictures(self.vae.decode(latent_BCthw.to(self.vae.latent_mean.device), source))

    def _video(self, frames_THWC: np.ndarray) -> Tensor:
        """Pictures as the autoencoder takes them, where it is."""
        frames = torch.as_tensor(np.ascontiguousarray(frames_THWC), dtype=torch.float32)
        return frames.to(self.vae.latent_mean.device).permute(3, 0, 1, 2)[None] * 2 - 1

    @staticmethod
    def _pictures(video_BCTHW: Tensor) -> np.ndarray:
        return ((video_BCTHW[0].float() + 1) / 2).clamp(0, 1).permute(1, 2, 3, 0).cpu().numpy()

    def _guided_velocity(self, source: Tensor, excerpt: Excerpt) -> Callable[[Tensor, Tensor], Tensor]:
        """velocity(x, sigma): conditional and unconditional in one batch; the conditional alone where that is all."""
        guidance = self.sampling.guidance
        weight = self.dit.patch_embedding.weight
        place = {"device": weight.device, "dtype": weight.dtype}
        speech, text = torch.as_tensor(excerpt.speech_TND, **place)[None], self.text.to(**place)
        mouth = mouth_per_latent_frame(
            torch.as_tensor(excerpt.mouth_T3, dtype=torch.float32, device=weight.device), self.spec.temporal_stride
        )
        branches = 1 if guidance.is_off else 2
        conditions = [torch.cat([value, torch.zeros_like(value)][:branches]) for value in (speech, text)]
        sources = source.to(**place).expand(branches, *source.shape[1:])

        def velocity(x: Tensor, sigma: Tensor) -> Tensor:
            level = sigma.to(weight.device).expand(branches)
            out = self.dit(x.to(**place).expand(branches, *x.shape[1:]), level, sources, *conditions).float()
            if branches == 1:
                return out
            return guide(out[1:], out[:1], guidance.weight(sigma, mouth, tuple(x.shape[-2:])))

        return velocity


def load_engine(
    path: str | Path | None = None,
    *,
    adapter: str | Path | None = None,
    prompt: str = PROMPT,
    steps: int | None = None,
    tau: float | None = None,
    guidance: Guidance | Mapping[str, float | str] | None = None,
    device: str = "auto",
    dtype: str = "auto",
) -> OmniSyncEngine:
    """An engine from a bundle; None is the bundled mini. What is not given is as the bundle wants to be sampled.

    adapter: a speaker adapter over that bundle (`adapter.py`). guidance: a whole one, or some fields of it by name over
    the bundle's own. InputError, CheckpointError.
    """
    bundle = read_bundle(path or BUNDLED)
    sampling = choose_sampling(own_sampling(bundle), steps, tau, guidance, prompt)
    networks, spec, digest = ready_networks(bundle, device, dtype), build_spec(bundle), bundle.digest
    if adapter is not None:
        learned = read_adapter(adapter)
        apply_adapter(learned, networks, digest)
        digest = f"{digest}+{learned.digest}"
    return OmniSyncEngine(networks, spec, sampling, digest)


def choose_sampling(
    own: Sampling,
    steps: int | None = None,
    tau: float | None = None,
    guidance: Guidance | Mapping[str, float | str] | None = None,
    prompt: str = PROMPT,
) -> Sampling:
    """`own` with what somebody chose instead; None chooses nothing. InputError: out of bounds."""
    steps, tau = own.steps if steps is None else steps, own.tau if tau is None else tau
    flow.linear_sigmas(steps, tau)
    if not isinstance(guidance, Guidance):
        guidance = replace(own.guidance, **(guidance or {}))
    return Sampling(steps, tau, guidance, prompt)


def ready_networks(bundle: Bundle, device: str = "auto", dtype: str = "auto") -> dict[str, nn.Module]:
    """The networks of a bundle where they will run, frozen.

    `dtype` is the transformer's, and with bfloat16 the autoencoder's, whose numbers are too large for float16; the
    encoders of sound and text are float32.
    """
    place = choose_device(device)
    kind = choose_dtype(dtype, place)
    networks = build_networks(bundle)
    for part, module in networks.items():
        takes = part == "dit" or (part == "vae" and kind == torch.bfloat16)
        module.to(place, kind if takes else torch.float32).eval().requires_grad_(False)
    return networks


def build_networks(bundle: Bundle) -> dict[str, nn.Module]:
    """The four networks of a bundle with its weights, float32 on the CPU."""
    check_sizes(bundle)
    return {part: bundle.load_into(part, module) for part, module in _described(bundle).items()}


def check_sizes(bundle: Bundle) -> None:
    """CheckpointError unless a bundle's tensors are those of its configuration: asked before memory is.

    However large a model it describes, no more is taken than the file itself holds.
    """
    with torch.device("meta"):
        networks = _described(bundle)
    for part, module in networks.items():
        check_strictly(module, bundle.tensors[part], f"{bundle.path} ({part})")


def _described(bundle: Bundle) -> dict[str, nn.Module]:
    """The networks that a bundle describes, without its weights."""
    config = bundle.config
    return {
        "dit": DiT(DiTConfig(**config["dit"])),
        "vae": build_vae(vae_config(bundle)),
        "whisper": WhisperEncoder(config["whisper"]),
        "text": TextEncoder(config["text"]),
    }


def vae_config(bundle: Bundle) -> VAEConfig:
    """The sizes of a bundle's autoencoder."""
    fields = bundle.config["vae"].items()
    return VAEConfig(**{key: tuple(value) if isinstance(value, list) else value for key, value in fields})


def build_spec(bundle: Bundle) -> VideoSpec:
    """The size laws of a bundle."""
    return VideoSpec(**bundle.config["spec"])


def own_sampling(bundle: Bundle) -> Sampling:
    """How a bundle wants to be sampled: `sampling` in its configuration (steps, tau, guidance)."""
    fields = bundle.config.get("sampling", {})
    return Sampling(**fields | {"guidance": Guidance(**fields.get("guidance", {}))})


def choose_device(name: str) -> torch.device:
    if name != "auto":
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                counted = torch.ones(2, device=name)
                counted.sum().item()  # `meta` and others are known, and hold no numbers
                return counted.device
        except Exception as error:  # every backend has its own
            reason = [*str(error).splitlines(), type(error).__name__][0][:120]
            raise InputError(f"device {name!r} cannot be used here ({reason}); try cpu") from None
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """`auto`: bfloat16 where the hardware multiplies it fast, else float32."""
    if name != "auto":
        if name not in DTYPES:
            raise InputError(f"dtype must be auto or one of {', '.join(DTYPES)}, got {name!r}")
        return DTYPES[name]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    fast = device.type == "cpu" and torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if fast else torch.float32
