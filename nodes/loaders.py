"""Model files to the host's objects."""

from __future__ import annotations

from comfy_api.latest import io

from .host import folders
from .host.weights import WEIGHT_DTYPES

WHISPERS = "audio_encoders"


class LoadModelNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncLoadModel",
            display_name="Load OmniSync Model",
            category="OmniSync/loaders",
            description="Loads an OmniSync bundle: transformer, VAE, text encoder and Whisper in one file. A small "
            "trained one comes with the pack; others go to models/omnisync.",
            search_aliases=["lip sync model", "lipsync loader", "talking head"],
            inputs=[
                io.Combo.Input(
                    "model_name",
                    options=folders.bundle_names(),
                    tooltip="A bundle (.safetensors) in models/omnisync, or the small one that comes with the pack.",
                ),
                weight_dtype_input(whose="the transformer's weights"),
            ],
            outputs=[
                io.Model.Output(tooltip="The transformer; takes LoRA, fp8 and samplers as every MODEL does."),
                io.Vae.Output(tooltip="For VAE Encode and Chunked Video Decode."),
                io.Clip.Output(tooltip="For Encode Prompt T5."),
                io.AudioEncoder.Output(tooltip="For Encode Audio Whisper."),
            ],
        )

    @classmethod
    def execute(cls, model_name: str, weight_dtype: str) -> io.NodeOutput:
        from .host.models import load_bundle

        return io.NodeOutput(*load_bundle(folders.bundle_path(model_name), weight_dtype))


class LoadWhisperNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncLoadWhisper",
            display_name="Load Whisper Encoder",
            category="OmniSync/loaders",
            description="Loads the encoder of any Whisper, tiny to large-v3, for sound of any length.",
            search_aliases=["whisper", "audio encoder", "speech encoder", "whisper large v3"],
            inputs=[
                io.Combo.Input(
                    "audio_encoder_name",
                    options=folders.file_names(WHISPERS),
                    tooltip="A Whisper (.safetensors) in models/audio_encoders, in OpenAI's or transformers' naming.",
                ),
            ],
            outputs=[io.AudioEncoder.Output(tooltip="For Encode Audio Whisper.")],
        )

    @classmethod
    def execute(cls, audio_encoder_name: str) -> io.NodeOutput:
        from .host.encoders import AudioEncoder

        return io.NodeOutput(AudioEncoder.of_file(folders.file_path(WHISPERS, audio_encoder_name)))


def weight_dtype_input(whose: str = "the weights", default: str = "what this machine computes fastest") -> io.Input:
    return io.Combo.Input(
        "weight_dtype",
        options=list(WEIGHT_DTYPES),
        default="default",
        advanced=True,
        tooltip=f"How {whose} are kept. default: {default}; fp8 halves the memory at some loss.",
    )


def whisper_input(file: str, suffixes: tuple[str, ...]) -> io.Input:
    """The Whisper that an engine hears with; `file` as its authors publish it."""
    return io.Combo.Input(
        "whisper_name",
        options=folders.file_names(WHISPERS, suffixes=suffixes),
        tooltip=f"Whisper's {file}, or a safetensors copy of it, in models/{WHISPERS}.",
    )
