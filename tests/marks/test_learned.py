"""The learned watermark: a pair of networks that agree, from their weight file through a job to `verify`."""

import itertools
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy import stats

from omnisync_core import cli, media
from omnisync_core.errors import CheckpointError, InputError
from omnisync_core.job.options import SyncOptions
from omnisync_core.marks import learned
from omnisync_core.marks.learned import CHANCE, STEP, Hider, Learned, Reader, bits_needed, message, open_learned
from omnisync_core.marks.options import WEIGHTS, Marks
from omnisync_core.marks.verify import verify
from omnisync_core.models.published import Shapes
from omnisync_core.models.video_seal import SealConfig, VideoSeal
from omnisync_core.pipeline import sync_video
from tests.fake import SourceEngine, write_sound
from tests.marks.seal import pair

GOLDEN = Path(__file__).parents[1] / "golden"
SIZE = 96, 64
"""Of the film, which is dark: there the networks may change most."""


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    width, height = SIZE
    rows, columns = np.mgrid[:height, :width]
    waves = (0.06 + 0.02 * np.sin(columns / 5 + rows / 9 + index / 3) for index in range(12))
    pictures = (np.repeat(wave[..., None], 3, 2).astype(np.float32) for wave in waves)
    path = tmp_path_factory.mktemp("film") / "film.mkv"
    media.write_pictures(path, pictures, Fraction(25), "yuv420p")
    return path


@pytest.fixture(scope="module")
def weights(film, tmp_path_factory):
    """A file as the public ones are: the state dict beside what training left, for this film."""
    shown = torch.from_numpy(np.stack([frame.rgb() for frame in media.read_frames(film)])).permute(0, 3, 1, 2)
    seal = pair(0.5)
    lighter = 0.2 * seal.heat(shown).mean()
    seal = pair(float(seal.rgb2yuv(shown).mean() + lighter / 2))
    path = tmp_path_factory.mktemp("weights") / "pair.pth"
    torch.save({"model": seal.state_dict(), "epoch": 600, "args": "nbits: 64\n", "optimizer": {"state": {}}}, path)
    return path


@pytest.fixture
def run(film, tmp_path):
    def job(output, **marks):
        sound = write_sound(tmp_path / "a.wav", 0.48, bursts=((0, 9),))
        options = SyncOptions(mouth="centre", marks=Marks(("tag", "watermark"), **marks))
        return sync_video(film, sound, tmp_path / output, SourceEngine(), options)

    return job


def test_a_result_is_marked_and_the_mark_is_read(run, film, weights, tmp_path, monkeypatch, capsys):
    report = run("out.mp4", weights=str(weights))
    assert "a watermark of networks of VideoSeal's kind (pair.pth) over the whole picture" in report.marks[0]
    assert len(report.marks) == 2  # nothing to complain of
    monkeypatch.setenv(WEIGHTS, str(weights))
    assert cli.main(["verify", str(tmp_path / "out.mp4")]) == 0
    pattern, networks = capsys.readouterr().out.splitlines()[-2:]
    assert pattern.startswith("watermark, pattern: not found")
    assert networks == (
        "watermark, networks of VideoSeal's kind (pair.pth): found (64 of 64 bits are right in 3 frames, 56 are needed)"
    )
    reading = verify(film, weights).learned
    assert not reading.is_found
    assert reading.frames == 3


def test_without_weights_the_pattern_is_the_mark(run, tmp_path, weights):
    assert "a watermark (a pattern) over the whole picture" in run("out.mp4").marks[0]
    assert not verify(tmp_path / "out.mp4", weights).learned.is_found
    assert list(verify(tmp_path / "out.mp4").lines())[-1].startswith("watermark, learned: not looked for (name its")


def test_a_mark_that_cannot_be_read_back_is_told(run, tmp_path):
    torch.save({"model": pair(0.9).state_dict()}, tmp_path / "dark.pth")
    report = run("out.mp4", weights=str(tmp_path / "dark.pth"))
    assert report.marks[1].startswith("the watermark cannot be read back even before encoding (0 of 64 bits")


def test_one_look_serves_a_few_frames(film, weights):
    hider, looks = Hider(open_learned(weights)), []
    hider.learned.seal.embedder.register_forward_hook(lambda *_: looks.append(1))
    frames = list(itertools.islice(media.read_frames(film), STEP + 1))
    marked = [hider.embed(frame) for frame in frames]
    assert len(looks) == 2
    for before, after in zip(frames, marked, strict=True):
        change = after.rgb() - before.rgb()
        assert 0 < change.mean() < 0.02
        assert np.abs(change).max() < 0.03


class Shown:
    """A frame that keeps what is added to it."""

    def __init__(self, rgb_HWC):
        self.height, self.width = rgb_HWC.shape[:2]
        self.rgb, self.added_HWC = lambda: rgb_HWC, None

    def add_rgb(self, box, delta_HWC):
        self.added_HWC = delta_HWC
        return self


def test_it_adds_what_the_official_code_adds(monkeypatch):
    """In videos: one look for four frames, each attenuated at the networks' size, as its streaming example does."""
    golden = load_file(GOLDEN / "seal_small.safetensors")
    tensors = {name.removeprefix("model."): value for name, value in golden.items() if name.startswith("model.")}
    seal = VideoSeal(SealConfig.of(Shapes(tensors, "", ""))).eval()
    seal.load_state_dict(tensors)
    monkeypatch.setattr(learned, "message", lambda bits: golden["bits"])
    hider = Hider(Learned(seal, "small"))
    frames = [Shown(frame_HWC) for frame_HWC in (golden["frames"] / 255).permute(0, 2, 3, 1).numpy()]
    added = np.stack([hider.embed(frame).added_HWC for frame in frames])
    np.testing.assert_allclose(added, golden["added"].permute(0, 2, 3, 1).expand(-1, -1, -1, 3), atol=1e-6, rtol=0)
    assert np.abs(added).max() > 0.005


def test_nothing_is_nothing(weights):
    reading = Reader(open_learned(weights)).reading()
    assert (reading.right, reading.frames, reading.is_found) == (0, 0, False)


@pytest.mark.parametrize("bits", [30, 64, 96, 128, 256])
def test_chance_makes_no_message(bits):
    needed = bits_needed(bits)
    assert stats.binom.sf(needed - 1, bits, 0.5) <= CHANCE < stats.binom.sf(needed - 2, bits, 0.5)


def test_too_few_bits_are_never_enough():
    assert bits_needed(29) == 30


def test_the_message_has_no_order():
    bits = message(256)[0]
    assert bits.shape == (256,)
    assert 100 < bits.sum() < 156
    assert torch.equal(message(64)[0], bits[:64])


def broken(path, **changes):
    state = pair(0.5).state_dict()
    for name, value in changes.items():
        state[name.replace("__", ".")] = value
    save_file({name: value.clone() for name, value in state.items()}, path)
    return path


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path, "no such model file"),
        (lambda path: path.write_bytes(b"PK\3\4 cut off"), "is damaged"),
        (lambda path: torch.jit.script(torch.nn.Linear(2, 2)).save(str(path)), "is a TorchScript program, which is"),
        (lambda path: torch.save({"model": {"weight": torch.zeros(2)}}, path), "no VideoSeal: it has no tensor"),
        (lambda path: torch.save({"model": 3}, path), "holds no state dict"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_file_that_cannot_be_used_is_one_line(run, tmp_path, make, says):
    make(tmp_path / "file.pth")
    with pytest.raises(CheckpointError, match=says) as caught:
        run("out.mp4", weights=str(tmp_path / "file.pth"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.mp4").exists()


def test_numbers_that_are_none_and_other_shapes(tmp_path):
    outc = torch.full((1, 2, 1, 1), float("nan"))
    with pytest.raises(CheckpointError, match=r"embedder\.unet\.outc\.weight has values that are no numbers"):
        open_learned(broken(tmp_path / "a.safetensors", embedder__unet__outc__weight=outc))
    colour = torch.zeros(2, 3, 3, 3)
    with pytest.raises(CheckpointError, match=r"\(2, 3, 3, 3\), expected \(2, 1, 3, 3\); expected VideoSeal 1.0's"):
        open_learned(broken(tmp_path / "b.safetensors", embedder__unet__inc__double_conv__0__weight=colour))


def test_weights_without_their_mark_are_refused(monkeypatch, tmp_path):
    with pytest.raises(InputError, match="no watermark is asked for"):
        Marks(("tag",), weights="a.pth")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(WEIGHTS, "a.pth")
    assert Marks(("watermark",)).anywhere().weights == str(tmp_path / "a.pth")
    assert Marks(("tag",)).anywhere() == Marks(("tag",))
