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
BLUEPRINTS = sorted((ROOT / "subgraphs").glob("*.json"))
API = sorted((FOLDER / "api").rglob("*.json"))
PUBLIC = {
    "Real person with HuMo 1.7B", "Real person with HuMo 17B fp8", "Real person with LatentSync",
    "Real person with X-Dub", "LTX-2 own voice", "LTX-2 audio-visual edit", "Speaker LoRA on HuMo 1.7B",
}  # fmt: skip
"""Those over public weights: `scripts/engine_cards.py` draws their pictures until somebody ran them."""
NOTES = ("MarkdownNote", "Note")
TITLE = 30
"""Pixels of a node's title, above its position."""
INPUTS, OUTPUTS = -10, -20
"""What stands for a box's own inputs and outputs inside of it."""


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def title(path):
    """A template's name without its number."""
    return path.stem[3:]


def twin(path):
    folder = FOLDER / "api" / "public" if title(path) in PUBLIC else FOLDER / "api"
    return folder / f"{title(path).lower().replace(' ', '_')}.json"


def boxes_of(workflow):
    """(the node that stands for it, what is inside) of every subgraph."""
    inside = {graph["id"]: graph for graph in workflow.get("definitions", {}).get("subgraphs", ())}
    return [(node, inside[node["type"]]) for node in workflow["nodes"] if node["type"] in inside]


def graphs_of(workflow):
    """The workflow and the insides of its boxes: all that lies on one plane each."""
    return [workflow, *(inner for _, inner in boxes_of(workflow))]


def nodes_of(workflow):
    """By the host's ids: a node inside a box is `box:node`."""
    boxes = {node["id"]: inner["nodes"] for node, inner in boxes_of(workflow)}
    whole = {str(node["id"]): node for node in workflow["nodes"] if node["id"] not in boxes}
    whole |= {f"{box}:{node['id']}": node for box, nodes in boxes.items() for node in nodes}
    return {key: node for key, node in whole.items() if node["type"] not in NOTES}


def links_of(workflow):
    """(source node, output, target node, input's name) of every link between nodes that are no boxes."""
    nodes = {node["id"]: node for node in workflow["nodes"]}
    boxes = {node["id"]: inner for node, inner in boxes_of(workflow)}

    def source(node, output):
        if node not in boxes:
            return str(node), output
        (link,) = (one for one in boxes[node]["links"] if (one["target_id"], one["target_slot"]) == (OUTPUTS, output))
        return f"{node}:{link['origin_id']}", link["origin_slot"]

    def targets(node, name):
        if node not in boxes:
            return [(str(node), name)]
        slot = [given["name"] for given in boxes[node]["inputs"]].index(name)
        ends = [one for one in boxes[node]["links"] if (one["origin_id"], one["origin_slot"]) == (INPUTS, slot)]
        return [end(node, one) for one in ends]

    def end(box, link):
        inner = next(node for node in boxes[box]["nodes"] if node["id"] == link["target_id"])
        return f"{box}:{inner['id']}", inner["inputs"][link["target_slot"]]["name"]

    outer = {
        (*source(origin, output), *target)
        for _, origin, output, node, slot, _ in workflow["links"]
        for target in targets(node, nodes[node]["inputs"][slot]["name"])
    }
    inner = {
        (f"{box}:{link['origin_id']}", link["origin_slot"], *end(box, link))
        for box, graph in boxes.items()
        for link in graph["links"]
        if link["origin_id"] != INPUTS and link["target_id"] != OUTPUTS
    }
    return outer | inner


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
    ids = [node["id"] for graph in graphs_of(workflow) for node in graph["nodes"]]
    assert len(set(ids)) == len(ids), "the host would number them anew"
    assert max(ids) == workflow["last_node_id"]
    assert workflow["last_link_id"] == len(workflow["links"])
    outputs = {link: (node["id"], slot) for node in workflow["nodes"] for slot, output in enumerate(node["outputs"])
               for link in output["links"] or ()}  # fmt: skip
    inputs = {given["link"]: (node["id"], slot) for node in workflow["nodes"]
              for slot, given in enumerate(node["inputs"]) if given["link"] is not None}  # fmt: skip
    for link, source, output, target, slot, _ in workflow["links"]:
        assert outputs[link] == (source, output)
        assert inputs[link] == (target, slot)
    assert all(graph["groups"] for graph in graphs_of(workflow))
    assert any(node["type"] in NOTES for node in workflow["nodes"])


@pytest.mark.parametrize("path", BROWSER + BLUEPRINTS, ids=lambda path: path.stem)
def test_nothing_lies_on_something_else(path):
    for graph in graphs_of(read(path)):
        ends = [graph[end]["bounding"] for end in ("inputNode", "outputNode") if end in graph]
        lying = [(x, y - TITLE, width, height + TITLE) for x, y, width, height in map(box_of, graph["nodes"])]
        for plane in (lying + ends, [group["bounding"] for group in graph.get("groups", ())] + ends):
            for number, (x, y, width, height) in enumerate(plane):
                for x2, y2, width2, height2 in plane[:number]:
                    apart = x >= x2 + width2 or x2 >= x + width or y >= y2 + height2 or y2 >= y + height
                    assert apart, (graph.get("name"), plane[number])


def box_of(node):
    return (*node["pos"], *node["size"])


@pytest.mark.parametrize("path", BROWSER, ids=lambda path: path.stem)
def test_a_picture(path):
    data = np.fromfile(path.with_suffix(".jpg"), np.uint8)
    assert bytes(data[:3]) == b"\xff\xd8\xff"
    assert len(data) < 200_000
    assert min(cv2.imdecode(data, cv2.IMREAD_COLOR).shape[:2]) >= 256


@pytest.mark.parametrize("path", [path for path in BROWSER if title(path) in PUBLIC], ids=lambda path: path.stem)
def test_public_files_say_where_they_come_from(path):
    """As the host's own templates do, so that it can offer their download; a LoRA of a speaker is the user's own."""
    for node in read(path)["nodes"]:
        if node["type"] == "LoraLoaderModelOnly":
            assert "models" not in node["properties"]
            continue
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
    for graph in graphs_of(read(path)):
        for node in graph["nodes"]:
            if node["type"] in NOTES:
                continue
            left, top, wide, high = box_of(node)
            assert any(
                x <= left and y <= top - TITLE and left + wide <= x + width and top + high <= y + height
                for x, y, width, height in (group["bounding"] for group in graph["groups"])
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


@pytest.mark.parametrize("path", BLUEPRINTS, ids=lambda path: path.stem)
def test_a_blueprint_is_one_box_of_its_name(path):
    ((box, inner),) = boxes_of(read(path))
    assert [box] == read(path)["nodes"]
    assert path.stem == box["title"] == inner["name"]


def test_the_parts_lie_open():
    """The method's six nodes are on the canvas; what prepares and puts back is in boxes."""
    (path,) = (path for path in BROWSER if title(path) == "The parts")
    workflow = read(path)
    assert {
        "OmniSyncLoadModel", "OmniSyncEncodeAudioWhisper", "OmniSyncEncodePromptT5", "OmniSyncProgressiveNoise",
        "OmniSyncDSCFGSampler", "OmniSyncChunkedVideoDecode", "OmniSyncMouthTrack",
    } <= {node["type"] for node in workflow["nodes"]}  # fmt: skip
    assert len(boxes_of(workflow)) == 4


BOXES = [(path, *box) for path in BROWSER + BLUEPRINTS for box in boxes_of(read(path))]


@pytest.mark.parametrize(("path", "box", "inner"), BOXES, ids=[inner["name"] for _, _, inner in BOXES])
def test_a_box_is_whole(path, box, inner):
    """What stands for it has its inputs, outputs and values; inside, every link is known at both of its ends."""
    assert box["title"] == inner["name"]
    for side in ("inputs", "outputs"):
        assert [(given["name"], given["type"]) for given in box[side]] == [
            (given["name"], given["type"]) for given in inner[side]
        ]
    nodes = {one["id"]: one for one in inner["nodes"]}
    for link in inner["links"]:
        if link["origin_id"] == INPUTS:
            assert link["id"] in inner["inputs"][link["origin_slot"]]["linkIds"]
        else:
            assert link["id"] in nodes[link["origin_id"]]["outputs"][link["origin_slot"]]["links"]
        if link["target_id"] == OUTPUTS:
            assert link["id"] in inner["outputs"][link["target_slot"]]["linkIds"]
        else:
            assert nodes[link["target_id"]]["inputs"][link["target_slot"]]["link"] == link["id"]
    needed = [
        given for one in nodes.values() for given in one["inputs"] if "widget" not in given and "shape" not in given
    ]
    assert all(given["link"] for given in needed)
    shown = [given["name"] for given in box["inputs"] if "widget" in given]
    assert box["properties"]["proxyWidgets"] == [["-1", name] for name in shown]
    assert len(box["widgets_values"]) == len(shown)


@pytest.mark.parametrize("path", API, ids=lambda path: path.stem)
def test_the_api_form_links_what_is_there(path):
    prompt = read(path)
    for node in prompt.values():
        assert {"class_type", "inputs", "_meta"} == set(node)
        assert all(value[0] in prompt for value in node["inputs"].values() if isinstance(value, list))
