"""How well a mouth and a sound go together, and clips to try the pack with."""

from __future__ import annotations

from comfy_api.latest import InputImpl, io

from .host.folders import EXAMPLES
from .types import fps_input, mono_wave, positive_fps, source_input, track_input, within_fps


class SyncReportNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncSyncReport",
            display_name="Sync Report",
            category="OmniSync/report",
            description="Draws the mouth's opening against the sound and tells how well they go together. Good for "
            "comparing two versions of one clip; loudness is not opening, so one figure alone says little.",
            search_aliases=["lip sync score", "sync", "evaluate", "metrics"],
            inputs=[
                source_input(),
                io.Audio.Input("audio", tooltip="What the mouth should say."),
                fps_input(),
                track_input("as Lip Sync Video finds the mouth"),
            ],
            outputs=[
                io.Image.Output("chart", tooltip="Loudness, speech, opening, and their correlation by delay."),
                io.String.Output("report", tooltip="The figures, a line each."),
            ],
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, fps=25.0):
        return within_fps(fps)

    @classmethod
    def execute(cls, source, audio, fps, mouth_track=None) -> io.NodeOutput:
        chart, text = report(source, mono_wave(audio), positive_fps(fps), mouth_track)
        return io.NodeOutput(chart, text)


class ExampleNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncExample",
            display_name="OmniSync Example",
            category="OmniSync",
            description="A short clip and a sound that come with the pack, so that every workflow runs at once.",
            search_aliases=["demo", "sample video", "test clip"],
            inputs=[
                io.Combo.Input(
                    "name", options=list(EXAMPLES), default="person",
                    tooltip="person: a drawn person who says something else. true lips: the same with the lips of the "
                    "sound, to compare with. animal: a drawn duck. two speakers: a sound each, left and right.",
                ),
            ],
            outputs=[
                io.Video.Output("VIDEO", tooltip="3 to 4 s, 25 frames per second."),
                io.Audio.Output("AUDIO", tooltip="What they should say; another voice."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(cls, name) -> io.NodeOutput:
        clip, sound = example(name)
        return io.NodeOutput(InputImpl.VideoFromFile(clip), sound)


def report(source, wave, fps: float, track=None) -> tuple:
    """The chart as IMAGE and the figures as text. InputError: a track of another number of frames."""
    import numpy as np
    import torch

    from ..omnisync_core import mouth
    from ..omnisync_core.sheets import sync_report
    from .frames import open_frames, refuse_other
    from .host.counting import counted

    with open_frames(source, fps) as frames:
        if track is None:
            looked = counted(frames.read(), frames.count)
            track = mouth.track(looked, frame_size=frames.size, hear=frames.hear)
        refuse_other(track, frames)
        pictures = (picture for _, picture in counted(frames.read(), frames.count))
        reading = sync_report.read(pictures, frames.times, track, wave)
    return torch.from_numpy(sync_report.draw(reading).astype(np.float32) / 255)[None], sync_report.describe(reading)


def example(name: str) -> tuple[str, dict]:
    """A bundled clip's path and its sound as AUDIO."""
    import numpy as np
    import torch

    from ..omnisync_core import media

    clip, heard = EXAMPLES[name]
    wave_CS = np.ascontiguousarray(np.concatenate(list(media.read_audio(heard)), axis=1))
    return str(clip), {"waveform": torch.from_numpy(wave_CS)[None], "sample_rate": media.open_audio(heard).rate}
