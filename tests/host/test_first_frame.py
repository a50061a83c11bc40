"""The picture that is clicked, over HTTP: what it shows, and whom it does not serve."""

import asyncio
import os
import shutil
from fractions import Fraction
from urllib.parse import urlencode

import av
import cv2
import numpy as np
import pytest

FPS = 10
CODECS = {"mp4": ("libx264", "yuv420p"), "mov": ("prores_ks", "yuv422p10le"), "mkv": ("libx265", "yuv420p10le")}


def grey(number):
    """What frame `number` of a written video looks like."""
    return 20 + 10 * number


def write(path, frames=20, size=(64, 48), codec=None):
    name, pix_fmt = codec or CODECS.get(path.suffix[1:], CODECS["mp4"])
    with av.open(str(path), "w") as output:
        stream = output.add_stream(
            name, rate=FPS, options={"x265-params": "log-level=none"} if name == "libx265" else {}
        )
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        stream.codec_context.time_base = Fraction(1, FPS)
        for number in range(frames):
            picture = np.full((size[1], size[0], 3), grey(number), np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format=pix_fmt)))
        output.mux(stream.encode(None))
    return path


@pytest.fixture
def ask(host):
    """`ask(file=..., trims=...)`: status and body, through the host's own routes."""
    from aiohttp import web
    from aiohttp.test_utils import TestClient, TestServer
    from server import PromptServer

    route = host.module("nodes.host.first_frame").ROUTE

    async def get(query):
        app = web.Application()
        app.add_routes([one for one in PromptServer.instance.routes if getattr(one, "path", None) == route])
        async with TestClient(TestServer(app)) as client:
            answer = await client.get(f"{route}?{urlencode(query)}")
            return answer.status, await answer.read()

    return lambda **query: asyncio.run(get(query))


def shown(answer):
    """The mean grey of the picture, and its width and height."""
    status, body = answer
    assert status == 200, body
    picture = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
    return float(picture.mean()), picture.shape[1::-1]


@pytest.mark.parametrize("suffix", CODECS)
@pytest.mark.parametrize(
    ("query", "number"),
    [
        ({}, 0),
        ({"trims": "[[0.5, 0]]"}, 5),
        ({"trims": "[[0.5, 1.0], [0.3, 0]]"}, 8),
        ({"trims": "[[-0.4, 0]]"}, 16),
        ({"skip": "3"}, 3),
        ({"trims": "[[0.5, 0]]", "skip": "2"}, 7),
    ],
)
def test_the_frame_that_the_node_will_see(host, ask, suffix, query, number):
    path = host.base / "input" / f"greys.{suffix}"
    if not path.exists():
        write(path)
    mean, size = shown(ask(file=path.name, **query))
    assert abs(mean - grey(number)) < 4
    assert size == (64, 48)


def test_all_three_folders_and_a_folder_inside(host, ask):
    for folder in ("input", "output", "temp"):
        inside = host.base / folder / "deep"
        inside.mkdir()
        write(inside / "one.mp4", 2)
        assert shown(ask(file=f"deep/one.mp4 [{folder}]"))[1] == (64, 48)
        shutil.rmtree(inside)


@pytest.mark.parametrize("name", ["person", "person, true lips", "animal", "two speakers"])
def test_every_example(ask, name):
    assert min(shown(ask(example=name))[1]) > 100


def test_a_large_frame_comes_small(host, ask):
    write(host.base / "input" / "tall.mp4", 1, (1080, 1920))
    assert shown(ask(file="tall.mp4"))[1] == (720, 1280)


@pytest.fixture(scope="session")
def secret(host):
    """A video outside of the host's folders, and links to it from inside."""
    path = write(host.base / "secret.mp4", 2)
    (host.base / "elsewhere").mkdir()
    write(host.base / "elsewhere" / "one.mp4", 2)
    if hasattr(os, "symlink"):
        (host.base / "input" / "link.mp4").symlink_to(path)
        (host.base / "input" / "linked").symlink_to(host.base / "elsewhere", target_is_directory=True)
    (host.base / "input" / "list.m3u8").write_text(f"#EXTM3U\n#EXTINF:1,\n{path}\n#EXT-X-ENDLIST\n")
    (host.base / "input" / "list.ffconcat").write_text(f"ffconcat version 1.0\nfile {path}\n")
    (host.base / "input" / "text.mp4").write_text("not a video")
    (host.base / "input" / "empty.mp4").write_bytes(b"")
    (host.base / "input" / "folder.mp4").mkdir()
    return path


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"file": ""},
        {"file": "../secret.mp4"},
        {"file": "deep/../../secret.mp4"},
        {"file": "../secret.mp4 [output]"},
        {"file": "..\\secret.mp4"},
        {"file": "{secret}"},
        {"file": "{secret} [temp]"},
        {"file": "file:{secret}"},
        {"file": "/etc/passwd"},
        {"file": "\0"},
        {"file": "secret.mp4\0.mp4"},
        {"file": "link.mp4"},
        {"file": "linked/one.mp4"},
        {"file": "list.m3u8"},
        {"file": "list.ffconcat"},
        {"file": "text.mp4"},
        {"file": "empty.mp4"},
        {"file": "folder.mp4"},
        {"file": "."},
        {"file": "none.mp4"},
        {"file": "a" * 300 + ".mp4"},
        {"file": "a/" * 3000},
        {"file": "\udcff.mp4"},
        {"file": "concat:{secret}|{secret}"},
        {"file": "http://127.0.0.1:1/one.mp4"},
        {"example": "../../secret.mp4"},
        {"example": ""},
    ],
    ids=str,
)
def test_nothing_else_is_read(secret, ask, query):
    query = {
        name: value.replace("{secret}", str(secret)).encode("utf-8", "surrogateescape") for name, value in query.items()
    }
    status, body = ask(**query)
    assert status == 404
    assert b"Traceback" not in body
    assert str(secret).encode() not in body


@pytest.mark.parametrize(
    "query",
    [
        {"trims": "x"},
        {"trims": "{}"},
        {"trims": "[1]"},
        {"trims": "[[NaN, 0]]"},
        {"trims": "[[1e400, 0]]"},
        {"trims": "[[0, -1]]"},
        {"trims": '[["0", 0]]'},
        {"trims": "[[true, 0]]"},
        {"trims": "[[0, 0]" + ", [0, 0]" * 20 + "]"},
        {"trims": "[" * 100_000},
        {"trims": "[[99, 0]]"},
        {"skip": "-1"},
        {"skip": "x"},
        {"skip": "9" * 40},
        {"skip": "999"},
        {"skip": "٣"},
    ],
    ids=lambda query: str(query)[:40],
)
def test_odd_trims_are_told_in_one_line(host, ask, query):
    path = host.base / "input" / "odd.mp4"
    if not path.exists():
        write(path)
    status, body = ask(file="odd.mp4", **query)
    assert status in (400, 404)
    assert b"\n" not in body


def test_frames_too_large_are_not_decoded(host, ask, monkeypatch):
    write(host.base / "input" / "large.mp4", 1, (128, 96))
    assert shown(ask(file="large.mp4"))[1] == (128, 96)
    monkeypatch.setattr(host.module("nodes.host.first_frame"), "LARGEST", 128 * 96 - 1)
    status, body = ask(file="large.mp4")
    assert status == 404
    assert b"too large: 128x96" in body
