"""OmniEdit (arXiv 2603.09084): edit by carrying a source along the difference of two velocities, without training.

Conventions of `flow.py`: x_s = (1 - s) x0 + s e, v = e - x0, s = sigma in 0..1. A model is only met as a function of
(latents, sigma, branches); what a branch hears or reads is the caller's. Legend:

    x0   the source's latent          e    the noise the source is carried in, e' that of the next level
    Zs   the source at level s        vq   velocity of the source branch at Zs
    Zt   the target's sequence        vp   velocity of the target branch at Zt, guided away from the source branch
    s'   the next level, 0 after the last of `sigmas`
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor

from ..diffusion.guidance import guide
from ..errors import InputError

NOISES = ("estimated", "deterministic", "random")
Latents = TypeVar("Latents", Tensor, tuple[Tensor, Tensor])
Weight: TypeAlias = float | Tensor
Velocities = Callable[[Latents, Tensor, tuple[str, ...]], Latents]
"""(N latents stacked on a new first axis, sigma as 0-d tensor, N names "source" | "target") -> N stacked velocities."""


def edit(
    velocities: Velocities[Tensor],
    source_latent: Tensor,
    sigmas: Tensor | Sequence[float],
    *,
    start: int,
    end: int,
    cfg: float | Callable[[Tensor], Weight | None],
    noise: str = "estimated",
    draw: Callable[[torch.Size], Tensor],
    on_step: Callable[[int, Tensor, Tensor, Tensor], Tensor] | None = None,
) -> Tensor:
    """Algorithm 1: the latent of the edited video, shape and dtype of `source_latent` (any shape).

    `sigmas` (S,) falls and has no trailing 0: the last step goes from `sigmas[-1]` to 0. Steps `start`..`end`
    (inclusive; `end` may lie beyond the last) edit, those after `end` sample the target plainly:

        e  = rn(v_source(x0, sigmas[-1]) + x0)          with rn(x) = x sqrt(numel) / ||x||; x0 is fed clean
        Zt = Zs = (1 - s) x0 + s e                      at s = sigmas[start]
        i <= end:  vq = v_source(Zs, s)
                   e' = rn((1 - s) (Zs + (1 - s) vq) + s draw())
                   Zt = Zt + (s' - s) (vp - vq) + (s - s') x0 + s' e' - s e
        i > end:   Zt = Zt + (s' - s) vp

    Calls of `velocities`, in order: one with ("source",) at sigmas[-1]; then one per step with the branches that share
    its sigma, ("target", "source", "source") on (Zt, Zt, Zs), without the second where there is no guidance and
    without the third after `end`. 1 + 3 * 11 + 2 * 3 = 40 evaluations for 20 steps, start 6, end 16, cfg above 1.

    `cfg`: vp = v_source + cfg (v_target - v_source), both at Zt; up to 1 there is no guidance and vp = v_target.
    A function of sigma gives a weight per position instead (or None: no guidance at this sigma).

    `noise` chooses e and e':
        estimated      as above. One draw per editing step, also in one that ends at s' = 0.
        deterministic  e' = rn(Zs + (1 - s) vq): the paper's text, without a random part. Nothing is drawn.
        random         FlowEdit (arXiv 2412.08629, one draw averaged): e and every e' are fresh, nothing is rescaled
                       and the first call falls away. Its edit sequence is Zt - Zs + x0, in the same numbers. One draw
                       before the first step, one in each editing step that does not end at 0.

    State and arithmetic are in the dtype of `source_latent` (the official code: float32), velocities are cast to it.
    `start` = len(sigmas) leaves nothing to do: the source comes back. If both branches are the same and `end` reaches
    the last step, the source comes back too.

    `on_step(done, Zt, s, e)`, at the start (done = 0) and after each step, gives the Zt to go on from; raising cancels.
    """

    def single(latents: tuple[Tensor], sigma: Tensor, branches: tuple[str, ...]) -> tuple[Tensor]:
        return (velocities(latents[0], sigma, branches),)

    def weights(sigma: Tensor) -> Any:
        weight = cfg(sigma) if callable(cfg) else cfg
        return None if weight is None else (weight,)

    def tell(done: int, targets: tuple[Tensor], sigma: Tensor, noises: tuple[Tensor]) -> tuple[Tensor]:
        return (targets[0] if on_step is None else on_step(done, targets[0], sigma, noises[0]),)

    path = _Path(
        single, torch.as_tensor(sigmas), start, end, weights if callable(cfg) else _plain(cfg, 1), noise, draw,
        tell if on_step else None, rescaled_first=True,
    )  # fmt: skip
    return path.follow([_Stream(source_latent)])[0]


def edit_joint(
    velocities: Velocities[tuple[Tensor, Tensor]],
    source_latents: tuple[Tensor, Tensor],
    sigmas: Tensor | Sequence[float],
    *,
    start: int,
    end: int,
    cfg: float | Callable[[Tensor], tuple[Weight, Weight] | None],
    noise: str = "estimated",
    draw: Callable[[torch.Size], Tensor],
    on_step: Callable[[int, tuple, Tensor, tuple], tuple] | None = None,
    silent_source: bool = False,
) -> tuple[Tensor, Tensor]:
    """Algorithm 2: `edit` of a (video, audio) pair whose velocities come from one model.

    Pairs take the place of tensors: `velocities((videos_N, audios_N), sigma, branches)` takes and returns a pair of
    stacks, `source_latents` and the result are (video, audio). As `edit`, per stream (norms too), but as the official
    code:
    * The first estimate is not rescaled: e = v_source(x0, sigmas[-1]) + x0. The official schedule ends in 0 and the
      code reads `sigmas[-2]`; without the trailing 0 that is `sigmas[-1]`.
    * Draws are taken per editing step, video first, then audio.
    * State is cast to the dtype of `source_latents` after each step (the official code: bfloat16).
    1 + 3 * 28 = 85 evaluations for 40 steps, start 12, end 40, cfg above 1.

    The official code gives the *video's* source text to the audio stream in the very first evaluation (a slip). Here
    that is the call with the branches ("source",) alone, always the first one: `velocities` can do the same there.

    `silent_source`: the video has no sound. The second latent is then that of silence and is heard in the first call
    only: both branches' sounds start from the same noise, drawn before the first step and taken for the state at
    `sigmas[start]`, and are sampled plainly.
    """
    video, audio = source_latents
    streams = [_Stream(video), _Unsourced(audio) if silent_source else _Stream(audio)]
    weights = cfg if callable(cfg) else _plain(cfg, 2)
    path = _Path(velocities, torch.as_tensor(sigmas), start, end, weights, noise, draw, on_step, rescaled_first=False)
    video, audio = path.follow(streams)
    return video, audio


def humo_sigmas(steps: int = 20) -> Tensor:
    """(steps,) levels of the official HuMo schedule (shift 5), 1 first, the trailing 0 left out; float32."""
    _check_steps(steps)
    u = torch.linspace(1, 0, steps + 1)[:-1]
    return 5 * u / (1 + 4 * u)


def ltx_sigmas(steps: int = 40) -> Tensor:
    """(steps,) levels of LTX2Scheduler for 4096 tokens: shifted by exp(2.05), stretched to end at 0.1.

    The trailing 0 is left out; float32.
    """
    _check_steps(steps)
    if steps == 1:
        return torch.ones(1)
    u = torch.linspace(1, 0, steps + 1)[:-1]
    shifted = math.exp(2.05) / (math.exp(2.05) + (1 / u - 1))
    return 1 - (1 - shifted) * (0.9 / (1 - shifted[-1]))


@dataclass
class _Path:
    """One run of either algorithm over one or two streams."""

    velocities: Callable
    sigmas: Tensor
    start: int
    end: int
    weights: Callable[[Tensor], tuple[Weight, ...] | None]
    noise: str
    draw: Callable
    on_step: Callable | None
    rescaled_first: bool

    def __post_init__(self) -> None:
        if self.sigmas.ndim != 1 or not len(self.sigmas):
            raise InputError(f"sigmas must be one row of levels, got shape {tuple(self.sigmas.shape)}")
        if not (bool((self.sigmas > 0).all()) and bool((self.sigmas[1:] < self.sigmas[:-1]).all())):
            raise InputError("sigmas must fall and stay above 0 (the trailing 0 is left out)")
        if not 0 <= self.start <= len(self.sigmas):
            raise InputError(f"start must be within 0..{len(self.sigmas)} (the steps), got {self.start}")
        if self.noise not in NOISES:
            raise InputError(f"noise must be one of {', '.join(NOISES)}, got {self.noise!r}")

    def follow(self, streams: list[_Stream]) -> tuple[Tensor, ...]:
        """Take all steps; the targets at level 0."""
        if self.start == len(self.sigmas):
            return tuple(stream.x0 for stream in streams)
        levels = [*self.sigmas, torch.zeros_like(self.sigmas[0])]
        self._begin(streams, levels[self.start])
        for i in range(self.start, len(self.sigmas)):
            s, s_next = levels[i], levels[i + 1]
            if i <= self.end:
                sources = [stream.source(s) for stream in streams]
                vp, vq = self._evaluate(streams, s, sources)
                for stream, zs, p, q in zip(streams, sources, vp, vq, strict=True):
                    stream.edit(s, s_next, zs, p, q, self._next_noise)
            else:
                vp, _ = self._evaluate(streams, s)
                for stream, p in zip(streams, vp, strict=True):
                    stream.sample(s, s_next, p)
            self._tell(i + 1 - self.start, streams, s_next)
        return tuple(stream.target for stream in streams)

    def _begin(self, streams: list[_Stream], s: Tensor) -> None:
        for stream, e in zip(streams, self._first_noises(streams), strict=True):
            stream.begin(s, e)
        self._tell(0, streams, s)

    def _first_noises(self, streams: list[_Stream]) -> list[Tensor]:
        """e per stream: what the source branch makes of the clean source, fed at the lowest level."""
        if self.noise == "random":
            return [self._drawn(stream.x0) for stream in streams]
        v = self.velocities(tuple(stream.x0[None] for stream in streams), self.sigmas[-1], ("source",))
        estimated = [v_one[0].to(stream.x0) + stream.x0 for stream, v_one in zip(streams, v, strict=True)]
        if self.rescaled_first:
            estimated = [rescale(e) for e in estimated]
        return [
            self._drawn(stream.x0) if isinstance(stream, _Unsourced) else e
            for stream, e in zip(streams, estimated, strict=True)
        ]

    def _evaluate(
        self, streams: list[_Stream], s: Tensor, sources: Sequence[Tensor] = ()
    ) -> tuple[list[Tensor], list[Tensor]]:
        """(vp, vq) per stream, all branches in one call; vq is empty where the step does not edit (no `sources`)."""
        weights, editing = self.weights(s), bool(sources)
        branches = ("target",) + ("source",) * (weights is not None) + ("source",) * editing
        stacks = [[stream.target] * (len(branches) - editing) for stream in streams]
        for stack, zs in zip(stacks, sources, strict=False):
            stack.append(zs)
        v = self.velocities(tuple(torch.stack(stack) for stack in stacks), s, branches)
        v = [v_one.to(stream.x0) for stream, v_one in zip(streams, v, strict=True)]
        vp = [one[0] for one in v]
        if weights is not None:
            vp = [guide(one[1], one[0], torch.as_tensor(w)) for one, w in zip(v, weights, strict=True)]
        return vp, [one[-1] for one in v] if editing else []

    def _next_noise(self, zs: Tensor, s: Tensor, s_next: Tensor, vq: Tensor) -> Tensor:
        """e' from the source's point Zs and its velocity there."""
        estimated = zs + (1 - s) * vq
        if self.noise == "deterministic":
            return rescale(estimated)
        if self.noise == "estimated":
            return rescale((1 - s) * estimated + s * self._drawn(zs))
        return self._drawn(zs) if s_next > 0 else torch.zeros_like(zs)

    def _drawn(self, like: Tensor) -> Tensor:
        return self.draw(like.shape).to(like)

    def _tell(self, done: int, streams: list[_Stream], s: Tensor) -> None:
        if self.on_step is None:
            return
        targets = self.on_step(done, tuple(x.target for x in streams), s, tuple(x.e for x in streams))
        for stream, target in zip(streams, targets, strict=True):
            stream.target = target


class _Stream:
    """One latent on its way from source to target."""

    def __init__(self, x0: Tensor) -> None:
        self.x0 = x0

    def begin(self, s: Tensor, e: Tensor) -> None:
        self.e = e
        self.target = self.source(s)

    def source(self, s: Tensor) -> Tensor:
        return (1 - s) * self.x0 + s * self.e

    def edit(self, s: Tensor, s_next: Tensor, zs: Tensor, vp: Tensor, vq: Tensor, next_noise: Callable) -> None:
        e_next = next_noise(zs, s, s_next, vq)
        step = (s_next - s) * (vp - vq) + (s - s_next) * self.x0 + s_next * e_next - s * self.e
        self.target, self.e = (self.target + step).to(self.x0), e_next

    def sample(self, s: Tensor, s_next: Tensor, vp: Tensor) -> None:
        self.target = (self.target + (s_next - s) * vp).to(self.x0)


class _Unsourced(_Stream):
    """A latent without a source: both branches are sampled from the same noise."""

    def begin(self, s: Tensor, e: Tensor) -> None:
        self.e = self.target = self.followed = e

    def source(self, s: Tensor) -> Tensor:
        return self.followed

    def edit(self, s: Tensor, s_next: Tensor, zs: Tensor, vp: Tensor, vq: Tensor, next_noise: Callable) -> None:
        self.sample(s, s_next, vp)
        self.followed = self.followed + (s_next - s) * vq


def rescale(x: Tensor) -> Tensor:
    """x with the norm that Gaussian noise of its size has: sqrt(numel)."""
    return x * (math.sqrt(x.numel()) / torch.linalg.vector_norm(x))


def _plain(cfg: float, streams: int) -> Callable[[Tensor], tuple[float, ...] | None]:
    """Plain guidance: one number everywhere; none up to 1."""
    if not math.isfinite(cfg):
        raise InputError(f"cfg must be a finite number, got {cfg}")
    return lambda sigma: (float(cfg),) * streams if cfg > 1 else None


def _check_steps(steps: int) -> None:
    if steps < 1:
        raise InputError(f"steps must be at least 1, got {steps}")
