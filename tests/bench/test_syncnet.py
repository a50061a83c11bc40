"""SyncNet against numbers of the public code on the same weights, and against offsets that were planted."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from omnisync_core.bench import syncnet
from omnisync_core.bench.syncnet import SyncNet, as_16_bit, compare, load_syncnet, mfcc, score
from omnisync_core.errors import CheckpointError, InputError
from tests.bench.weights import by_rule

GOLDEN = Path(__file__).parents[1] / "golden"
SHAPES = {key: tuple(shape) for key, shape in json.loads((GOLDEN / "syncnet_keys.json").read_text()).items()}
NUMBERS = np.load(GOLDEN / "syncnet.npz")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A file with the public one's keys; old files hold no counters of training steps."""
    tensors = {key: value for key, value in by_rule(SHAPES).items() if not key.endswith("num_batches_tracked")}
    path = tmp_path_factory.mktemp("weights") / "syncnet_v2.model"
    torch.save(tensors, path, _use_new_zipfile_serialization=False)
    return path


@pytest.fixture(scope="module")
def net(published):
    return load_syncnet(published)


def test_the_keys_and_shapes_are_the_public_ones():
    assert {key: tuple(value.shape) for key, value in SyncNet().state_dict().items()} == SHAPES


def test_the_network_equals_the_public_one_on_random_weights(net):
    rng = np.random.default_rng(5)
    lips = torch.from_numpy(rng.integers(0, 256, (2, 3, 5, 224, 224)).astype(np.float32))
    cepstra = torch.from_numpy(rng.normal(0, 5, (3, 1, 13, 20)).astype(np.float32))
    with torch.inference_mode():
        for ours, name in ((net.lips(lips), "lips"), (net.sound(cepstra), "sound")):
            theirs = torch.from_numpy(NUMBERS[name])
            assert float((ours - theirs).abs().max() / theirs.abs().max()) < 1e-5


def test_the_comparison_equals_the_public_one():
    rng = np.random.default_rng(5)
    rng.integers(0, 256, (2, 3, 5, 224, 224))
    rng.normal(0, 5, (3, 1, 13, 20))
    lips, sounds = (torch.from_numpy(rng.normal(0, 1, (40, 64)).astype(np.float32)) for _ in range(2))
    sounds[3:] += 2 * lips[:-3]
    found = compare(lips, sounds)
    confidence, distance, offset = NUMBERS["compared"]
    assert found.offset == offset == -3
    assert abs(found.confidence - confidence) < 1e-5
    assert abs(found.distance - distance) < 1e-5


def test_the_cepstra_equal_those_of_the_public_front_end():
    assert np.abs(mfcc(NUMBERS["wave"]) - NUMBERS["mfcc"]).max() < 1e-4


@pytest.mark.parametrize("offset", [-15, -7, -1, 0, 4, 15])
def test_a_planted_offset_is_found_exactly(offset):
    """Sound features that are the lips' own, moved by whole frames."""
    rng = np.random.default_rng(offset + 20)
    lips = torch.from_numpy(rng.normal(0, 1, (90, 32)).astype(np.float32))
    sounds = torch.roll(lips, -offset, 0) + 0.05 * torch.from_numpy(rng.normal(0, 1, (90, 32)).astype(np.float32))
    found = compare(lips, sounds)
    assert found.offset == offset
    assert found.confidence > 2
    assert found.distance < found.confidence


def test_sound_against_other_lips_has_no_confidence():
    rng = np.random.default_rng(3)
    lips, sounds = (torch.from_numpy(rng.normal(0, 1, (90, 32)).astype(np.float32)) for _ in range(2))
    assert compare(lips, sounds).confidence < 0.3


class Told(torch.nn.Module):
    """In the network's place: lips tell the brightness of their first frame, sound the mean of its loudness."""

    def __init__(self):
        super().__init__()
        self.anchor = torch.nn.Parameter(torch.zeros(1))
        self.seen, self.heard = [], 0

    def lips(self, frames):
        self.seen.append(frames)
        return frames[:, :1, 0, 0, 0]

    def sound(self, cepstra):
        self.heard += len(cepstra)
        return cepstra[:, 0, 0, :4].mean(1, keepdim=True)


@pytest.mark.parametrize("delay", [0, 3, -5])
def test_pictures_and_sound_that_were_moved_apart_are_told_so(delay):
    """Flashes and bursts on the same frames, the bursts `delay` frames later."""
    rng = np.random.default_rng(1)
    level = rng.uniform(0, 1, 80)
    crops = [np.full((224, 224, 3), round(255 * value), np.uint8) for value in level]
    wave = np.repeat(level, 640) * np.tile([1, -1], 80 * 320) * 0.5
    # What SyncNet would learn: the loudness of a frame's sound is its brightness.
    net = Told()
    heard = mfcc(as_16_bit(wave))[:, 0].reshape(-1)[: 4 * 79].reshape(79, 4).mean(1)
    slope, base = np.polyfit(heard, level[:79] * 255, 1)
    plain = net.sound
    net.sound = lambda cepstra: plain(cepstra) * slope + base
    found = score(net, crops, np.roll(wave, 640 * delay).astype(np.float32))
    assert found.offset == -delay


def test_batches_leave_no_window_out_and_take_none_twice():
    for frames in (6, 24, 25, 26, 44, 45, 47):
        net = Told()
        crops = (np.full((224, 224, 3), at, np.uint8) for at in range(frames))
        score(net, crops, np.zeros(frames * 640, np.float32))
        assert sum(map(len, net.seen)) == frames - 4
        assert net.heard == frames - 5  # the public evaluation leaves the last window out


def test_lips_are_seen_as_the_public_code_reads_them():
    """Windows of five frames in a row, blue first, 0 to 255."""
    net = Told()
    colors = [(at, 100 + at, 200 + at) for at in range(8)]
    score(net, (np.full((224, 224, 3), rgb, np.uint8) for rgb in colors), np.zeros(8 * 640, np.float32))
    lips = torch.cat(net.seen)
    assert lips.shape == (4, 3, 5, 224, 224)
    for window in range(4):
        for channel, base in enumerate((200, 100, 0)):
            assert lips[window, channel, :, 3, 7].tolist() == [base + window + at for at in range(5)]


@pytest.mark.parametrize(("frames", "seconds"), [(0, 1), (3, 1), (5, 1), (30, 0.2)])
def test_a_clip_shorter_than_the_window_is_told(frames, seconds):
    crops = [np.zeros((224, 224, 3), np.uint8)] * frames
    with pytest.raises(InputError, match="SyncNet needs 6 frames"):
        score(Told(), crops, np.zeros(round(seconds * 16000), np.float32))


def test_weights_of_another_network_are_refused(tmp_path):
    tensors = by_rule(SHAPES)
    cases = {
        "1 tensors are missing": {key: value for key, value in tensors.items() if key != "netfclip.3.bias"},
        "1 unexpected": tensors | {"netfclip.9.bias": torch.zeros(3)},
        "has shape": tensors | {"netfclip.3.bias": torch.zeros(256)},
    }
    for message, state in cases.items():
        torch.save(state, tmp_path / "x.model")
        with pytest.raises(CheckpointError, match=message):
            load_syncnet(tmp_path / "x.model")
    (tmp_path / "x.model").write_bytes(b"no network")
    with pytest.raises(CheckpointError, match="damaged"):
        load_syncnet(tmp_path / "x.model")


def test_silence_has_cepstra_that_are_numbers():
    assert np.isfinite(mfcc(np.zeros(1000))).all()
    assert len(mfcc(np.zeros(10))) == 1
    assert syncnet.mfcc(np.zeros(400)).shape == (1, 13)
