"""What comes with the nodes: workflows that fit their schemas, help pages, words in three languages."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = ("en", "zh", "ja")
HOST_EXTRAS = (
    "nodes_video.py", "nodes_audio.py", "nodes_audio_encoder.py", "nodes_lt_audio.py", "nodes_custom_sampler.py",
    "nodes_images.py", "nodes_preview_any.py",
)  # fmt: skip


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def words(language):
    return read(ROOT / "locales" / language / "nodeDefs.json")


@pytest.fixture(scope="module")
def ours(host):
    return {node.GET_SCHEMA().node_id: node.GET_SCHEMA() for node in host.module("nodes").NODES}


@pytest.fixture(scope="module")
def schemas(host):
    """node id -> {input: (type, options)} in the order of the node's inputs."""
    host.load(*HOST_EXTRAS)

    def of(kind):
        types = host.node(kind).INPUT_TYPES()
        given = {**types.get("required", {}), **types.get("optional", {})}
        return {name: (*spec, {})[:2] for name, spec in given.items()}

    return of


@pytest.mark.parametrize("path", sorted((ROOT / "workflows" / "api").glob("*.json")), ids=lambda path: path.stem)
def test_api_workflows_name_real_inputs(schemas, path):
    for key, node in read(path).items():
        inputs = schemas(node["class_type"])
        for name, value in node["inputs"].items():
            assert name.split(".")[0] in inputs, f"{key}.{name}"
            kind, options = inputs[name.split(".")[0]]
            if isinstance(value, list) or "." in name or "upload" in " ".join(options):
                continue
            chosen = kind if isinstance(kind, list) else options.get("options")
            if chosen and all(isinstance(option, str) for option in chosen):
                assert value in chosen, f"{key}.{name}"
            if kind in ("INT", "FLOAT"):
                assert options.get("min", value) <= value <= options.get("max", value), f"{key}.{name}"


def nodes_of(path):
    """Those of a workflow or a blueprint, and of the boxes in it."""
    whole = read(path)
    inner = {graph["id"]: graph["nodes"] for graph in whole.get("definitions", {}).get("subgraphs", ())}
    return [node for nodes in (whole["nodes"], *inner.values()) for node in nodes if node["type"] not in inner]


@pytest.mark.parametrize(
    "path",
    [*sorted((ROOT / "workflows").glob("*.json")), *sorted((ROOT / "subgraphs").glob("*.json"))],
    ids=lambda path: path.stem,
)
def test_browser_workflows_hold_their_widgets_in_order(schemas, path):
    """The browser reads widgets by position."""
    for node in nodes_of(path):
        if node["type"] == "MarkdownNote":
            continue
        values = list(node["widgets_values"])
        for name, (kind, options) in schemas(node["type"]).items():
            if kind not in ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO") and not isinstance(kind, list):
                continue
            value = values.pop(0)
            right = {"INT": int, "FLOAT": (int, float), "BOOLEAN": bool}.get(str(kind), str)
            assert isinstance(value, right), (node["type"], name, value)
            if options.get("control_after_generate"):
                assert values.pop(0) in ("fixed", "randomize", "increment", "decrement")
        assert not values or node["type"] == "SaveVideo", (node["type"], values)


def test_every_node_has_a_help_page(ours):
    pages = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "web" / "docs").glob("*.md")}
    assert set(pages) == set(ours)
    for node, schema in ours.items():
        assert pages[node].startswith(f"# {schema.display_name}\n"), node
        missing = [given.id for given in schema.inputs if f"`{given.id}`" not in pages[node]]
        assert not missing, (node, missing)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_word_is_there(ours, language):
    ours_in = words(language)
    assert set(ours_in) == set(ours)
    for node, schema in ours.items():
        here = ours_in[node]
        assert here["display_name"], node
        assert here["description"], node
        assert list(here["inputs"]) == [given.id for given in schema.inputs], node
        for given in schema.inputs:
            assert here["inputs"][given.id]["name"], (node, given.id)
            assert bool(here["inputs"][given.id].get("tooltip")) == bool(given.tooltip), (node, given.id)
        for number, given in enumerate(schema.outputs):
            assert here["outputs"][str(number)]["name"], (node, number)
            assert bool(here["outputs"][str(number)].get("tooltip")) == bool(given.tooltip), (node, number)


def test_english_is_what_the_nodes_say(ours):
    english = words("en")
    for node, schema in ours.items():
        here = (english[node]["display_name"], english[node]["description"])
        assert here == (schema.display_name, schema.description), node
        for given in schema.inputs:
            assert english[node]["inputs"][given.id].get("tooltip") == given.tooltip, (node, given.id)


def test_every_output_says_what_it_is_for(ours):
    silent = [(node, given.id) for node, schema in ours.items() for given in schema.outputs if not given.tooltip]
    assert not silent


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_translations_are_translated(language):
    """No sentence of a node is left in English."""
    english, translated = words("en"), words(language)
    for node, here in translated.items():
        assert here["description"] != english[node]["description"], node
        for name, given in here["inputs"].items():
            tip = english[node]["inputs"][name].get("tooltip")
            assert tip is None or given["tooltip"] != tip, (node, name)


def test_every_hint_has_the_nodes_words(host):
    assert set(host.module("nodes.lipsync").HINTS) == set(host.module("omnisync_core.errors").HINTS)
