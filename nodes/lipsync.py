"""Lip sync as one node: a video or a batch of pictures, a sound, an engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from comfy_api.latest import io

from ..omnisync_core.errors import InputError
from ..omnisync_core.job.options import SILENCE, SyncOptions
from ..omnisync_core.job.report import Report, clock
from ..omnisync_core.marks.options import Marks
from ..omnisync_core.timing.timeline import POLICIES
from .types import (
    ENGINE_OUT,
    GUIDANCE_NAMES,
    HINTS,
    EngineType,
    Speakers,
    Track,
    finite,
    fps_input,
    guidance_inputs,
    positive_fps,
    preview_input,
    read_guidance,
    read_preview,
    read_sound,
    rgb_frames,
    seed_input,
    within_preview,
)

SOUND = "sound.wav"
SEED_TIP = "The same seed, files and settings give the same result."
ENGINE_TIP = "What edits the mouth: OmniSync Engine, or another engine node."
TRACK_TIP = "Where the mouth is, from Mouth Track on the same video. Left open, it is looked for."
REPORT_TIP = "What was edited, where the mouth came from, and which frames passed and why."
LENGTH_TIP = "Where sound and video differ in length. " + " ".join(
    f"{name}: {text}." for name, text in POLICIES.items()
)
SILENCE_TIP = "Where nobody speaks. close: the mouth rests. keep: the source's own pixels."
PREVIEW_TIP = "Do only the first seconds, to judge the settings; 0 does all."
MARKS = ("tag", "tag,c2pa", "tag,watermark", "tag,c2pa,watermark", "none")
MARK_TIP = (
    "How the result says that its mouth was edited. tag: a note in its metadata. c2pa: Content Credentials, signed by "
    "your own certificate, here and again by Save Video (mp4). watermark: a faint pattern over edited frames, which "
    "outlives encoders."
)
MOUTH_FROM = {
    "user": "your point or mask", "landmarks": "landmarks", "detector": "a face detector", "finder": "looked for",
    "filled": "filled in from other frames", "fallback": "no mouth seen",
}  # fmt: skip
"""Who says where the mouth is, by the core's names."""
LOSSLESS = "lossless is FFV1: give Save Video the format mkv; auto writes .mp4, in which most players show no picture"
SAID_HERE = {
    "(--mouth X,Y in pixels; in a graph: Mouth Track's speaker 'point'), or take the frame's centre (--mouth centre)": (
        "(Mouth Track, speaker 'point')"
    ),
    "(--mouth X,Y,WIDTH; in a graph: a mask)": "(Mouth Track with a mask)",
}
"""What a track's warnings tell the command line, in the nodes' words."""


@dataclass(frozen=True, eq=False)
class Role:
    """Who says what, one entry of SPEAKERS: an AUDIO and the track of this person's mouth."""

    audio: Any
    track: Any


def run(video, sound: tuple[np.ndarray, int], engine, roles: Sequence[Role], options: SyncOptions):
    """Sync a VIDEO; its result's path and report. InputError; the host's interrupt, after which it can be resumed."""
    from .host import video as files

    with files.working_folder() as folder:
        part = files.open_video(video, folder, options.lossless)
        output = files.result_path(".mkv" if options.lossless else ".mp4")
        return output, _sync(part, sound, output, engine, roles, options, folder)


def run_images(images_NHWC, sound: tuple[np.ndarray, int], fps: float, engine, options: SyncOptions):
    """Sync a batch: its pictures as they are shown with the mouth edited, a mask of what was changed, the report."""
    from ..omnisync_core import media
    from ..omnisync_core.audio import SpeechWave
    from ..omnisync_core.timing import timeline
    from .host import video as files

    with files.working_folder() as folder:
        rate = Fraction(fps).limit_denominator(100_000)
        source = files.write_images(folder / "source.mp4", images_NHWC, rate, files.rgb_format(images_NHWC))
        report = _sync(source, sound, folder / "result.mkv", engine, (), options, folder)
        info, heard = media.probe_video(source), SpeechWave(folder / SOUND)
        shown = timeline.plan_timeline(info.times_N, heard.duration, options.length, options.preview_seconds)
        return *files.changed_images(images_NHWC, info, folder / "result.mkv", shown.source_V), report


def described(report: Report) -> str:
    """A report for people, line by line."""
    sources = (f"{MOUTH_FROM[name]} ({count} frames)" for name, count in report.mouth_sources.items())
    lines = [
        f"{report.edited} of {report.frames} frames edited in {report.windows} windows, {clock(report.seconds)}",
        *([f"the whole: {report.whole}"] if report.whole else []),
        f"where the mouth is: {', '.join(sources)}",
    ]
    for passed in report.passed:
        lines.append(f"unchanged {passed.start:.2f} to {passed.stop:.2f} s ({passed.frames} frames): {passed.reason}")
    return _said_here("\n".join([*lines, *(f"note: {warning}" for warning in report.warnings), *report.marks]))


class EngineNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncEngine",
            display_name="OmniSync Engine",
            category="OmniSync",
            description="The OmniSync model and how it samples, for Lip Sync Video. A LoRA, EasyCache or fp8 on the "
            "MODEL works here as everywhere. The bundled model is made for drawn characters; real faces stay soft with "
            "it.",
            search_aliases=["lip sync engine", "lipsync model"],
            inputs=[
                io.Model.Input("model", tooltip="From Load OmniSync Model; patches on it count."),
                io.Vae.Input("vae", tooltip="From Load OmniSync Model."),
                io.Clip.Input("clip", tooltip="From Load OmniSync Model."),
                io.AudioEncoder.Input("audio_encoder", tooltip="From Load OmniSync Model."),
                io.String.Input(
                    "text", default="A person speaks.", multiline=True,
                    tooltip="How it is spoken, e.g. 'A person speaks loudly with clear teeth.'",
                ),
                io.Int.Input(
                    "steps", default=0, min=0, max=1000,
                    tooltip="Steps per window; time grows with them. 0: as many as the model was made for.",
                ),
                io.Float.Input(
                    "tau", default=0.0, min=0.0, max=1.0, step=0.01,
                    tooltip="The noise to start from. 1 forgets the source, less keeps more of its pose and its lips. "
                    "0: as the model was made for.",
                ),
                *guidance_inputs(own=True),
            ],
            outputs=[EngineType.Output(display_name="engine", tooltip=ENGINE_OUT)],
        )  # fmt: skip

    @classmethod
    def execute(cls, model, vae, clip, audio_encoder, text, steps, tau, **weights) -> io.NodeOutput:
        from ..omnisync_core.engines.omnisync import choose_sampling
        from .host.engines.omnisync import OmniSyncHandle
        from .host.models import sampling_of

        own = sampling_of(model)
        guidance = read_guidance(*(weights[name] for name in GUIDANCE_NAMES), own.guidance)
        sampling = choose_sampling(own, steps or None, finite("tau", tau, 0, 1) or None, guidance, text)
        return io.NodeOutput(OmniSyncHandle(model, vae, clip, audio_encoder, sampling))


class SpeakerNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncSpeaker",
            display_name="Speaker",
            category="OmniSync",
            description="One of several people in a video: a sound and the mouth that says it. Chain one per person.",
            search_aliases=["multiple speakers", "two people", "dialogue", "conversation"],
            inputs=[
                io.Audio.Input("audio", tooltip="What this person says, silent where others speak."),
                Track.Input("mouth_track", tooltip="Where this person's mouth is, from Mouth Track on the same video."),
                Speakers.Input("speakers", optional=True, tooltip="The people before, from another Speaker."),
            ],
            outputs=[
                Speakers.Output(display_name="speakers", tooltip="This person and those before; for Lip Sync Video.")
            ],
        )

    @classmethod
    def execute(cls, audio, mouth_track, speakers=None) -> io.NodeOutput:
        read_sound(audio)
        return io.NodeOutput((*(speakers or ()), Role(audio, mouth_track)))


class LipSyncVideoNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncLipSyncVideo",
            display_name="Lip Sync Video",
            category="OmniSync",
            essentials_category="Video Tools",
            description="Your video, its mouth saying your sound; every other pixel stays. Works from file to file in "
            "windows: memory does not grow with length, and a cancelled job goes on where it stopped.",
            search_aliases=["omnisync", "lipsync", "lip sync", "dub", "talking head", "wav2lip", "sync.so"],
            inputs=[
                io.Video.Input("video", tooltip="Any length, frame rate and size; a trimmed one is synced as trimmed."),
                io.Audio.Input(
                    "audio", optional=True,
                    tooltip="What the mouth should say. With speakers: what is heard (left open, their sounds mixed).",
                ),
                EngineType.Input("engine", tooltip=ENGINE_TIP),
                Track.Input("mouth_track", optional=True, tooltip=TRACK_TIP),
                Speakers.Input("speakers", optional=True, tooltip="Several people, each with a sound: Speaker nodes."),
                seed_input(SEED_TIP),
                *_choices(optional=False),
                io.Boolean.Input(
                    "resume", default=True, advanced=True,
                    tooltip="Go on with this very job where it was stopped before; off starts it over. Finished parts "
                    "lie in output/omnisync_unfinished until the job is done.",
                ),
                io.Boolean.Input(
                    "lossless", default=False, advanced=True,
                    tooltip="FFV1 in the source's pixel format instead of H.264: save it with format mkv.",
                ),
                io.Combo.Input(
                    "mark", options=list(MARKS), default=MARKS[0], optional=True, advanced=True, tooltip=MARK_TIP
                ),
            ],
            outputs=[
                io.Video.Output(tooltip="The same video with the sound and its mouth; Save Video keeps it."),
                io.String.Output("report", display_name="report", tooltip=REPORT_TIP),
            ],
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, preview_seconds=0.0, audio="open", speakers="open"):
        if audio == "open" and speakers == "open":
            return "no sound is connected: give audio, or speakers"
        return within_preview(preview_seconds)

    @classmethod
    def execute(
        cls, video, engine, seed, length_policy, silence_policy, preview_seconds, resume, lossless,
        audio=None, mouth_track=None, speakers=None, mark=MARKS[0],
    ) -> io.NodeOutput:  # fmt: skip
        from ..omnisync_core.audio import mixed
        from .host.folders import watermark_weights
        from .host.video import as_video

        roles = tuple(speakers or ())
        if roles and mouth_track is not None:
            raise InputError("speakers bring their own mouth tracks: connect either mouth_track or speakers, not both")
        options = _options(seed, length_policy, silence_policy, mouth_track, preview_seconds, lossless, resume)
        options = replace(options, marks=Marks.of(mark, weights=watermark_weights() if "watermark" in mark else None))
        sound = mixed([_samples(role.audio) for role in roles]) if roles and audio is None else _samples(audio)
        output, report = run(video, sound, engine, roles, options)
        text = described(report) + (f"\nnote: {LOSSLESS}" if lossless else "")
        return io.NodeOutput(as_video(output, is_signed=bool(report.edited) and options.marks.signs), text)


class LipSyncImagesNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncLipSyncImages",
            display_name="Lip Sync Images",
            category="OmniSync",
            description="A batch of pictures, its mouth saying your sound: for graphs that load and combine videos as "
            "images. For long videos take Lip Sync Video, which does not hold them in memory.",
            search_aliases=["lipsync", "lip sync", "video helper suite", "vhs", "image batch"],
            inputs=[
                io.Image.Input("images", tooltip="The video's frames in order; RGB or RGBA, of any size."),
                io.Audio.Input("audio", tooltip="What the mouth should say; heard from the first picture on."),
                fps_input("Frames per second of the pictures: what the video was loaded with."),
                EngineType.Input("engine", tooltip=ENGINE_TIP),
                Track.Input("mouth_track", optional=True, tooltip=TRACK_TIP),
                seed_input(SEED_TIP),
                *_choices(optional=True),
            ],
            outputs=[
                io.Image.Output(tooltip="The pictures with the edit, as many as length_policy says."),
                io.Audio.Output(tooltip="The sound as it came in."),
                io.Mask.Output(tooltip="1 where a pixel was changed."),
                io.String.Output("report", display_name="report", tooltip=REPORT_TIP),
            ],
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, preview_seconds=0.0):
        return within_preview(preview_seconds)

    @classmethod
    def execute(
        cls, images, audio, fps, engine, seed, mouth_track=None,
        length_policy="source", silence_policy="close", preview_seconds=0.0,
    ) -> io.NodeOutput:  # fmt: skip
        options = _options(seed, length_policy, silence_policy, mouth_track, preview_seconds)
        changed, mask, report = run_images(_coloured(images), _samples(audio), positive_fps(fps), engine, options)
        return io.NodeOutput(changed, audio, mask, described(report))


def _choices(*, optional: bool) -> list[io.Input]:
    """What happens where sound and video differ, where nobody speaks, and how much is done."""
    return [
        io.Combo.Input(
            "length_policy", options=list(POLICIES), default="source", optional=optional, tooltip=LENGTH_TIP
        ),
        io.Combo.Input(
            "silence_policy", options=list(SILENCE), default="close", optional=optional, tooltip=SILENCE_TIP
        ),
        preview_input(PREVIEW_TIP, optional=optional),
    ]  # fmt: skip


def _options(
    seed: int, length: str, silence: str, track, preview_seconds: float, lossless: bool = True, resume: bool = True
) -> SyncOptions:
    return SyncOptions(
        seed=seed,
        length=length,
        silence=silence,
        mouth="auto" if track is None else track,
        preview_seconds=read_preview(preview_seconds),
        lossless=lossless,
        resume=resume,
    )


def _sync(video, sound, output: Path, engine, roles: Sequence[Role], options: SyncOptions, folder: Path) -> Report:
    """The core's job on files: sounds from memory are written to `folder` as they are."""
    from ..omnisync_core.job.options import Speaker as SoundAndMouth
    from ..omnisync_core.pipeline import sync_video
    from .host.progress import JobBar
    from .host.video import unfinished_folder

    heard = _written(folder / SOUND, sound)
    speakers = [
        SoundAndMouth(_written(folder / f"speaker_{number}.wav", _samples(role.audio)), role.track)
        for number, role in enumerate(roles)
    ]
    opened = engine.open()
    try:
        report = sync_video(
            video, heard, output, opened, options, JobBar(opened.preview), speakers=speakers, state=unfinished_folder()
        )
        return replace(report, warnings=(*report.warnings, *_pruned(unfinished_folder())))
    except InputError as error:
        raise InputError(f"{error.problem}: {HINTS[error.hint]}" if error.hint else _said_here(str(error))) from error
    finally:
        with suppress(OSError):  # other jobs' work lies there, or nothing ever did
            unfinished_folder().rmdir()


def _pruned(folder: Path) -> Iterator[str]:
    """Old unfinished jobs of others make room; a warning that says so."""
    from ..omnisync_core.job.report import size
    from ..omnisync_core.job.unfinished import KEPT_BYTES, KEPT_DAYS, prune

    removed = prune(folder)
    if removed:
        yield (
            f"{len(removed)} unfinished jobs were removed ({size(sum(job.size for job in removed))}): kept are "
            f"{KEPT_DAYS} days, and {size(KEPT_BYTES)} of the newest"
        )


def _written(path: Path, sound: tuple[np.ndarray, int]) -> Path:
    from ..omnisync_core.media import write_samples

    write_samples(path, *sound)
    return path


def _samples(audio) -> tuple[np.ndarray, int]:
    wave_CS, rate = read_sound(audio)
    return wave_CS.numpy(), rate


def _coloured(images_NHWC):
    """An IMAGE that is fit to be edited, with its alpha if it has one."""
    rgb_NHWC = rgb_frames(images_NHWC)
    return rgb_NHWC if images_NHWC.shape[-1] == 1 else images_NHWC


def _said_here(text: str) -> str:
    for there, here in SAID_HERE.items():
        text = text.replace(there, here)
    return text
