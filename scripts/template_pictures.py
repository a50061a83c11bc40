"""Makes the pictures beside the templates: `python -m scripts.template_pictures`.

What each template gives with the bundled model, taken where the mouth is widest open (`Long video`: four moments;
`The parts`: before and after, whole and as the model sees it).
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import cv2
import numpy as np
from scipy.io import wavfile

from omnisync_core import media, mouth
from omnisync_core.adaptation import AdaptOptions, adapt
from omnisync_core.crop.pictures import plan_region
from omnisync_core.demo import ASSETS, SOUND, VIDEO
from omnisync_core.engines.omnisync import load_engine
from omnisync_core.job.options import Speaker, SyncOptions
from omnisync_core.pipeline import sync_video

WORKFLOWS = Path(__file__).parents[1] / "workflows"
EXAMPLES = ASSETS.parent / "examples"
QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 90]


def main() -> None:
    person = results(VIDEO, SOUND, points("lip_sync_a_video"))
    save("Lip sync a video", person[liveliest(person, 1)[0]])
    wide = liveliest(person, 2)[1]
    before, after = parts(frames_of(VIDEO), person, wide)
    save("Lossless", after)
    save("The parts", tiled([frames_of(VIDEO)[wide], before, person[wide], after]))
    save("Long video", tiled([person[index] for index in liveliest(person, 4)]))
    animal = results(EXAMPLES / "animal.mp4", EXAMPLES / "animal.wav", points("cartoon_or_animal"), "An animal speaks.")
    save("Cartoon or animal", animal[liveliest(animal, 1)[0]])
    learned = own_speaker()
    save("Your own speaker", learned[liveliest(learned, 3)[2]])
    both = two_speakers()
    moments = [liveliest(half, 1)[0] for half in np.array_split(both, 2)]
    save("Two speakers", np.concatenate([both[moments[0]], both[len(both) // 2 + moments[1]]]))


def parts(source_THWC: np.ndarray, result_THWC: np.ndarray, frame: int) -> tuple[np.ndarray, np.ndarray]:
    """The square around the mouth before and after, as large as the frames."""
    height, width = source_THWC.shape[1:3]
    (point,) = [(x * width, y * height) for x, y in points("the_parts")]
    track = mouth.track(((index / 25, rgb) for index, rgb in enumerate(source_THWC)), point, frame_size=(width, height))
    where = plan_region(track, (width, height), len(source_THWC), height)
    cuts = (where.cut(frames[frame].astype(np.float32) / 255, frame) for frames in (source_THWC, result_THWC))
    before, after = (np.rint(255 * cut).clip(0, 255).astype(np.uint8) for cut in cuts)
    return before, after


def own_speaker() -> np.ndarray:
    """The person after the model learned them, in the template's time."""
    prompt = json.loads((WORKFLOWS / "api" / "your_own_speaker.json").read_text(encoding="utf-8"))
    (minutes,) = [node["inputs"]["minutes"] for node in prompt.values() if "minutes" in node["inputs"]]
    info, ((x, y),) = media.probe_video(media.Part.of(VIDEO)), points("your_own_speaker")
    with tempfile.TemporaryDirectory() as folder:
        person = Path(folder) / "person.safetensors"
        adapt(VIDEO, person, options=AdaptOptions(minutes=minutes, mouth=(x * info.width, y * info.height)))
        return results(VIDEO, SOUND, [(x, y)], adapter=person)


def results(
    video: Path,
    sound: Path,
    mouths: list[tuple[float, float]],
    prompt: str = "A person speaks.",
    adapter: Path | None = None,
) -> np.ndarray:
    """The frames of a result, uint8."""
    info = media.probe_video(media.Part.of(video))
    (point,) = [(x * info.width, y * info.height) for x, y in mouths]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.mkv"
        engine = load_engine(prompt=prompt, adapter=adapter)
        sync_video(video, sound, out, engine, SyncOptions(mouth=point, lossless=True))
        return frames_of(out)


def two_speakers() -> np.ndarray:
    video, sound = EXAMPLES / "two_speakers.mp4", EXAMPLES / "two_speakers.wav"
    info = media.probe_video(media.Part.of(video))
    rate, wave_SC = wavfile.read(sound)
    with tempfile.TemporaryDirectory() as folder:
        speakers = []
        for channel, (x, y) in enumerate(points("two_speakers")):
            own = Path(folder) / f"{channel}.wav"
            wavfile.write(own, rate, wave_SC[:, channel])
            speakers.append(Speaker(own, (x * info.width, y * info.height)))
        out = Path(folder) / "out.mkv"
        sync_video(video, sound, out, load_engine(), SyncOptions(lossless=True), speakers=speakers)
        return frames_of(out)


def points(name: str) -> list[tuple[float, float]]:
    """Where a template's Mouth Tracks point, over the frame's size."""
    prompt = json.loads((WORKFLOWS / "api" / f"{name}.json").read_text(encoding="utf-8"))
    tracks = [node["inputs"] for node in prompt.values() if node["class_type"] == "OmniSyncMouthTrack"]
    return [(track["point_x"], track["point_y"]) for track in tracks]


def frames_of(path: Path) -> np.ndarray:
    return np.stack([np.rint(frame.rgb() * 255).astype(np.uint8) for frame in media.read_frames(path)])


def liveliest(frames_THWC: np.ndarray, count: int) -> list[int]:
    """Frames that differ most from the mean picture, in their order, at least a tenth of the clip apart."""
    apart = np.abs(frames_THWC - frames_THWC.mean(0)).mean((1, 2, 3))
    chosen: list[int] = []
    for index in np.argsort(-apart).tolist():
        if all(abs(index - other) >= len(frames_THWC) // 10 for other in chosen):
            chosen.append(index)
        if len(chosen) == count:
            break
    return sorted(chosen)


def tiled(frames: list[np.ndarray]) -> np.ndarray:
    """Four pictures in the space of one."""
    half = [cv2.resize(frame, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for frame in frames]
    return np.concatenate([np.concatenate(half[:2], 1), np.concatenate(half[2:], 1)])


def save(name: str, picture_HWC: np.ndarray) -> None:
    template = next(WORKFLOWS.glob(f"* {name}.json"))
    cv2.imwrite(str(template.with_suffix(".jpg")), picture_HWC[..., ::-1], QUALITY)


if __name__ == "__main__":
    main()
