"""What a result is worth: SyncNet's score of mouth and sound, and two versions of a clip side by side."""

from __future__ import annotations

from comfy_api.latest import Input, InputImpl, io

from ..omnisync_core.errors import InputError
from .types import fps_input, mono_wave, positive_fps, source_input, track_input, within_fps


class SyncScoreNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncSyncScore",
            display_name="Sync Score",
            category="OmniSync/report",
            description="SyncNet's LSE-C, LSE-D and offset of a mouth and a sound, as papers report them. Needs "
            "syncnet_v2.model in models/metrics.",
            search_aliases=["syncnet", "lse-c", "lse-d", "lip sync metric", "sync confidence"],
            inputs=[
                source_input(),
                fps_input(),
                io.Audio.Input(
                    "audio", optional=True, tooltip="What the mouth should say. Left open: the video's own sound."
                ),
                track_input("the mouth is looked for"),
            ],
            outputs=[
                io.Float.Output("confidence", tooltip="LSE-C: higher is better; real speech has some 6 to 9."),
                io.Float.Output("distance", tooltip="LSE-D: lower is better; real speech has some 6 to 8."),
                io.Int.Output("offset", tooltip="Frames of 1/25 s by which the sound comes before the mouth."),
                io.String.Output("report", tooltip="The same in words."),
            ],
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, fps=25.0):
        return within_fps(fps)

    @classmethod
    def execute(cls, source, fps, audio=None, mouth_track=None) -> io.NodeOutput:
        found = score(source, positive_fps(fps), audio, mouth_track)
        lag = f"{abs(found.offset) * 40} ms {'before' if found.offset > 0 else 'after'} the mouth"
        words = f"LSE-C {found.confidence:.3f}, LSE-D {found.distance:.3f}, the sound comes "
        return io.NodeOutput(
            found.confidence, found.distance, found.offset, words + (lag if found.offset else "in time with the mouth")
        )


class CompareVideosNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncCompareVideos",
            display_name="Compare Videos",
            category="OmniSync/report",
            description="How near two versions of a clip are: a table of figures, and some moments side by side with "
            "what differs. Metrics of libraries that are not installed say so.",
            search_aliases=["ssim", "psnr", "lpips", "gmsd", "difference", "metrics", "side by side"],
            inputs=[
                io.MultiType.Input("result", [io.Image, io.Video], tooltip="The version to judge."),
                io.MultiType.Input(
                    "reference", [io.Image, io.Video], tooltip="What it is compared with: the truth, or the source."
                ),
                fps_input(),
                io.Int.Input(
                    "frames", default=32, min=1, max=1000,
                    tooltip="How many frames are looked at, evenly over the clip. Figures are of whole frames.",
                ),
            ],
            outputs=[
                io.Image.Output("picture", tooltip="Moments of both, and where they differ."),
                io.String.Output("table", tooltip="The figures as Markdown."),
            ],
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, fps=25.0):
        return within_fps(fps)

    @classmethod
    def execute(cls, result, reference, fps, frames) -> io.NodeOutput:
        import numpy as np
        import torch

        report = compared(result, reference, positive_fps(fps), frames)
        return io.NodeOutput(torch.from_numpy(report.picture.astype(np.float32) / 255)[None], report.markdown())


def score(source, fps: float, audio=None, track=None):
    """SyncNet's score of a source. InputError: no file of weights, no sound, no mouth, too short."""
    from ..omnisync_core import mouth
    from ..omnisync_core.bench.clip import faces_of
    from ..omnisync_core.bench.sync import WEIGHTS, score_frames
    from ..omnisync_core.bench.syncnet import load_syncnet
    from .frames import open_frames, refuse_other
    from .host.counting import counted
    from .host.folders import metrics_file

    net = load_syncnet(metrics_file(WEIGHTS))
    with open_frames(source, fps) as frames:
        wave, begins = _sound(source, frames, audio)
        if track is None:
            track = mouth.track(counted(frames.read(), frames.count), frame_size=frames.size, hear=frames.hear)
        refuse_other(track, frames)
        scale = frames.size[0] / track.frame_size[0]
        times_N = frames.times
        duration = float(times_N[-1] - times_N[0] + 1 / (fps if frames.count < 2 else _rate(times_N)))
        return score_frames(
            net, lambda numbers: counted(frames.pictures(numbers), len(numbers)), times_N, duration,
            faces_of(track) * scale, wave, begins,
        )  # fmt: skip


def compared(result, reference, fps: float, count: int):
    """Frames of both that are shown at the same times, compared. InputError: no frames, two sizes."""
    import numpy as np

    from ..omnisync_core.bench.clip import nearest
    from ..omnisync_core.bench.compare import compare
    from .frames import open_frames
    from .host.counting import counted
    from .host.folders import metrics_folder

    with open_frames(result, fps) as ours, open_frames(reference, fps) as theirs:
        chosen = np.unique(np.linspace(0, ours.count - 1, count).round().astype(int))
        chosen = chosen[ours.times[chosen] < theirs.times[-1] + 1 / _rate(theirs.times)]
        beside = nearest(theirs.times, ours.times[chosen])
        pairs = zip(ours.pictures(chosen), theirs.pictures(beside), strict=True)
        return compare(counted(pairs, len(chosen)), metrics_folder())


def _sound(source, frames, audio):
    """The sound as a `Wave`, and how old it is when the first frame is shown."""
    from ..omnisync_core.audio import SpeechWave

    if audio is not None:
        return mono_wave(audio), 0.0
    if isinstance(source, InputImpl.VideoFromComponents):
        return mono_wave(source.get_components().audio), 0.0
    if not isinstance(source, Input.Video):
        raise InputError("images have no sound: connect audio")
    if not frames.video.has_audio:
        raise InputError("the video has no sound: connect audio")
    return SpeechWave(frames.video.path), float(frames.times[0] + frames.video.start)


def _rate(times_N) -> float:
    """Frames per second."""
    return (len(times_N) - 1) / float(times_N[-1] - times_N[0]) if len(times_N) > 1 else 25.0
