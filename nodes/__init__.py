"""The nodes of the pack: one list, in the order of the menu."""

from comfy_api.latest import ComfyExtension

from .adapter import AdaptToSpeakerNode, LoadSpeakerAdapterNode
from .bench import CompareVideosNode, SyncScoreNode
from .conditioning import EncodeAudioWhisperNode, EncodePromptT5Node
from .host import first_frame, folders
from .latentsync import LatentSyncEngineNode, LoadLatentSyncNode
from .lipsync import EngineNode, LipSyncImagesNode, LipSyncVideoNode, SpeakerNode
from .loaders import LoadModelNode, LoadWhisperNode
from .marks import SignVideoNode
from .mouth import MouthCropNode, MouthPasteNode, MouthTrackNode
from .omniedit import HuMoAudioNode, HuMoEngineNode, LTXEditNode, LTXEngineNode, OmniEditGuiderNode, OmniEditSamplerNode
from .report import ExampleNode, SyncReportNode
from .sampling import DSCFGGuiderNode, DSCFGPatchNode, DSCFGSamplerNode, ProgressiveNoiseNode
from .unfinished import CleanUnfinishedNode
from .video import ChunkedVideoDecodeNode
from .xdub import LoadXDubNode, XDubEngineNode

NODES: list = [
    LoadModelNode, LoadWhisperNode, EncodeAudioWhisperNode, EncodePromptT5Node, MouthTrackNode, ProgressiveNoiseNode,
    DSCFGGuiderNode, DSCFGSamplerNode, DSCFGPatchNode, ChunkedVideoDecodeNode, MouthCropNode, MouthPasteNode,
    SyncReportNode, ExampleNode, EngineNode, SpeakerNode, LipSyncVideoNode, LipSyncImagesNode, CleanUnfinishedNode,
    LoadLatentSyncNode, LatentSyncEngineNode, HuMoEngineNode, LTXEngineNode, HuMoAudioNode, OmniEditSamplerNode,
    OmniEditGuiderNode, LTXEditNode, LoadXDubNode, XDubEngineNode, SyncScoreNode, CompareVideosNode,
    SignVideoNode, AdaptToSpeakerNode, LoadSpeakerAdapterNode,
]  # fmt: skip


class OmniSync(ComfyExtension):
    async def on_load(self) -> None:
        folders.register()
        first_frame.register()

    async def get_node_list(self) -> list:
        return list(NODES)
