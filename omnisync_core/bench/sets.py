"""FID and FVD: features of each clip while it is seen, their Frechet distance over all clips at the end.

FID: Inception's pooled features of whole frames. FVD: I3D's of 16 consecutive frames of the face's crop, 224 x 224.
Both networks are the TorchScript files of StyleGAN's and StyleGAN-V's evaluations, which bring their own preprocessing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import CheckpointError, InputError
from .clip import RUN, Clip, Moment, face_crop
from .frechet import distance
from .measure import Column, Measure, Metric, Taken, Taking, WeightFile, digest, first_sentence, library

INCEPTION = WeightFile(
    "inception-2015-12-05.pt", "nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics",
    "NVIDIA Source Code License: not for commercial use",
)  # fmt: skip
I3D = WeightFile(
    "i3d_torchscript.pt", "huggingface.co/ByteDance/LatentSync-1.5 (auxiliary)", "OpenRAIL++ of that page as a whole; "
    "StyleGAN-V's copy of DeepMind's kinetics-i3d, Apache-2.0"
)  # fmt: skip
SIDE = 224
KINDS = ("result", "real")


def metrics() -> list[Metric]:
    return [
        Metric("fid", (Column("fid", "FID", "lower"),), _fid, "torchmetrics", (INCEPTION,)),
        Metric("fvd", (Column("fvd", "FVD", "lower"),), _fvd, "Frechet on I3D features", (I3D,)),
    ]


class _Network(Measure):
    def __init__(self, net: torch.nn.Module, key: str, device: str = "cpu") -> None:
        self.net, self.key, self.device = net, f"1 {key}", device


class Inception(_Network):
    """Frames to (N, 2048)."""

    def begin(self, clip: Clip) -> Taking:
        return _Frames(self)

    def features(self, picture: np.ndarray) -> np.ndarray:
        batch = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].to(self.device)
        with torch.inference_mode():
            return self.net(batch, return_features=True).float().cpu().numpy()[0]


class I3DFeatures(_Network):
    """Runs of 16 frames to (N, 400)."""

    def begin(self, clip: Clip) -> Taking:
        return _Runs(self)

    def features(self, crops_THWC: Sequence[np.ndarray]) -> np.ndarray:
        video = torch.from_numpy(np.stack(crops_THWC)).permute(3, 0, 1, 2)[None].float().to(self.device)
        with torch.inference_mode():
            return self.net(video, rescale=True, resize=True, return_features=True).float().cpu().numpy()[0]


class _Frames(Taking):
    def __init__(self, measure: Inception) -> None:
        self._measure = measure
        self._features: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS}

    def see(self, moment: Moment) -> None:
        for kind, picture in zip(KINDS, (moment.result, moment.source), strict=True):
            self._features[kind].append(self._measure.features(picture))

    def finish(self) -> Taken:
        return Taken(features={f"fid_{kind}": np.stack(rows) for kind, rows in self._features.items()})


class _Runs(Taking):
    def __init__(self, measure: I3DFeatures) -> None:
        self._measure, self._run = measure, -1
        self._held: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS}
        self._features: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS}

    def see(self, moment: Moment) -> None:
        if moment.run != self._run or moment.face_xys is None:
            self._run, self._held = moment.run, {kind: [] for kind in KINDS}
        if moment.face_xys is None:
            return
        for kind, picture in zip(KINDS, (moment.result, moment.source), strict=True):
            self._held[kind].append(face_crop(picture, moment.face_xys, SIDE))
            if len(self._held[kind]) == RUN:
                self._features[kind].append(self._measure.features(self._held[kind]))
                self._held[kind] = []

    def finish(self) -> Taken:
        if not self._features["result"]:
            raise InputError(f"FVD sees {RUN} consecutive frames with a mouth; this clip has no such run")
        return Taken(features={f"fvd_{kind}": np.stack(rows) for kind, rows in self._features.items()})


def pooled(name: str, real_ND: np.ndarray, made_ND: np.ndarray) -> float:
    """The distance of all features of the real clips and of the results; FID's by torchmetrics."""
    return _by_torchmetrics(real_ND, made_ND) if name == "fid" else distance(real_ND, made_ND)


class _Given(torch.nn.Module):
    """Features in the place of pictures."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features_ND: Tensor) -> Tensor:
        return features_ND


def _by_torchmetrics(real_ND: np.ndarray, made_ND: np.ndarray) -> float:
    fid = library("torchmetrics.image.fid").FrechetInceptionDistance(feature=_Given(real_ND.shape[1]))
    fid.update(torch.from_numpy(real_ND).double(), real=True)
    fid.update(torch.from_numpy(made_ND).double(), real=False)
    return float(fid.compute())


def _fid(folder: Path | None, device: str) -> Measure:
    path = INCEPTION.find(folder)
    library("torchmetrics")
    measure = Inception(_script(path, device), digest(path), device)
    _check_vector(path, measure.features, np.zeros((SIDE, SIDE, 3), np.uint8))
    return measure


def _fvd(folder: Path | None, device: str) -> Measure:
    path = I3D.find(folder)
    measure = I3DFeatures(_script(path, device), digest(path), device)
    _check_vector(path, measure.features, [np.zeros((SIDE, SIDE, 3), np.uint8)] * RUN)
    return measure


def _script(path: Path, device: str) -> torch.nn.Module:
    try:
        return torch.jit.load(str(path), map_location=device).eval()
    except (RuntimeError, ValueError) as error:
        reason = first_sentence(error)
        raise CheckpointError(f"{path} is damaged or no TorchScript ({reason}); download it again") from None


def _check_vector(path: Path, features: Callable[[Any], np.ndarray], black: Any) -> None:
    """CheckpointError unless the network takes what it will be given, and gives a vector for it."""
    try:
        found = features(black)
    except Exception:  # TorchScript's errors are of many kinds, and pages long
        found = np.zeros((0, 0))
    if found.ndim != 1 or not np.isfinite(found).all():
        raise CheckpointError(f"{path} is the TorchScript of another network; download it again")
