"""VideoSeal's and PixelSeal's networks: one hides a message in a picture, the other reads it.

Names are the published files' (facebookresearch/videoseal, cards videoseal_1.0 and pixelseal; Fernandez et al., 2024;
Soucek et al., 2025): a UNet over luma that is told the bits at its lowest level, and a ConvNeXt V2 (Woo et al., 2023).
Shapes: pictures BCHW, 0..1; bits and their logits BK.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .published import Shapes

EPS = 1e-6
SKIP = 2**-0.5
"""Of the UNet's ways from down to up."""


@dataclass(frozen=True)
class SealConfig:
    """By default VideoSeal 1.0's; PixelSeal's `widths` are twice as large."""

    widths: tuple[int, ...] = (16, 32, 64, 128)
    """Of the UNet, from full size to its lowest level."""
    blocks: int = 8
    """At that level."""
    bits: int = 256
    message_width: int = 256
    depths: tuple[int, ...] = (3, 3, 9, 3)
    dims: tuple[int, ...] = (96, 192, 384, 768)

    @classmethod
    def of(cls, shapes: Shapes) -> SealConfig:
        """As a file's tensors have it. CheckpointError: it is none of these."""
        unet, convnext = "embedder.unet", "detector.convnext"
        down = range(shapes.count(f"{unet}.downs"))
        stages = range(shapes.count(f"{convnext}.stages"))
        rows, message_width = shapes[f"{unet}.msg_processor.msg_embeddings.weight"]
        layers = [f"{convnext}.downsample_layers.{i}.{int(i > 0)}.weight" for i in stages]
        return cls(
            widths=(
                shapes[f"{unet}.inc.res_conv.weight"][0],
                *(shapes[f"{unet}.downs.{i}.down.weight"][0] for i in down),
            ),
            blocks=shapes.count(f"{unet}.bottleneck.model"),
            bits=rows // 2,
            message_width=message_width,
            depths=tuple(shapes.count(f"{convnext}.stages.{i}") for i in stages),
            dims=tuple(shapes[layer][0] for layer in layers),
        )


class VideoSeal(nn.Module):
    """Both networks under the published names; `hide` and `read` work on pictures of the size they were trained at."""

    def __init__(self, config: SealConfig) -> None:
        super().__init__()
        self.config = config
        self.embedder = Embedder(config)
        self.detector = Detector(config)
        self.attenuation = Attenuation()
        self.rgb2yuv = YUV()

    def hide(self, picture_B3HW: Tensor, bits_BK: Tensor) -> Tensor:
        """What the message adds to luma (B1HW), within -1..1: before it is attenuated and scaled."""
        return self.embedder(self.rgb2yuv(picture_B3HW), bits_BK)

    def heat(self, picture_B3HW: Tensor) -> Tensor:
        """How much of it eyes miss at each pixel (B1HW)."""
        return self.attenuation(self.rgb2yuv(picture_B3HW))

    def read(self, picture_B3HW: Tensor) -> Tensor:
        """Logits BK of the bits; above 0 is a 1."""
        return self.detector(picture_B3HW)[:, 1:]  # the first is a mask that nobody uses


class YUV(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        rows = [[0.299, 0.587, 0.114], [-0.14713, -0.28886, 0.436], [0.615, -0.51499, -0.10001]]
        self.register_buffer("M", torch.tensor(rows))

    def forward(self, rgb_B3HW: Tensor) -> Tensor:
        """Luma alone, B1HW."""
        return torch.einsum("bchw,c->bhw", rgb_B3HW, self.M[0])[:, None]


class Attenuation(nn.Module):
    """Just noticeable differences (Wu et al., 2017): more in the dark, in the bright and at edges."""

    def __init__(self) -> None:
        super().__init__()
        sobel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
        around = F.pad(torch.full((3, 3), 2.0), (1, 1, 1, 1), value=1.0)
        around[2, 2] = 0
        self.conv_x, self.conv_y, self.conv_lum = _fixed(sobel), _fixed(-sobel.T), _fixed(around)

    def forward(self, luma_B1HW: Tensor) -> Tensor:
        grey = 255 * luma_B1HW
        level = self.conv_lum(grey) / 32
        dark, bright = 17 * (1 - (level.clamp(0, 127) / 127 + 1e-5).sqrt()), 3 / 128 * (level - 127) + 3
        light = torch.where(level <= 127, dark, bright)
        edge = (self.conv_x(grey).square() + self.conv_y(grey).square()).sqrt()
        contrast = 0.117 * 16 * edge**2.4 / (edge.square() + 26**2)
        return (light + contrast - 0.3 * torch.minimum(light, contrast)).clamp_min(0) / 255


def _fixed(kernel: Tensor) -> nn.Conv2d:
    conv = nn.Conv2d(1, 1, len(kernel), padding=len(kernel) // 2, bias=False)
    conv.weight = nn.Parameter(kernel[None, None].contiguous(), requires_grad=False)
    return conv


class Embedder(nn.Module):
    def __init__(self, config: SealConfig) -> None:
        super().__init__()
        self.unet = UNet(config)
        self.msg_processor = self.unet.msg_processor  # the files hold it twice

    def forward(self, luma_B1HW: Tensor, bits_BK: Tensor) -> Tensor:
        return self.unet(2 * luma_B1HW - 1, bits_BK)


class UNet(nn.Module):
    def __init__(self, config: SealConfig) -> None:
        super().__init__()
        widths = config.widths
        self.msg_processor = Message(config)
        self.inc = ResidualBlock(1, widths[0])
        self.downs = nn.ModuleList(Down(*pair) for pair in pairwise(widths))
        low = widths[-1] + config.message_width
        lowest = nn.Sequential(*(ResidualBlock(low, low) for _ in range(config.blocks)))
        self.bottleneck = nn.ModuleDict({"model": lowest})
        above = (*widths[1:-1], low)
        self.ups = nn.ModuleList(Up(2 * above[i], widths[i]) for i in reversed(range(len(above))))
        self.outc = nn.Conv2d(widths[0], 1, 1)

    def forward(self, x_B1HW: Tensor, bits_BK: Tensor) -> Tensor:
        levels = [self.inc(x_B1HW)]
        for down in self.downs:
            levels.append(down(levels[-1]))
        levels[-1] = self.msg_processor(levels[-1], bits_BK)
        x = self.bottleneck["model"](levels[-1])
        for up in self.ups:
            x = up(torch.cat([x, levels.pop() * SKIP], 1))
        return torch.tanh(self.outc(x))


class Message(nn.Module):
    """Of each bit the vector of its value, summed, beside the features of every place."""

    def __init__(self, config: SealConfig) -> None:
        super().__init__()
        self.msg_embeddings = nn.Embedding(2 * config.bits, config.message_width)

    def forward(self, x_BChw: Tensor, bits_BK: Tensor) -> Tensor:
        rows_BK = 2 * torch.arange(bits_BK.shape[1], device=bits_BK.device) + bits_BK
        told_BD11 = self.msg_embeddings(rows_BK).sum(1)[..., None, None]
        return torch.cat([x_BChw, told_BD11.expand(-1, -1, *x_BChw.shape[2:])], 1)


class ResidualBlock(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.double_conv = nn.Sequential(
            nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
        )  # fmt: skip
        self.res_conv = nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.double_conv(x) + self.res_conv(x)


class Down(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(before, after, 3, stride=2, padding=1)
        self.conv = ResidualBlock(after, after)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.down(x))


class Up(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.up = Upsample(before, after, 2, nn.ReLU())
        self.conv = ResidualBlock(after, after)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.up(x))


class Upsample(nn.Module):
    def __init__(self, before: int, after: int, factor: int, activation: nn.Module) -> None:
        super().__init__()
        self.upsample_block = nn.Sequential(
            nn.Upsample(scale_factor=factor, mode="bilinear"), nn.ReflectionPad2d(1),
            nn.Conv2d(before, after, 3, bias=False), ChannelNorm(after), activation,
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.upsample_block(x)


class Detector(nn.Module):
    def __init__(self, config: SealConfig) -> None:
        super().__init__()
        self.convnext = ConvNeXt(config)
        self.pixel_decoder = PixelDecoder(config.dims[-1], config.bits)

    def forward(self, picture_B3HW: Tensor) -> Tensor:
        return self.pixel_decoder(self.convnext(2 * picture_B3HW - 1))


class PixelDecoder(nn.Module):
    """Logits of a picture: a mask's, then the bits'."""

    def __init__(self, width: int, bits: int) -> None:
        super().__init__()
        self.output_upscaling = nn.Sequential(Upsample(width, width, 1, nn.GELU()))
        self.linear = nn.Linear(width, bits + 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.output_upscaling(x).mean((2, 3)))


class ConvNeXt(nn.Module):
    def __init__(self, config: SealConfig) -> None:
        super().__init__()
        dims = config.dims
        stem = nn.Sequential(nn.Conv2d(3, dims[0], 4, stride=4), ChannelNorm(dims[0]))
        pairs = pairwise(dims)
        halves = [nn.Sequential(ChannelNorm(a), nn.Conv2d(a, b, 2, stride=2)) for a, b in pairs]
        self.downsample_layers = nn.ModuleList([stem, *halves])
        stages = zip(dims, config.depths, strict=True)
        self.stages = nn.ModuleList(nn.Sequential(*(Block(dim) for _ in range(depth))) for dim, depth in stages)

    def forward(self, x: Tensor) -> Tensor:
        for down, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(down(x))
        return x


class Block(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, EPS)
        self.pwconv1 = nn.Linear(dim, 4 * dim)
        self.grn = ResponseNorm(4 * dim)
        self.pwconv2 = nn.Linear(4 * dim, dim)

    def forward(self, x_BChw: Tensor) -> Tensor:
        x_BhwC = self.norm(self.dwconv(x_BChw).permute(0, 2, 3, 1))
        x_BhwC = self.pwconv2(self.grn(F.gelu(self.pwconv1(x_BhwC))))
        return x_BChw + x_BhwC.permute(0, 3, 1, 2)


class ResponseNorm(nn.Module):
    """Each channel's strength over the picture, beside the others'."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma, self.beta = (nn.Parameter(torch.zeros(1, 1, 1, dim)) for _ in range(2))

    def forward(self, x_BhwC: Tensor) -> Tensor:
        strength_B11C = x_BhwC.square().sum((1, 2), keepdim=True).sqrt()
        return self.gamma * (x_BhwC * strength_B11C / (strength_B11C.mean(-1, keepdim=True) + EPS)) + self.beta + x_BhwC


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of BCHW."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, EPS)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)
