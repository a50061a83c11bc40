"""X-Dub (arXiv 2512.25066; weights KlingTeam/X-Dub over Wan 2.2 5B): public weights, this project's code.

`load_dit(tensors)` is the network, `engine.XDubEngine` what the pipeline runs. The weights are published for academic
research and technical demonstration only.
"""

from .dit import XDubDiT, load_dit
from .hearing import audio_windows
from .sampling import sample

__all__ = ["XDubDiT", "audio_windows", "load_dit", "sample"]
