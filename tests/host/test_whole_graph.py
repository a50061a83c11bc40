"""From a clip to its edited pictures: the graph of parts beside the command line's pipeline."""

from fractions import Fraction
from itertools import islice

import numpy as np
import torch

FRAMES, SEED, POINT, PROMPT = 17, 5, (0.448, 0.661), "A person talks."
LEVELS = 3 / 255
"""The pipeline rounds to 8 bits three times, the graph never: half a level each for the finished edit, its reference
and the result, and what is rounded in a crop is scaled up by a filter that overshoots."""
EDGES = 0.1
"""At a sharp edge of the source, where an edit goes over from being added to taking the pixels' place (2 to 10 levels),
the share that is replaced follows the rounding: a few pixels in ten thousand differ by more."""


def test_it_gives_the_pictures_of_the_command_line(host, parts, tmp_path):
    pictures, sound = clip(host)
    expected = synced(host, pictures, sound, tmp_path)
    found = graph(host, parts, torch.from_numpy(pictures), tmp_path / "clip.mp4", sound).numpy()
    change = np.abs(expected - pictures)
    assert change.max() > 0.03
    apart = np.abs(found - expected).max(-1)
    assert (apart > LEVELS).mean() < 5e-4
    assert apart.max() < EDGES
    assert np.abs(found - expected).mean() < 0.02 * change.mean() + 1e-4
    unchanged = np.abs(found - pictures)[change == 0]
    assert (unchanged > LEVELS).mean() < 5e-4
    assert unchanged.max() < EDGES


def clip(host) -> tuple[np.ndarray, str]:
    """The first pictures of the bundled clip, of 8 bits, and its new sound."""
    media, demo = host.module("omnisync_core.media"), host.module("omnisync_core.demo")
    frames = [np.rint(frame.rgb() * 255) / 255 for frame in islice(media.read_frames(demo.VIDEO), FRAMES)]
    return np.stack(frames).astype(np.float32), demo.SOUND


def synced(host, pictures, sound, folder) -> np.ndarray:
    """The pictures as `sync_video` writes them without loss."""
    omnisync, job = host.module("omnisync_core.engines.omnisync"), host.module("omnisync_core.job.options")
    media = host.module("omnisync_core.media")
    files = host.module("omnisync_core.media.pictures")
    files.write_pictures(folder / "clip.mp4", pictures, Fraction(25), "bgr0")
    guidance = host.module("omnisync_core.diffusion.guidance").Guidance()
    engine = omnisync.load_engine(prompt=PROMPT, steps=2, guidance=guidance, dtype="float32", device="cpu")
    height, width = pictures.shape[1:3]
    options = job.SyncOptions(seed=SEED, mouth=(POINT[0] * width, POINT[1] * height), lossless=True)
    host.module("omnisync_core.pipeline").sync_video(folder / "clip.mp4", sound, folder / "out.mkv", engine, options)
    return np.stack([frame.rgb() for frame in media.read_frames(folder / "out.mkv")])


def graph(host, parts, pictures, video, sound) -> torch.Tensor:
    """The same by nodes: track, crop, encode, sample, decode, paste.

    The mouth is looked for in the file: of pictures in memory the tracker sees larger copies, and a crop that lies a
    fraction of a pixel elsewhere is another crop.
    """
    from comfy_api.latest import InputImpl

    read = host.module("omnisync_core.media").read_audio
    wave = torch.from_numpy(np.concatenate(list(read(sound)), 1))[None]
    rate = host.module("omnisync_core.media").open_audio(sound).rate
    node = parts.node
    prompt = parts(
        given=host.give(pictures, {"waveform": wave, "sample_rate": rate}, InputImpl.VideoFromFile(str(video))),
        track=node("OmniSyncMouthTrack", source=["given", 2], speaker="point", index=0, point_x=POINT[0],
                   point_y=POINT[1]),
        crop=node("OmniSyncMouthCrop", images=["given", 0], mouth_track=["track", 0], size=128),
        encoded={"pixels": ["crop", 0]},
        speech={"frame_count": FRAMES},
        prompt={"text": PROMPT},
        noise={"seed": SEED},
        sampled={"mouth_track": ["crop", 2]},
        decoded={"source": ["crop", 0]},
        pasted=node("OmniSyncMouthPaste", images=["given", 0], edited=["decoded", 1], region=["crop", 1],
                    reference=["crop", 0]),
    )  # fmt: skip
    return host.run(prompt)["pasted"][0]
