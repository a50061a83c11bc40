"""LatentSync 1.5 and 1.6 (Li et al., arXiv 2412.09262): public weights, this project's code.

`load_unet(read_unet(path))` is the network, `engine.LatentSyncEngine` what the pipeline runs.
"""

from ...models.whisper import read_whisper
from .unet import UNet, load_unet
from .weights import read_unet

__all__ = ["UNet", "load_unet", "read_unet", "read_whisper"]
