"""The model learns a speaker from a clip, and what was learned is loaded."""

from __future__ import annotations

from contextlib import suppress

from comfy_api.latest import io

from .host import folders
from .types import Track, finite, read_sound, within

MOST_STRENGTH, LEAST_MINUTES, MOST_MINUTES = 2.0, 0.5, 240.0
MODEL_OUT = "The transformer with what was learned; for OmniSync Engine."
VAE_OUT = "The decoder with what was learned; for OmniSync Engine."


class LoadSpeakerAdapterNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncLoadSpeakerAdapter",
            display_name="Load Speaker Adapter",
            category="OmniSync/loaders",
            description="What the model learned of one person (Adapt To Speaker), over the bundle it was learned with.",
            search_aliases=["lora", "speaker", "person", "identity", "fine-tune"],
            inputs=[
                io.Model.Input("model", tooltip="From Load OmniSync Model: the bundle that it was learned with."),
                io.Vae.Input("vae", tooltip="From the same Load OmniSync Model."),
                io.Combo.Input(
                    "adapter_name", options=folders.file_names(folders.ADAPTERS),
                    tooltip="A speaker adapter (.safetensors) in models/omnisync_adapters.",
                ),
                io.Float.Input(
                    "strength", default=1.0, min=0.0, max=MOST_STRENGTH, step=0.05,
                    tooltip="How much of it counts: 1 as it was learned, 0 the model as it was.",
                ),
            ],
            outputs=[io.Model.Output(tooltip=MODEL_OUT), io.Vae.Output(tooltip=VAE_OUT)],
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, strength=1.0):
        return within({"strength": (0, MOST_STRENGTH)}, strength=strength)

    @classmethod
    def execute(cls, model, vae, adapter_name, strength) -> io.NodeOutput:
        from ..omnisync_core.adapter import read_adapter
        from .host.adapter import apply_adapter

        adapter = read_adapter(folders.file_path(folders.ADAPTERS, adapter_name))
        return io.NodeOutput(*apply_adapter(model, vae, adapter, finite("strength", strength, 0, MOST_STRENGTH)))


class AdaptToSpeakerNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncAdaptToSpeaker",
            display_name="Adapt To Speaker",
            category="OmniSync",
            description="The model learns the person in a clip, from the clip alone: it changes the mouth to other "
            "sounds and learns the way back. What was learned is kept in models/omnisync_adapters and counts from then "
            "on; the same clip is not learned twice.",
            search_aliases=["train", "fine-tune", "lora", "learn", "person", "identity", "own speaker"],
            inputs=[
                io.Model.Input("model", tooltip="From Load OmniSync Model; learned is over its file, without patches."),
                io.Vae.Input("vae", tooltip="From the same Load OmniSync Model."),
                io.Video.Input(
                    "video", tooltip="The person speaking, best 20 s to 3 min; the lips must say the sound. The last "
                    "quarter is not learned from.",
                ),
                io.Audio.Input(
                    "audio", optional=True, tooltip="What is said in the clip. Left open: the video's own sound."
                ),
                Track.Input(
                    "mouth_track", optional=True,
                    tooltip="Where the mouth is, from Mouth Track on the same video. Left open, it is looked for.",
                ),
                io.Float.Input(
                    "minutes", default=5.0, min=LEAST_MINUTES, max=MOST_MINUTES, step=0.5,
                    tooltip="How long it takes, all in. A cancelled one goes on where it was.",
                ),
                io.String.Input(
                    "name", default="person",
                    tooltip="Of the file in models/omnisync_adapters. One of another clip is never overwritten.",
                ),
                io.Int.Input(
                    "seed", default=0, min=0, max=0x7FFFFFFFFFFFFFFF, tooltip="Another seed learns another way."
                ),
            ],
            outputs=[
                io.Model.Output(tooltip=MODEL_OUT),
                io.Vae.Output(tooltip=VAE_OUT),
                io.String.Output(
                    "report", display_name="report",
                    tooltip="How much of the way back it finds in windows that were kept out, before and after.",
                ),
            ],
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, minutes=5.0):
        return within({"minutes": (LEAST_MINUTES, MOST_MINUTES)}, minutes=minutes)

    @classmethod
    def execute(cls, model, vae, video, minutes, name, seed, audio=None, mouth_track=None) -> io.NodeOutput:
        from ..omnisync_core.adapter import read_adapter
        from .host.adapter import apply_adapter

        output = folders.adapter_output(name)
        result = adapted(
            model, vae, video, None if audio is None else read_sound(audio), mouth_track, output,
            finite("minutes", minutes, LEAST_MINUTES, MOST_MINUTES), seed,
        )  # fmt: skip
        return io.NodeOutput(*apply_adapter(model, vae, read_adapter(output), 1.0), described(result))


def adapted(model, vae, video, sound, mouth_track, output, minutes: float, seed: int):
    """`output` as it was learned before from the same, else learned now: the core's `Adapted`. InputError."""
    from ..omnisync_core.adaptation import AdaptOptions, kept, learned_from
    from ..omnisync_core.media import write_samples
    from .host.adapter import check_bundle, learn
    from .host.video import open_video, unfinished_folder, working_folder

    check_bundle(model, vae)
    mouth = "auto" if mouth_track is None else mouth_track
    options = AdaptOptions(minutes=minutes, mouth=mouth, seed=seed, resume=True)
    with working_folder() as folder:
        part, own = open_video(video, folder, lossless=False), None
        if sound is not None:
            own = folder / "own.wav"
            write_samples(own, sound[0].numpy(), sound[1])
        asked = learned_from(part, own, model.model.bundle_digest, options)
        try:
            return kept(output, asked, minutes) or learn(part, own, output, model.model.bundle_path, options)
        finally:
            with suppress(OSError):  # other jobs' work lies there, or nothing ever did
                unfinished_folder().rmdir()


def described(result) -> str:
    """What was learned, for people."""
    from ..omnisync_core.job.report import clock

    learned = f"learned in {clock(result.seconds)}, {result.steps} steps"
    how = learned if result.seconds else "learned before, taken as it is"
    lines = [
        f"{result.output}: {how} on {result.windows} windows",
        f"of the way back, on windows kept out: {result.share_before:.2f} found before, {result.share:.2f} now "
        "(1 is all)",
    ]
    return "\n".join([*lines, *(f"note: {warning}" for warning in result.warnings)])
