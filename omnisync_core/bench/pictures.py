"""Metrics of pictures by kept libraries: against the truth (torchmetrics, piq) and without any reference (pyiqa).

Whole frames, the mean over a clip's moments. Nothing is downloaded: every network gets its file, or is Missing.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..checkpoint import load_strictly
from ..errors import CheckpointError, InputError
from ..models.published import read_content, tensors_of
from .clip import Moment
from .measure import Column, MeanOverMoments, Measure, Metric, WeightFile, digest, first_sentence, library

NO_TRUTH = "no truth to compare with"
LOUDEST_DB = 100.0
"""What two equal pictures are given."""
SMALLEST = 32
"""Pixels of a side below which the libraries fail."""
PYIQA_PLACE = "huggingface.co/chaofengc/IQA-PyTorch-Weights"
PYIQA_LICENCE = "CC BY-NC-SA 4.0: not for commercial use"
ALEXNET = WeightFile(
    "alexnet-owt-7be5be79.pth", "download.pytorch.org/models", "BSD-3-Clause, torchvision's; the linear heads come "
    "with torchmetrics"
)  # fmt: skip
NO_REFERENCE_FILES = {
    "niqe": WeightFile("niqe_modelparameters.mat", PYIQA_PLACE, PYIQA_LICENCE),
    "brisque": WeightFile("brisque_svm_weights.pth", PYIQA_PLACE, PYIQA_LICENCE),
    "hyperiqa": WeightFile("HyperIQA-resnet50-koniq10k-c96c41b1.pth", PYIQA_PLACE, PYIQA_LICENCE),
}


def against_truth() -> list[Metric]:
    """LPIPS, SSIM, PSNR, GMSD."""
    return [
        Metric("lpips", (Column("lpips", "LPIPS", "lower"),), _lpips, "torchmetrics", (ALEXNET,)),
        Metric("ssim", (Column("ssim", "SSIM"),), _ssim, "torchmetrics"),
        Metric("psnr", (Column("psnr", "PSNR", digits=2),), _psnr, "torchmetrics"),
        Metric("gmsd", (Column("gmsd", "GMSD", "lower"),), _gmsd, "piq"),
    ]


def without_reference() -> list[Metric]:
    """NIQE, BRISQUE, HyperIQA."""
    columns = {
        "niqe": Column("niqe", "NIQE", "lower"), "brisque": Column("brisque", "BRISQUE", "lower"),
        "hyperiqa": Column("hyperiqa", "HyperIQA", scale=100),
    }  # fmt: skip
    return [
        Metric(name, (column,), _no_reference(name), "pyiqa", (NO_REFERENCE_FILES[name],))
        for name, column in columns.items()
    ]


def as_batch(picture: np.ndarray, device: str = "cpu") -> Tensor:
    """A picture as (1, 3, H, W), 0..1."""
    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].to(device).float() / 255


def check_plain(path: Path) -> None:
    """CheckpointError unless a file of torch's own kind holds nothing but tensors: others may be read carelessly."""
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = first_sentence(error)
        raise CheckpointError(f"{path} is damaged or holds more than tensors ({reason}); download it again") from None


def _lpips(folder: Path | None, device: str) -> Measure:
    path = ALEXNET.find(folder)
    library("torchvision")
    net = library("torchmetrics.functional.image.lpips")._LPIPS(net="alex", pnet_rand=True).eval()
    _fill_backbone(net.net, path)
    net = net.to(device).requires_grad_(False)

    def apart(result: np.ndarray, truth: np.ndarray) -> float:
        with torch.inference_mode():
            return float(net(as_batch(result, device), as_batch(truth, device), normalize=True))

    return _compared("lpips", apart, digest(path))


def _fill_backbone(backbone: nn.Module, path: Path) -> None:
    """torchvision's AlexNet into the slices that torchmetrics cuts it into, which keep its layers' numbers."""
    tensors = tensors_of(read_content(path), "state_dict", path)
    wanted = {key: f"features.{key.split('.', 1)[1]}" for key in backbone.state_dict()}
    chosen = {key: tensors[name] for key, name in wanted.items() if name in tensors}
    load_strictly(backbone, chosen, f"{path} (torchvision's AlexNet)")


def _ssim(folder: Path | None, device: str) -> Measure:
    functional = library("torchmetrics.functional.image")

    def near(result: np.ndarray, truth: np.ndarray) -> float:
        batches = as_batch(result, device), as_batch(truth, device)
        return float(functional.structural_similarity_index_measure(*batches, data_range=1.0))

    return _compared("ssim", near)


def _psnr(folder: Path | None, device: str) -> Measure:
    functional = library("torchmetrics.functional.image")

    def decibels(result: np.ndarray, truth: np.ndarray) -> float:
        batches = as_batch(result, device), as_batch(truth, device)
        return min(LOUDEST_DB, float(functional.peak_signal_noise_ratio(*batches, data_range=1.0)))

    return _compared("psnr", decibels)


def _gmsd(folder: Path | None, device: str) -> Measure:
    piq = library("piq")
    return _compared("gmsd", lambda a, b: float(piq.gmsd(as_batch(a, device), as_batch(b, device), data_range=1.0)))


def _compared(column: str, figure: Callable[[np.ndarray, np.ndarray], float], weights: str = "") -> Measure:
    def of(moment: Moment) -> float | None:
        if moment.truth is None:
            return None
        _check_size(moment.result)
        return figure(moment.result, moment.truth)

    return MeanOverMoments(column, of, f"1 {weights}", NO_TRUTH)


def _no_reference(name: str) -> Callable[[Path | None, str], Measure]:
    def build(folder: Path | None, device: str) -> Measure:
        path = NO_REFERENCE_FILES[name].find(folder)
        if path.suffix != ".mat":
            check_plain(path)
        net = _create(name, path, device)

        def figure(moment: Moment) -> float:
            _check_size(moment.result)
            with torch.inference_mode():
                return float(net(as_batch(moment.result, device)))

        return MeanOverMoments(name, figure, f"1 {digest(path)}", "no frames")

    return build


def _create(name: str, path: Path, device: str) -> Any:
    pyiqa = library("pyiqa")
    with _no_backbone_download():
        try:
            return pyiqa.create_metric(name, device=torch.device(device), pretrained_model_path=str(path))
        except (KeyError, RuntimeError, ValueError, TypeError, OSError) as error:
            reason = first_sentence(error)
            raise CheckpointError(f"{path} is not what pyiqa's {name} reads ({reason}); download it again") from None


@contextmanager
def _no_backbone_download() -> Iterator[None]:
    """pyiqa's HyperIQA asks timm for ImageNet's weights from the network, to replace all of them by the file's."""
    module: Any = library("pyiqa.archs.hypernet_arch", "pyiqa")
    timm = module.timm
    module.timm = SimpleNamespace(
        create_model=lambda model, pretrained, **settings: timm.create_model(model, pretrained=False, **settings)
    )
    try:
        yield
    finally:
        module.timm = timm


def _check_size(picture: np.ndarray) -> None:
    height, width = picture.shape[:2]
    if min(height, width) < SMALLEST:
        raise InputError(f"the frames are {width} x {height}; this metric needs at least {SMALLEST} a side")
