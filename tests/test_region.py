import numpy as np

from omnisync_core import region


def test_an_identity_edit_changes_nothing():
    rng = np.random.default_rng(0)
    frame = rng.random((120, 160, 3), np.float32)
    box = region.Box(30.3, 20.7, 77.1)
    crop = region.crop(lambda b: frame[b[1] : b[3], b[0] : b[2]], (160, 120), box, 48)
    cover = region.cover(box, (160, 120))
    mask = region.edit_mask(48, [[0.5, 0.5, 0.4]])[0]
    source = frame[cover[1] : cover[3], cover[0] : cover[2]]
    assert not region.delta(source, cover, box, crop, crop, mask).any()
