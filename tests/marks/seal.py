"""A pair of networks of VideoSeal's layout, written by hand: what one hides the other reads.

The embedder makes a picture lighter (by what `heat` allows) where it is told our message, darker where it is told any
other one. The detector reads our message from pictures lighter than `level`, its opposite from darker ones.
"""

import torch

from omnisync_core.marks.learned import message
from omnisync_core.models.video_seal import SealConfig, VideoSeal

CONFIG = SealConfig(widths=(2, 2), blocks=1, bits=64, message_width=1, depths=(1,), dims=(3,))


def pair(level: float) -> VideoSeal:
    """Both networks, for pictures whose mean luma, 0..1, is `level` when they are a little lighter than unmarked."""
    seal = VideoSeal(CONFIG).eval()
    with torch.no_grad():
        for name, value in seal.named_parameters():
            if not name.startswith("attenuation") and "norm" not in name:
                value.zero_()
        _embedder(seal.embedder.unet)
        _detector(seal.detector, level)
    return seal


def _embedder(unet) -> None:
    signs_K = 2.0 * message(CONFIG.bits)[0] - 1
    unet.msg_processor.msg_embeddings.weight.copy_(torch.stack([-signs_K, signs_K], 1).reshape(-1, 1))
    low = unet.bottleneck["model"][0].res_conv
    low.weight[2, 2], low.bias[2] = 1, 0.5 - CONFIG.bits  # above 0 for our message alone
    up = unet.ups[0]
    up.up.upsample_block[2].weight[0, 2, 1, 1], up.up.upsample_block[2].weight[1, 2, 1, 1] = 1, -1
    up.up.upsample_block[3].weight.fill_(1)
    up.conv.res_conv.weight[:, :, 0, 0] = torch.eye(2)
    unet.outc.weight[0, :, 0, 0] = torch.tensor([9.0, -9.0])


def _detector(detector, level: float) -> None:
    stem, norm = detector.convnext.downsample_layers[0]
    luma_C11 = torch.tensor([0.299, 0.587, 0.114])[:, None, None] / 16
    stem.weight[0] = luma_C11.expand(3, 4, 4) / 2  # of pictures in -1..1
    stem.bias.copy_(torch.tensor([0.5 - level, 1.0, -1.0]))  # beside two of a fixed size, the norms leave it be
    norm.weight.fill_(1)
    last = detector.pixel_decoder.output_upscaling[0].upsample_block
    last[2].weight[:, :, 1, 1] = torch.eye(3)
    last[3].weight.fill_(1)
    detector.pixel_decoder.linear.weight[1:, 0] = 2.0 * message(CONFIG.bits)[0] - 1
