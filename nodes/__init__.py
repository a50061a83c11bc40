"""The nodes of the pack: one list, in the order of the menu."""

from comfy_api.latest import ComfyExtension

from .conditioning import EncodeAudioWhisper, EncodePromptT5
from .host import first_frame, folders
from .latentsync import LatentSyncEngine, LoadLatentSync
from .lipsync import Engine, LipSyncImages, LipSyncVideo, Speaker
from .loaders import LoadModel, LoadWhisper
from .mouth import MouthCrop, MouthPaste, MouthTrack
from .omniedit import HuMoAudio, HuMoEngine, LTXEdit, LTXEngine, OmniEditGuider, OmniEditSampler
from .report import Example, SyncReport
from .sampling import DSCFGGuider, DSCFGPatch, DSCFGSampler, ProgressiveNoise
from .video import ChunkedVideoDecode

NODES: list = [
    LoadModel, LoadWhisper, EncodeAudioWhisper, EncodePromptT5, MouthTrack, ProgressiveNoise, DSCFGGuider, DSCFGSampler,
    DSCFGPatch, ChunkedVideoDecode, MouthCrop, MouthPaste, SyncReport, Example,
    Engine, Speaker, LipSyncVideo, LipSyncImages,
    LoadLatentSync, LatentSyncEngine,
    HuMoEngine, LTXEngine, HuMoAudio, OmniEditSampler, OmniEditGuider, LTXEdit,
]  # fmt: skip


class OmniSync(ComfyExtension):
    async def on_load(self) -> None:
        folders.register()
        first_frame.register()

    async def get_node_list(self) -> list:
        return list(NODES)
