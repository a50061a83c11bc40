"""How well a mouth and a sound go together, and clips to try the pack with."""

from __future__ import annotations

import numpy as np
import torch
from comfy_api.latest import InputImpl, io

from ..omnisync_core import media, mouth
from ..omnisync_core.errors import InputError
from .frames import Pictures, open_frames
from .types import Track, mono_wave, positive_fps

EXAMPLES = {
    "person": ("demo/source.mp4", "demo/target.wav"),
    "person, true lips": ("demo/truth.mp4", "demo/target.wav"),
    "animal": ("examples/animal.mp4", "examples/animal.wav"),
    "two speakers": ("examples/two_speakers.mp4", "examples/two_speakers.wav"),
}
"""Name -> clip and sound in `omnisync_core/assets`."""


class SyncReport(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncSyncReport",
            display_name="Sync Report",
            category="OmniSync/report",
            description="Draws the mouth's opening against the sound and tells how well they go together. Good for "
            "comparing two versions of one clip; loudness is not opening, so one figure alone says little.",
            search_aliases=["lip sync score", "sync", "evaluate", "metrics", "omnisync"],
            inputs=[
                io.MultiType.Input("source", [io.Image, io.Video], tooltip="The frames. A video file is streamed."),
                io.Audio.Input("audio", tooltip="What the mouth should say."),
                io.Float.Input(
                    "fps", default=25.0, min=0.01, max=1000.0, step=0.01,
                    tooltip="Frames per second of images; a video has its own.",
                ),
                Track.Input(
                    "mouth_track", optional=True,
                    tooltip="From Mouth Track, of this source or of the video it was made from. Left open: as Lip Sync "
                    "Video finds the mouth.",
                ),
            ],
            outputs=[
                io.Image.Output("chart", tooltip="Loudness, speech, opening, and their correlation by delay."),
                io.String.Output("report", tooltip="The figures, a line each."),
            ],
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, fps=25.0):
        try:
            positive_fps(25.0 if fps is None else fps)  # None: linked, known when it runs
        except (InputError, TypeError) as error:
            return str(error)
        return True

    @classmethod
    def execute(cls, source, audio, fps, mouth_track=None) -> io.NodeOutput:
        from ..omnisync_core.evaluation import sync_report
        from .host.counting import counted

        wave = mono_wave(audio)
        with open_frames(source, positive_fps(fps)) as frames:
            passes = 1 if mouth_track is not None else 2
            looked = counted((pair for _ in range(passes) for pair in frames.read()), passes * frames.count)
            if mouth_track is None:
                first_pass = (pair for _, pair in zip(range(frames.count), looked, strict=False))
                mouth_track = mouth.track(first_pass, frame_size=frames.size)
            times = _times(frames)
            if len(mouth_track.pts_N) != len(times):
                raise InputError(
                    f"the mouth track has {len(mouth_track.pts_N)} frames, the source {len(times)}: connect the "
                    "track of this source"
                )
            reading = sync_report.read((picture for _, picture in looked), times, mouth_track, wave)
        chart = torch.from_numpy(sync_report.draw(reading).astype(np.float32) / 255)
        return io.NodeOutput(chart[None], sync_report.describe(reading))


class Example(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncExample",
            display_name="OmniSync Example",
            category="OmniSync",
            description="A short clip and a sound that come with the pack, so that every workflow runs at once.",
            search_aliases=["demo", "sample video", "test clip", "omnisync"],
            inputs=[
                io.Combo.Input(
                    "name", options=list(EXAMPLES), default="person",
                    tooltip="person: a drawn person who says something else. true lips: the same with the lips of the "
                    "sound, to compare with. animal: a drawn fox. two speakers: a sound each, left and right.",
                ),
            ],
            outputs=[
                io.Video.Output("VIDEO", tooltip="3 to 4 s, 25 frames per second."),
                io.Audio.Output("AUDIO", tooltip="What they should say; another voice."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(cls, name) -> io.NodeOutput:
        from ..omnisync_core.demo import ASSETS

        clip, heard = (ASSETS.parent / file for file in EXAMPLES[name])
        info = media.open_audio(heard)
        wave_CS = np.concatenate(list(media.read_audio(heard)), axis=1)
        sound = {"waveform": torch.from_numpy(np.ascontiguousarray(wave_CS))[None], "sample_rate": info.rate}
        return io.NodeOutput(InputImpl.VideoFromFile(str(clip)), sound)


def _times(frames) -> np.ndarray:
    """When each frame is shown, seconds."""
    if isinstance(frames, Pictures):
        return np.arange(frames.count) / float(frames.fps)
    return frames.video.times_N
