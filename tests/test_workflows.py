"""Every workflow in both forms: for the browser (`workflows/*.json`) and for the API (`workflows/api/*.json`)."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "workflows"
BROWSER = sorted(FOLDER.glob("*.json"))
API = sorted((FOLDER / "api").rglob("*.json"))
PUBLIC = {
    "Real person with HuMo 1.7B", "Real person with HuMo 17B fp8", "Real person with LatentSync",
    "Real person with X-Dub", "LTX-2 own voice", "LTX-2 audio-visual edit",
}  # fmt: skip
"""Those over public weights: `scripts/engine_cards.py` draws their pictures until somebody ran them."""
NOTES = ("MarkdownNote", "Note")
TITLE = 30
"""Pixels of a node's title, above its position."""


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def title(path):
    """A template's name without its number."""
    return path.stem[3:]


def twin(path):
    folder = FOLDER / "api" / "public" if title(path) in PUBLIC else FOLDER / "api"
    return folder / f"{title(path).lower().replace(' ', '_')}.json"


def nodes_of(workflow):
    return {str(node["id"]): node for node in workflow["nodes"] if node["type"] not in NOTES}


def links_of(workflow):
    """(source node, output, target node, input's name) of every link."""
    nodes = {node["id"]: node for node in workflow["nodes"]}
    return {
        (str(source), output, str(target), nodes[target]["inputs"][slot]["name"])
        for _, source, output, target, slot, _ in workflow["links"]
    }


def test_all_are_there():
    assert {title(path) for path in BROWSER} == PUBLIC | {
        "Lip sync a video", "The parts", "Cartoon or animal", "Two speakers", "Long video", "Lossless",
        "Your own speaker", "Speaker LoRA",
    }  # fmt: skip
    assert [path.stem[:3] for path in BROWSER] == [f"{number:02d} " for number in range(1, len(BROWSER) + 1)]
    assert {twin(path) for path in BROWSER} | {FOLDER / "api" / "own_files.json"} == set(API)


@pytest.mark.parametrize("path", BROWSER, ids=lambda path: path.stem)
def test_both_forms_say_the_same(path):
    browser, prompt = read(path), read(twin(path))
    nodes = nodes_of(browser)
    assert {key: node["type"] for key, node in nodes.items()} == {k: node["class_type"] for k, node in prompt.items()}
    wired = {
        (*value, key, name)
        for key, node in prompt.items()
        for name, value in node["inputs"].items()
        if isinstance(value, list)
    }
    assert wired == links_of(browser)
    for key, node in nodes.items():
        widgets = [given["name"] for given in node["inputs"] if "widget" in given]
        plain = {name.split(".")[0]: value for name, value in reversed(prompt[key]["inputs"].items())}
        set_here = [name for name in widgets if not isinstance(plain.get(name), list)]
        assert set(set_here) == {name for name, value in plain.items() if not isinstance(value, list)}, key
        values = iter(node["widgets_values"])
        assert all(value in values for value in prompt[key]["inputs"].values() if not isinstance(value, list)), key


@pytest.mark.parametrize("path", BROWSER, ids=lambda path: path.stem)
def test_the_graph_is_whole_and_lies_well(path):
    workflow = read(path)
    ids = [node["id"] for node in workflow["nodes"]]
    assert len(set(ids)) == len(ids)
    assert max(ids) == workflow["last_node_id"]
    assert workflow["last_link_id"] == len(workflow["links"])
    outputs = {link: (node["id"], slot) for node in workflow["nodes"] for slot, output in enumerate(node["outputs"])
               for link in output["links"] or ()}  # fmt: skip
    inputs = {given["link"]: (node["id"], slot) for node in workflow["nodes"]
              for slot, given in enumerate(node["inputs"]) if given["link"] is not None}  # fmt: skip
    for link, source, output, target, slot, _ in workflow["links"]:
        assert outputs[link] == (source, output)
        assert inputs[link] == (target, slot)
    boxes = [(*node["pos"], *node["size"]) for node in workflow["nodes"]]
    for number, (x, y, width, height) in enumerate(boxes):
        for x2, y2, width2, height2 in boxes[:number]:
            apart = x >= x2 + width2 or x2 >= x + width or y - TITLE >= y2 + height2 or y2 - TITLE >= y + height
            assert apart, (path.stem, ids[number])
    assert workflow["groups"]
    assert any(node["type"] in NOTES for node in workflow["nodes"])


@pytest.mark.parametrize("path", BROWSER, ids=lambda path: path.stem)
def test_a_picture(path):
    data = np.fromfile(path.with_suffix(".jpg"), np.uint8)
    assert bytes(data[:3]) == b"\xff\xd8\xff"
    assert len(data) < 200_000
    assert min(cv2.imdecode(data, cv2.IMREAD_COLOR).shape[:2]) >= 256


@pytest.mark.parametrize("path", [path for path in BROWSER if title(path) in PUBLIC], ids=lambda path: path.stem)
def test_public_files_say_where_they_come_from(path):
    """As the host's own templates do, so that it can offer their download."""
    for node in read(path)["nodes"]:
        named = {value for value in node.get("widgets_values") or () if str(value).endswith((".safetensors", ".pt"))}
        models = node["properties"].get("models", [])
        assert {model["name"] for model in models} == named
        for model in models:
            assert model["url"].startswith("https://huggingface.co/")
            assert Path(model["name"]).stem in model["url"]
            assert Path(model["url"]).suffix == Path(model["name"]).suffix
            assert model["directory"] in ("checkpoints", "diffusion_models", "text_encoders", "vae", "audio_encoders")


@pytest.mark.parametrize("path", [path for path in BROWSER if title(path) in PUBLIC], ids=lambda path: path.stem)
def test_public_notes_name_every_file_its_folder_size_and_licence(path):
    nodes = read(path)["nodes"]
    (note,) = (node["widgets_values"][0] for node in nodes if node["type"] in NOTES)
    rows = [line for line in note.splitlines() if line.startswith("* **")]
    for model in (model for node in nodes for model in node["properties"].get("models", [])):
        (row,) = (row for row in rows if Path(model["name"]).stem in row)
        assert f"*{model['directory']}*" in row and re.search(r"\d GB", row), row
    assert "**Licence.**" in note
    assert "Hugging Face" in note


@pytest.mark.parametrize("path", [path for path in BROWSER if title(path) in PUBLIC], ids=lambda path: path.stem)
def test_the_mouth_can_be_pointed_at_and_is_shown(path):
    """Mouth Track takes a click on the first frame and shows its sheet; until then the mouth is looked for, where the
    template does not ask for the click."""
    prompt = read(twin(path))
    by_kind = {node["class_type"]: (key, node["inputs"]) for key, node in prompt.items()}
    if "OmniSyncLipSyncVideo" not in by_kind:
        assert title(path) == "LTX-2 audio-visual edit"  # the whole picture is edited
        return
    (track, pointed), (_, synced) = by_kind["OmniSyncMouthTrack"], by_kind["OmniSyncLipSyncVideo"]
    assert synced["mouth_track"] == [track, 0]
    assert pointed["source"] == synced["video"]
    assert pointed["speaker"] in ("point", "largest")
    assert {"point_x", "point_y"} <= set(pointed)
    assert pointed["preview_seconds"] == synced["preview_seconds"] > 0


@pytest.mark.parametrize("path", BROWSER, ids=lambda path: path.stem)
def test_notes_are_readable(path):
    """The newer renderer paints `code` blue on blue and cuts tables off at the note's edge."""
    for node in read(path)["nodes"]:
        if node["type"] in NOTES:
            assert "`" not in node["widgets_values"][0]
            assert "|" not in node["widgets_values"][0]


def test_the_example_s_mouth_is_clicked():
    """The templates of the bundled clip point at its mouth, which the clip's own truth knows."""
    about = json.loads((ROOT / "omnisync_core" / "assets" / "demo" / "mouth.json").read_text(encoding="utf-8"))
    for path in BROWSER:
        nodes = [node["widgets_values"] for node in read(path)["nodes"]]
        if ["person"] in nodes:
            x, y = next(values[2:4] for values in nodes if len(values) == 6 and values[0] == "point")
            apart = np.hypot(x * about["size"] - about["point"][0], y * about["size"] - about["point"][1])
            assert apart < 0.1 * about["mouth_width"], path.stem


@pytest.mark.parametrize("path", BROWSER, ids=lambda path: path.stem)
def test_nothing_sticks_out_of_its_group(path):
    workflow = read(path)
    for node in workflow["nodes"]:
        if node["type"] in NOTES:
            continue
        (left, top), (wide, high) = node["pos"], node["size"]
        assert any(
            x <= left and y <= top - TITLE and left + wide <= x + width and top + high <= y + height
            for x, y, width, height in (group["bounding"] for group in workflow["groups"])
        ), node["id"]


@pytest.mark.parametrize("path", BROWSER, ids=lambda path: path.stem)
def test_an_upright_film_has_room(path):
    """What a node grows to with a film of 9:16 in it, measured in the browser, fits its group and meets no other."""
    workflow = read(path)
    boxes = {node["id"]: (*node["pos"], *node["size"]) for node in workflow["nodes"]}
    for node in workflow["nodes"]:
        if node["type"] not in ("OmniSyncMouthTrack", "LoadVideo", "SaveVideo") or "crops" in node.get("title", ""):
            continue
        left, top, wide, _ = boxes[node["id"]]
        high = 1020 if node["type"] == "OmniSyncMouthTrack" else wide * 16 / 9 + 100  # a picture and its sheet; a film
        groups = [group["bounding"] for group in workflow["groups"]]
        assert any(x <= left < x + width and y <= top and top + high <= y + height for x, y, width, height in groups)
        below = [x < left + wide and left < x + width and top < y < top + high for x, y, width, _ in boxes.values()]
        assert not any(below), node["id"]
        crossed = [x < left + wide and left < x + width and top < y < top + high for x, y, width, _ in groups]
        assert not any(crossed), node["id"]


@pytest.mark.parametrize("path", BROWSER, ids=lambda path: path.stem)
def test_links_go_through_their_waypoints(path):
    workflow = read(path)
    waypoints = {point["id"]: point for point in workflow["extra"].get("reroutes", ())}
    passed = {key: set() for key in waypoints}
    for link in workflow["extra"].get("linkExtensions", ()):
        at = link["parentId"]
        while at:
            passed[at].add(link["id"])
            at = waypoints[at].get("parentId")
    sources = {link: (node, output) for link, node, output, *_ in workflow["links"]}
    for key, point in waypoints.items():
        assert set(point["linkIds"]) == passed[key]
        assert len({sources[link] for link in passed[key]}) == 1, "one waypoint, two outputs"


@pytest.mark.parametrize("path", sorted((ROOT / "subgraphs").glob("*.json")), ids=lambda path: path.stem)
def test_a_blueprint_is_whole(path):
    (node,), (inner,) = read(path)["nodes"], read(path)["definitions"]["subgraphs"]
    assert node["type"] == inner["id"]
    assert path.stem == node["title"] == inner["name"]
    assert [given["name"] for given in node["inputs"]] == [given["name"] for given in inner["inputs"]]
    assert [given["name"] for given in node["outputs"]] == [given["name"] for given in inner["outputs"]]
    nodes = {one["id"]: one for one in inner["nodes"]}
    for link in inner["links"]:
        if link["origin_id"] == inner["inputNode"]["id"]:
            assert link["id"] in inner["inputs"][link["origin_slot"]]["linkIds"]
        else:
            assert link["id"] in nodes[link["origin_id"]]["outputs"][link["origin_slot"]]["links"]
        if link["target_id"] == inner["outputNode"]["id"]:
            assert link["id"] in inner["outputs"][link["target_slot"]]["linkIds"]
        else:
            assert nodes[link["target_id"]]["inputs"][link["target_slot"]]["link"] == link["id"]
    needed = [
        given for one in nodes.values() for given in one["inputs"] if "widget" not in given and "shape" not in given
    ]
    assert all(given["link"] for given in needed)


@pytest.mark.parametrize("path", API, ids=lambda path: path.stem)
def test_the_api_form_links_what_is_there(path):
    prompt = read(path)
    for node in prompt.values():
        assert {"class_type", "inputs", "_meta"} == set(node)
        assert all(value[0] in prompt for value in node["inputs"].values() if isinstance(value, list))
