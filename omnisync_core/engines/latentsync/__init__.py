"""LatentSync 1.5 and 1.6 (Li et al., arXiv 2412.09262): public weights, this project's code."""

from .unet import UNet, load_unet

__all__ = ["UNet", "load_unet"]
