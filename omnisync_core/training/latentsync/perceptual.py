"""LPIPS over VGG 16 (Zhang et al., arXiv 1801.03924): how different two pictures look.

Keys are those of torchvision's `vgg16-397923af.pth` (`features.*`) and of LPIPS's `vgg.pth` (`lin0.model.1.weight`).
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...checkpoint import check_strictly
from ...models.published import read_content, tensors_of

WIDTHS = (64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)
"""Convolutions of each of VGG's five stages; between stages the picture is halved."""
MEAN, STD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""ImageNet's colours for pictures in -1..1."""
SMALLEST = 1e-10


def load_perceptual(vgg: str | Path, weights: str | Path) -> PerceptualDistance:
    """From the two public files, frozen. CheckpointError: damaged, or other networks."""
    features = tensors_of(read_content(Path(vgg)), "state_dict", vgg)
    tensors = {key: value for key, value in features.items() if not key.startswith("classifier.")}
    tensors |= tensors_of(read_content(Path(weights)), "state_dict", weights)
    network = PerceptualDistance()
    check_strictly(network, tensors, f"{vgg} with {weights}")
    network.load_state_dict(tensors)
    return network.eval().requires_grad_(False)


class PerceptualDistance(nn.Module):
    """Pictures (N, 3, H, W) in -1..1, at least 16 x 16, to distances (N,)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        self.ends: list[int] = []
        flat = [3, *(width for stage in WIDTHS for width in stage)]
        sizes = pairwise(flat)
        for widths in WIDTHS:
            layers += [nn.MaxPool2d(2)] if layers else []
            for _ in widths:
                layers += [nn.Conv2d(*next(sizes), 3, padding=1), nn.ReLU()]
            self.ends.append(len(layers) - 1)
        self.features = nn.Sequential(*layers)
        for index, stage in enumerate(WIDTHS):
            self.add_module(f"lin{index}", Weighting(stage[-1]))

    def forward(self, pictures: Tensor, others: Tensor) -> Tensor:
        x = torch.cat([pictures, others])
        mean, std = (torch.tensor(value, device=x.device, dtype=x.dtype)[:, None, None] for value in (MEAN, STD))
        x, distance = (x - mean) / std, 0.0
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.ends:
                one, other = F.normalize(x, dim=1, eps=SMALLEST).chunk(2)
                weighting = self.get_submodule(f"lin{self.ends.index(index)}")
                distance = distance + weighting((one - other).square()).mean((1, 2, 3))
        return distance


class Weighting(nn.Module):
    """How much each channel counts. `model.0` was dropout."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.model = nn.ModuleList([nn.Identity(), nn.Conv2d(width, 1, 1, bias=False)])

    def forward(self, x: Tensor) -> Tensor:
        return self.model[1](x)
