"""OmniEdit's trajectories (`omnisync_core/engines/omniedit.py`) over any of the host's flow models.

The guider holds the target's and the source's conditioning, the sampler follows the trajectory, `Branches` asks the
model. Nothing of the host is changed: conditioning is rewritten after the host has processed it, on copies.

Latents here are as samplers get them: (B, C, T, h, w), or (B, 1, L) where the host packs several streams into one.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace

import comfy.conds
import comfy.model_base
import comfy.model_management
import comfy.samplers
import comfy.utils
import torch
from torch import Tensor

from ...omnisync_core.diffusion.flow import add_noise
from ...omnisync_core.diffusion.guidance import Guidance, mouth_per_latent_frame
from ...omnisync_core.engines.latents import Held
from ...omnisync_core.engines.omniedit import Weight, edit, edit_joint
from ...omnisync_core.errors import InputError

ONE_BY_ONE = ("area", "mask", "hooks", "control", "gligen", "timestep_start", "timestep_end", "default")
"""What the host applies to a conditioning outside the model: such branches run one after the other."""
UNSTACKED = ("multigpu_clones", "context_handler")
"""Model options with which they do too: each GPU gets its share, and context windows know one latent at a time."""

ZERO_VIDEO = "omnisync_zero_video"
"""Key of the VAE's latent of a grey (zero) video in a CONDITIONING: what HuMo 17B is shown instead of frames."""
VIDEO_CHANNELS, MASK_CHANNELS = 16, 4


@dataclass(frozen=True)
class Focus:
    """DS-CFG over a plain `cfg`, which a weight of None stands for. At its defaults it is the plain cfg. InputError."""

    w_peak: float | None = None
    w_base: float | None = None
    gamma: float = 0.0
    sigma_g: float = 0.7
    convention: str = "floored"

    def __post_init__(self):
        self._over(1.0)

    def guidance(self, cfg: float) -> Guidance | None:
        """The weights, or None where they are OmniEdit's plain cfg: w_peak = w_base = cfg, and no fading."""
        weights = self._over(cfg)
        return None if weights.w_peak == weights.w_base == cfg and not weights.gamma else weights

    def _over(self, cfg: float) -> Guidance:
        w_peak, w_base = (cfg if weight is None else weight for weight in (self.w_peak, self.w_base))
        return Guidance(w_peak, w_base, self.gamma, self.sigma_g, self.convention)


class OmniEditGuider(comfy.samplers.CFGGuider):
    """Two branches, "target" and "source", for `OmniEditSampler`; with another sampler it is plain CFG over them."""

    focus = Focus()
    mouth_T3: Tensor | None = None

    def set_conds(self, target, source) -> None:
        self.inner_set_conds({"positive": target, "negative": source})

    def set_focus(self, focus: Focus, mouth_T3: Tensor | None) -> None:
        """`mouth_T3`: x, y over the picture's width and height, mouth width over its width, for each video frame."""
        self.focus, self.mouth_T3 = focus, mouth_T3

    def weights(self, cfg: float, shape: torch.Size, device: torch.device) -> float | Callable[[Tensor], Weight | None]:
        """The `cfg` of `edit` for a latent (B, C, T, h, w): a number, or weights (T, h, w) by sigma."""
        guidance = self.focus.guidance(cfg)
        if guidance is None:
            return cfg
        if guidance.is_off:
            return 1.0
        if self.mouth_T3 is None:
            everywhere = torch.tensor([[0.5, 0.5, 1e6]])
            return lambda sigma: guidance.weight(sigma, everywhere, (1, 1)).to(device)
        frames, height, width = shape[-3:]
        stride = temporal_stride(self.inner_model)
        mouth = on_square(per_latent_frame(self.mouth_T3.float(), frames, stride), height, width).to(device)
        side = max(height, width)
        return lambda sigma: guidance.weight(sigma, mouth, (side, side))[:, :height, :width]


class OmniEditSampler(comfy.samplers.Sampler):
    """Follows Algorithm 1, or Algorithm 2 where the latent holds a video and a sound. Needs an `OmniEditGuider`.

    `held` latent frames (raw VAE scale) stay on the path to what they shall be; `silent_source` says that the sound of
    a pair is no source's (see `edit_joint`).
    """

    def __init__(
        self, start: int, end: int, cfg: float, noise: str, held: Held | None = None, silent_source: bool = False
    ):
        self.start, self.end, self.cfg, self.noise = start, end, cfg, noise
        self.held, self.silent_source = held, silent_source

    def sample(
        self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None, disable_pbar=False
    ) -> Tensor:
        if not isinstance(model_wrap, OmniEditGuider):
            raise InputError(
                f"the OmniEdit Sampler needs two branches, got {type(model_wrap).__name__}; connect an OmniEdit Guider"
            )
        path = {
            "sigmas": without_end(sigmas), "start": self.start, "end": self.end, "noise": self.noise,
            "draw": seeded(extra_args.get("seed")),
        }  # fmt: skip
        run = Run(model_wrap, extra_args, callback, denoise_mask, latent_image, self.start)
        return self.follow(model_wrap, run, path)

    def follow(self, guider: OmniEditGuider, run: Run, path: dict) -> Tensor:
        shapes = guider.inner_model.latent_shapes or [run.source.shape]
        if len(shapes) == 1:
            cfg = guider.weights(self.cfg, run.source.shape, run.source.device)
            return edit(run.branches, run.source, **path, cfg=cfg, on_step=run.holding(self._held(guider)))
        return self._follow_pair(guider, run, path, shapes)

    def _follow_pair(self, guider: OmniEditGuider, run: Run, path: dict, shapes: list) -> Tensor:
        video, audio = comfy.utils.unpack_latents(run.source, shapes)
        weight = guider.weights(self.cfg, video.shape, video.device)
        sound_weight = max(self.cfg, 1.0)
        cfg = weight if isinstance(weight, float | int) else lambda sigma: (weight(sigma), sound_weight)
        step = run.holding(None)

        def velocities(latents, sigma, names):
            return unpacked(run.branches(packed(latents), sigma, names), shapes)

        def on_step(done, latents, sigma, noises):
            packed = step(done, pack(latents), sigma, pack(noises))
            return tuple(comfy.utils.unpack_latents(packed, shapes))

        pair = edit_joint(
            velocities, (video, audio), **path, cfg=cfg, on_step=on_step, silent_source=self.silent_source
        )
        return pack(pair)

    def _held(self, guider: OmniEditGuider) -> Held | None:
        """In the scale that the model works in."""
        held = self.held
        return held and replace(held, latent_BCthw=guider.inner_model.process_latent_in(held.latent_BCthw))


class Run:
    """One sampling: the model's branches, what is held, and who listens."""

    def __init__(self, guider: OmniEditGuider, extra_args: dict, callback, denoise_mask, source: Tensor, start: int):
        options = extra_args["model_options"]
        self.branches = Branches(guider, options, source.shape)
        self.callback, self.mask, self.source, self.start = callback, denoise_mask, source, start
        self.steps = len(options["transformer_options"]["sample_sigmas"]) - 1

    def holding(self, held: Held | None) -> Callable:
        """`on_step` of a trajectory: tells of a step, stops where the user did, holds frames and masked source."""

        def on_step(done: int, latent: Tensor, sigma: Tensor, noise: Tensor) -> Tensor:
            comfy.model_management.throw_exception_if_processing_interrupted()
            if self.mask is not None:
                latent = latent * self.mask + add_noise(self.source, noise, sigma) * (1 - self.mask)
            if held is not None:
                latent = held.on_path(latent, noise, sigma)
            if done and self.callback is not None:
                clean = (latent - sigma * noise) / (1 - sigma)
                self.callback(self.start + done - 1, clean, latent, self.steps)
            return latent

        return on_step


class Branches:
    """`velocities` of the core over the host's model, during one sampling.

    Branches that share a level are one stacked forward where the host's `memory_required` says that it fits and no
    other GPU waits for its share; else they run one after the other, those on the same latent in one call. Each place
    in a step has an id of its own, by which caches keep them apart.
    """

    def __init__(self, guider: OmniEditGuider, model_options: dict, shape: torch.Size):
        self.model, self.model_options, self.shape = guider.inner_model, model_options, shape
        conds = {"target": guider.conds["positive"], "source": guider.conds["negative"]}
        self.conds = {name: [as_omniedit(self.model, entry) for entry in entries] for name, entries in conds.items()}
        self._stacks: dict[tuple, dict | None] = {}
        self._ids: dict[tuple, uuid.UUID] = {}

    def __call__(self, latents_N: Tensor, sigma: Tensor, names: tuple[str, ...]) -> Tensor:
        stack = self._stack(names)
        if stack is not None and self._fits(stack, len(names)):
            clean = self._calculate([[stack]], latents_N.flatten(0, 1), sigma)[0].reshape(latents_N.shape)
        else:
            clean = torch.stack(self._one_by_one(latents_N, sigma, names))
        return (latents_N - clean) / sigma

    def _one_by_one(self, latents_N: Tensor, sigma: Tensor, names: tuple[str, ...]) -> list[Tensor]:
        clean: list[Tensor] = []
        while len(clean) < len(names):
            at = len(clean)
            latent, stop = latents_N[at], at + 1
            while stop < len(names) and torch.equal(latents_N[stop], latent):
                stop += 1
            conds = [
                [{**entry, "uuid": self._id(names, place, part)} for part, entry in enumerate(self.conds[names[place]])]
                for place in range(at, stop)
            ]
            clean += self._calculate(conds, latent, sigma)
        return clean

    def _calculate(self, conds: list[list[dict]], x: Tensor, sigma: Tensor) -> list[Tensor]:
        timestep = sigma.to(x).expand(len(x))
        return comfy.samplers.calc_cond_batch(self.model, conds, x, timestep, self.model_options)

    def _stack(self, names: tuple[str, ...]) -> dict | None:
        """One conditioning that holds the branches' side by side; None where they cannot be."""
        if names not in self._stacks:
            self._stacks[names] = self._stacked(names)
        return self._stacks[names]

    def _stacked(self, names: tuple[str, ...]) -> dict | None:
        entries = [self.conds[name] for name in names]
        plain = all(len(entry) == 1 and not any(entry[0].get(key) for key in ONE_BY_ONE) for entry in entries)
        if not plain or any(self.model_options.get(key) is not None for key in UNSTACKED):
            return None
        conds = [
            {key: cond.process_cond(batch_size=self.shape[0], area=None) for key, cond in entry["model_conds"].items()}
            for (entry,) in entries
        ]
        first, rest = conds[0], conds[1:]
        if not all(comfy.samplers.cond_equal_size(first, other) for other in rest):
            return None
        joined = {key: cond._copy_with(cond.concat([other[key] for other in rest])) for key, cond in first.items()}
        return {**entries[0][0], "model_conds": joined, "uuid": self._id(names, 0, -1)}

    def _fits(self, stack: dict, count: int) -> bool:
        if count == 1:
            return True
        shapes = defaultdict(list)
        for key, cond in stack["model_conds"].items():
            shapes[key].append(cond.size())
        needed = self.model.memory_required([count * self.shape[0], *self.shape[1:]], cond_shapes=shapes)
        return needed * 1.5 < self.model.current_patcher.get_free_memory(self.model.current_patcher.load_device)

    def _id(self, names: tuple[str, ...], place: int, part: int) -> uuid.UUID:
        return self._ids.setdefault((names, place, part), uuid.uuid4())


def as_omniedit(model, entry: dict) -> dict:
    """A processed conditioning as OmniEdit shows it to HuMo 17B; others are returned as they are.

    The host leaves the reference's own video channels empty and writes in constants for the zero video's latents.
    """
    conds = entry["model_conds"]
    reference = conds.get("reference_latent")
    if not isinstance(model, comfy.model_base.WAN21_HuMo) or reference is None:
        return entry
    if reference.cond.shape[1] != 2 * VIDEO_CHANNELS + MASK_CHANNELS:
        return entry
    filled = reference.cond.clone()
    filled[:, :VIDEO_CHANNELS] = filled[:, -VIDEO_CHANNELS:]
    changed = {"reference_latent": comfy.conds.CONDRegular(filled)}
    if entry.get(ZERO_VIDEO) is not None:
        shown = model.process_latent_in(entry[ZERO_VIDEO]).to(filled)
        mask = torch.zeros_like(shown[:, :MASK_CHANNELS])
        changed["c_concat"] = comfy.conds.CONDNoiseShape(torch.cat([mask, shown], 1))
    return {**entry, "model_conds": {**conds, **changed}}


def without_end(sigmas: Tensor) -> Tensor:
    """SIGMAS without the trailing 0, on the CPU as the schedules are."""
    if len(sigmas) < 2 or float(sigmas[-1]) != 0:
        raise InputError("OmniEdit needs a whole schedule: sigmas that fall to 0; do not split them")
    return sigmas[:-1].float().cpu()


def seeded(seed: int | None) -> Callable[[torch.Size], Tensor]:
    """The random draws of a seed, the same on every device."""
    generator = torch.Generator().manual_seed(seed or 0)
    return lambda shape: torch.randn(shape, generator=generator)


def per_latent_frame(mouth_T3: Tensor, frames: int, stride: int) -> Tensor:
    """The mouth per latent frame: the track cut, or its last place repeated, to the video's 1 + stride * k frames."""
    count = (frames - 1) * stride + 1
    padded = torch.cat([mouth_T3[:count], mouth_T3[-1:].expand(max(0, count - len(mouth_T3)), -1)])
    return mouth_per_latent_frame(padded, stride)


def on_square(mouth_T3: Tensor, height: int, width: int) -> Tensor:
    """Places over width and height of a picture as places over the square around it, so that distances are equal."""
    side = max(height, width)
    return mouth_T3 * torch.tensor([width / side, height / side, width / side])


def temporal_stride(model) -> int:
    """Video frames of a latent frame."""
    return int(getattr(model.latent_format, "temporal_downscale_ratio", 4) or 4)


def pack(streams) -> Tensor:
    """Streams as the host's one latent (B, 1, L)."""
    return comfy.utils.pack_latents(list(streams))[0]


def packed(streams_N) -> Tensor:
    """Stacked streams (N, B, ...) each as stacked packed latents (N, B, 1, L)."""
    count, batch = streams_N[0].shape[:2]
    return pack([stream.flatten(0, 1) for stream in streams_N]).unflatten(0, (count, batch))


def unpacked(packed_N: Tensor, shapes: list) -> tuple[Tensor, ...]:
    """Packed latents (N, B, 1, L) as stacked streams of these shapes."""
    streams = comfy.utils.unpack_latents(packed_N.flatten(0, 1), shapes)
    return tuple(stream.unflatten(0, packed_N.shape[:2]) for stream in streams)
