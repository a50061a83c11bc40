"""The nodes of the pack: one list, in the order of the menu."""

from comfy_api.latest import ComfyExtension

from .conditioning import EncodeAudioWhisper, EncodePromptT5
from .host import folders
from .loaders import LoadModel, LoadWhisper
from .sampling import DSCFGGuider, DSCFGPatch, DSCFGSampler, ProgressiveNoise
from .video import ChunkedVideoDecode

NODES: list = [
    LoadModel, LoadWhisper, EncodeAudioWhisper, EncodePromptT5, ProgressiveNoise, DSCFGGuider, DSCFGSampler, DSCFGPatch,
    ChunkedVideoDecode,
]  # fmt: skip


class OmniSync(ComfyExtension):
    async def on_load(self) -> None:
        folders.register()

    async def get_node_list(self) -> list:
        return list(NODES)
