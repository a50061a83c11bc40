"""Sound and prompt to CONDITIONING."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..omnisync_core.errors import InputError
from .types import checked, fps_input, mono_wave, within

SPEECH = "omnisync_speech"
"""Key of the speech in AUDIO_ENCODER_OUTPUT and CONDITIONING."""
LONGEST = 1_000_000
"""Frames of a video; eleven hours at 25 a second."""
BOUNDS = {"fps": (0.01, 1000), "strength": (0, 4), "offset_ms": (-2000, 2000)}


class EncodeAudioWhisperNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncEncodeAudioWhisper",
            display_name="Encode Audio Whisper",
            category="OmniSync/conditioning",
            description="What each frame of the video should say: Whisper's features of a sound of any length, at the "
            "times of the frames.",
            search_aliases=["whisper", "audio to conditioning", "speech features", "audio encoder encode"],
            inputs=[
                io.AudioEncoder.Input("audio_encoder", tooltip="From Load OmniSync Model or Load Whisper Encoder."),
                io.Audio.Input("audio", tooltip="The speech that the mouth should say; any rate, mono or stereo."),
                fps_input("Frames per second of the pictures that are edited."),
                io.Int.Input(
                    "frame_count", default=0, min=0, max=LONGEST,
                    tooltip="How many pictures are edited; 0 takes as many as the sound is long.",
                ),
                io.Float.Input(
                    "strength", default=1.0, min=0.0, max=4.0, step=0.05, advanced=True,
                    tooltip="Scales the features; 1 is what the model was trained with, 0 is no sound.",
                ),
                io.Float.Input(
                    "offset_ms", default=0.0, min=-2000.0, max=2000.0, step=1.0, advanced=True,
                    tooltip="Milliseconds by which the mouth follows the sound later (or earlier, below 0).",
                ),
            ],
            outputs=[io.AudioEncoderOutput.Output(tooltip="What is heard in every video frame.")],
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, fps=None, strength=None, offset_ms=None):
        return within(BOUNDS, fps=fps, strength=strength, offset_ms=offset_ms)

    @classmethod
    def execute(cls, audio_encoder, audio, fps, frame_count, strength, offset_ms) -> io.NodeOutput:
        from .host.encoders import encode_speech

        checked(BOUNDS, fps=fps, strength=strength, offset_ms=offset_ms)
        wave = mono_wave(audio)
        return io.NodeOutput(encode_speech(audio_encoder, wave, fps, frame_count, strength, offset_ms / 1000))


class EncodePromptT5Node(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncEncodePromptT5",
            display_name="Encode Prompt T5",
            category="OmniSync/conditioning",
            description="The prompt and the speech together as conditioning; the negative one is silence and no words.",
            search_aliases=["t5", "prompt", "text encode", "lip sync conditioning"],
            inputs=[
                io.Clip.Input("clip", tooltip="From Load OmniSync Model, or a T5 of the host if the model reads one."),
                io.AudioEncoderOutput.Input("audio_encoder_output", tooltip="From Encode Audio Whisper."),
                io.String.Input(
                    "text", default="A person speaks.", multiline=True, dynamic_prompts=True,
                    tooltip="What the clip shows, in a few words.",
                ),
            ],
            outputs=[
                io.Conditioning.Output("positive", display_name="positive", tooltip="The words and the speech."),
                io.Conditioning.Output("negative", display_name="negative", tooltip="Neither words nor speech."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(cls, clip, audio_encoder_output, text) -> io.NodeOutput:
        if clip is None:
            raise InputError("there is no CLIP: the checkpoint before has none; connect Load OmniSync Model")
        speech = speech_of(audio_encoder_output)
        encoded = clip.encode_from_tokens_scheduled(clip.tokenize(text))
        return io.NodeOutput(spoken(encoded, speech), spoken(encoded, speech, silent=True))


def speech_of(audio_encoder_output: dict) -> torch.Tensor:
    """The frames' speech (1, T, N, D) in an AUDIO_ENCODER_OUTPUT. InputError: it has none."""
    speech = audio_encoder_output.get(SPEECH) if isinstance(audio_encoder_output, dict) else None
    if speech is None:
        raise InputError("this audio encoder output knows no video frames; make it with Encode Audio Whisper")
    return speech


def spoken(conditioning: list, speech: torch.Tensor, silent: bool = False) -> list:
    """CONDITIONING with speech; `silent` puts zeros in the place of both words and speech."""
    result = []
    for text, values in conditioning:
        if silent:
            pooled = values.get("pooled_output")
            values = {**values, "pooled_output": None if pooled is None else torch.zeros_like(pooled)}
        kept = torch.zeros_like if silent else (lambda value: value)
        result.append([kept(text), {**values, SPEECH: kept(speech)}])
    return result
