"""`web/js/search.js` in node: of ids that begin alike Lip Sync Video comes first, and nothing else moves."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "web" / "js" / "search.js"
STUB = "export const app = { registerExtension: (extension) => { globalThis.extension = extension; } };"
ASK = """
import "./extensions/omnisync/js/search.js";
const defs = ["OmniSyncEngine", "OmniSyncLipSyncVideo", "OtherPack"].map((name) => ({ name }));
globalThis.extension.beforeRegisterVueAppNodeDefs(defs);
const [engine, first, other] = defs;
globalThis.extension.beforeRegisterVueAppNodeDefs([{ name: "OtherPack" }]); // without it nothing happens
const length = first.name.length;
console.log(JSON.stringify({
  touched: [engine, other].map((def) => Object.keys(def)),
  byId: first.postProcessSearchScores([1, 0, length, 0.3]),
  byTitle: first.postProcessSearchScores([1, 0, 14, 0.2]),
  inside: first.postProcessSearchScores([3, 12, length, 0.3]),
}));
"""
"""The host's scores: tier, place within the name, its length, the rest; it puts popularity after the tier."""


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_the_main_node_comes_first_among_its_own(tmp_path):
    place = tmp_path / "extensions" / "omnisync" / "js" / "search.js"
    place.parent.mkdir(parents=True)
    shutil.copy(SCRIPT, place)
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "app.js").write_text(STUB)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "ask.js").write_text(ASK)
    done = subprocess.run(["node", "ask.js"], cwd=tmp_path, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["touched"] == [["name"], ["name"]]
    assert found["byId"] == [1, -1, 0, len("OmniSyncLipSyncVideo"), 0.3]
    assert found["byTitle"] == [1, 0, 0, 14, 0.2]  # as the host has it, where popularity is unknown
    assert found["inside"] == [3, 0, 12, len("OmniSyncLipSyncVideo"), 0.3]
