"""Who may import whom: the house's law, read from the source."""

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE, PACK = ROOT / "omnisync_core", ROOT / "nodes"
LAZY = ("cli", "demo")
"""They import what they need when they need it."""

RANKS = [
    {"errors", "files", "spec", "diffusion", "models.layers"},
    {"audio", "manifest", "media", "models", "tables", "timing", "windows.chunks", "engines.protocol"},
    {"mouth", "crop", "configuration", "checkpoint", "adapter"},
    {"job", "marks", "windows", "engines", "sheets"},
    {"pipeline"},
    {"batch"},
    {"cli", "__main__", "demo", "queue", "queue_batch"},
]
"""A room imports from its own rank and from those before; `evaluation` and `training` stand beside `pipeline`, `bench`
beside the command line."""
BESIDE = {"bench": 6, "evaluation": 4, "synth": 1, "training": 4, "adaptation": 4}
SHOWN = ("sheets", "evaluation", "bench")
"""Pictures and figures: met by nodes, by the command line, by the demonstration and by each other."""
WORKSHOP = ("training", "synth", "adaptation")
"""Never met by inference."""
NETWORK = {
    "subprocess", "socket", "ssl", "urllib", "http", "ftplib", "smtplib", "requests", "httpx", "aiohttp", "websockets",
    "huggingface_hub", "multiprocessing",
}  # fmt: skip
HOST = {"comfy", "comfy_api", "comfy_extras", "comfy_execution", "folder_paths", "node_helpers", "latent_preview",
        "nodes", "server", "execution"}  # fmt: skip
PROCESSES = {"synth.speech": {"subprocess"}, "queue": NETWORK, "batch.cluster": {"socket"}}
"""espeak-ng runs in a process of its own, in training and tests; `queue` talks to a running host; a batch asks whether
the cluster that the user names is there."""


def name_of(path: Path) -> str:
    parts = path.relative_to(CORE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


NAMES = {name_of(path): path for path in sorted(CORE.rglob("*.py")) if name_of(path)}


def room_of(name: str) -> str:
    return name.split(".")[0]


def _rooms_met(name: str) -> set[str]:
    return {room_of(other) for other in imported(NAMES[name])}


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(path: Path, *, top_only: bool = False) -> set[str]:
    """Modules of the core that a file imports, as dotted names below `omnisync_core`."""
    tree, found = tree_of(path), set()
    package = list(path.relative_to(CORE).parts[:-1])
    nodes = _outside_functions(tree) if top_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            module = [*base, *(node.module.split(".") if node.module else [])]
            for alias in node.names:
                inner = [*module, alias.name]
                found.add(".".join(inner if is_module(inner) else module))
    return found - {""}


def _outside_functions(tree: ast.AST):
    """What runs when the file is imported: types alone are imported otherwise."""
    for node in ast.iter_child_nodes(tree):
        is_typing = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not is_typing and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node
            yield from _outside_functions(node)


def is_module(parts: list[str]) -> bool:
    path = CORE.joinpath(*parts)
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def rank_of(name: str) -> int:
    rooms = {room: rank for rank, rooms in enumerate(RANKS) for room in rooms} | BESIDE
    for room in sorted(rooms, key=len, reverse=True):
        if name == room or name.startswith(f"{room}."):
            return rooms[room]
    raise AssertionError(f"omnisync_core/{name} has no rank: say in tests/test_imports.py where it belongs")


def outside(path: Path) -> set[str]:
    """Top-level names of the foreign modules that a file imports."""
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.split(".")[0])
    return found


def test_nobody_imports_upward():
    wrong = [
        f"{name} imports {other}"
        for name in NAMES
        for other in imported(NAMES[name], top_only=room_of(name) in LAZY)
        if rank_of(other) > rank_of(name)
    ]
    assert not wrong


def test_the_house_tells_of_every_room():
    """ARCHITECTURE.md lists every room of the core, and its ranks are those above."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = text[: text.index("## Who may import whom")]
    rooms = {f"{room_of(name)}/" if (CORE / room_of(name)).is_dir() else f"{room_of(name)}.py" for name in NAMES}
    assert not {room for room in rooms - {"__main__.py"} if f"`{room}" not in table}
    ranks = re.search(r"^`.*` < `.*$(?:\n`?.*` < .*$)*", text[len(table) :], re.MULTILINE)[0].split(".\n")[0]
    found = [set(re.findall(r"[\w.]+", part)) for part in ranks.rstrip(".").replace("`", "").split("<")]
    assert found == [{name for name in rank if name != "__main__"} for rank in RANKS]


def test_learning_a_speaker_needs_no_workshop_library():
    """`adaptation` runs where requirements.txt alone is installed: nothing that it meets asks for more at once."""
    met, waiting = set(), ["adaptation"]
    while waiting:
        name = waiting.pop()
        met.add(name)
        waiting += imported(NAMES[name], top_only=True) - met
    asking = {
        name
        for name in met
        for node in _outside_functions(tree_of(NAMES[name]))
        if isinstance(node, (ast.Import, ast.ImportFrom)) and "accelerate" in ast.unparse(node)
    }
    assert "training.generator" in met
    assert not asking


def test_inference_never_meets_the_workshop():
    wrong = [
        f"{name} imports {other}"
        for name in NAMES
        if room_of(name) not in (*WORKSHOP, *SHOWN)
        for other in imported(NAMES[name], top_only=room_of(name) in LAZY)
        if room_of(other) in WORKSHOP or (room_of(other) in SHOWN and name != "demo")
    ]
    assert not wrong


def test_what_nodes_show_needs_no_workshop():
    wrong = [name for name in NAMES if room_of(name) == "sheets" and _rooms_met(name) & {*WORKSHOP, "evaluation"}]
    assert not wrong


def test_the_synthesiser_knows_no_model():
    models = {"training", "evaluation", "engines", "pipeline", "models"}
    assert not [name for name in NAMES if room_of(name) == "synth" and _rooms_met(name) & models]


def test_only_relative_imports_inside():
    """A host loads the package under another name."""
    assert not [name for name in NAMES if "omnisync_core" in outside(NAMES[name])]


def test_no_network_no_process_no_host():
    found = {name: outside(NAMES[name]) & (HOST | NETWORK) - PROCESSES.get(name, set()) for name in NAMES}
    assert not {name: modules for name, modules in found.items() if modules}


ANSWERS = {"nodes/host/first_frame.py": {"aiohttp"}}
"""Routes of the host's own server: they answer its browser and ask nobody."""


def pack_files() -> dict[str, Path]:
    """The node pack's files by their path below the root."""
    return {path.relative_to(ROOT).as_posix(): path for path in [ROOT / "__init__.py", *sorted(PACK.rglob("*.py"))]}


def test_nodes_meet_the_host_through_one_folder():
    """Nodes know the host's public API; its insides are met in `nodes/host` alone."""
    wrong = []
    for name, path in pack_files().items():
        met = outside(path)
        if not name.startswith("nodes/host/"):
            wrong += [f"{name} imports {module}" for module in met & HOST - {"comfy_api"}]
        wrong += [
            f"{name} imports {module}"
            for module in met & (NETWORK | {"omnisync_core", "pip"}) - ANSWERS.get(name, set())
        ]
    assert not wrong


def test_the_host_s_public_api_is_of_the_latest_version():
    wrong = []
    for name, path in pack_files().items():
        for node in ast.walk(tree_of(path)):
            module = node.module if isinstance(node, ast.ImportFrom) and not node.level else ""
            if (module or "").startswith("comfy_api") and not module.startswith("comfy_api.latest"):
                wrong.append(f"{name} imports {module}")
    assert not wrong


@pytest.mark.parametrize("files", [NAMES, pack_files()], ids=["core", "nodes"])
def test_no_tricks(files):
    dotted = {"sys.path", "os.system", "os.popen", "torch.hub"}
    called = ("eval", "exec", "compile", "__import__", "globals")
    wrong = []
    for name, path in files.items():
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                wrong += [f"{name}: {node.value.id}.{node.attr}"] * (f"{node.value.id}.{node.attr}" in dotted)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                wrong += [f"{name}: {node.func.id}()"] * (node.func.id in called)
    assert not wrong


def test_the_host_is_not_patched():
    """No assignment to an attribute of a module that was imported from the host."""
    wrong = []
    for name, path in pack_files().items():
        modules = host_names(tree_of(path))
        for node in ast.walk(tree_of(path)):
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            for target in targets:
                if isinstance(target, (ast.Attribute, ast.Subscript)) and root_name(target) in modules:
                    wrong.append(f"{name}:{node.lineno}: {ast.unparse(target)} = ...")
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("setattr", "delattr"):
                wrong.append(f"{name}:{node.lineno}: {ast.unparse(node)}")
    assert not wrong


def host_names(tree: ast.Module) -> set[str]:
    """Names that a file binds to the host's modules and their members."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {(a.asname or a.name).split(".")[0] for a in node.names if a.name.split(".")[0] in HOST}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module.split(".")[0] in HOST:
            found |= {a.asname or a.name for a in node.names}
    return found


def root_name(node: ast.AST) -> str:
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def test_importing_the_pack_needs_no_host():
    loaded = loaded_by(
        "import importlib.util as u; s = u.spec_from_file_location('pack', '__init__.py');"
        "m = u.module_from_spec(s); s.loader.exec_module(m); assert m.comfy_entrypoint and m.WEB_DIRECTORY"
    )
    assert not loaded & {"torch", "comfy", "comfy_api"}


def test_no_circles():
    list(TopologicalSorter({name: imported(path, top_only=True) for name, path in NAMES.items()}).static_order())


@pytest.mark.parametrize("module", ["cli", "pipeline", "engines.omnisync"])
def test_a_fresh_process_meets_neither_training_nor_synth(module):
    loaded = loaded_by(f"import omnisync_core.{module}")
    assert f"omnisync_core.{module}" in loaded
    rooms = tuple(f"omnisync_core.{room}" for room in (*WORKSHOP, *SHOWN))
    assert not [name for name in loaded if name.startswith(rooms)]


def test_the_package_itself_is_light():
    assert not loaded_by("import omnisync_core") & {"torch", "transformers", "cv2", "av"}


def loaded_by(code: str) -> set[str]:
    """Modules that a fresh interpreter has after running `code`."""
    code = f"{code}; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=CORE.parent, capture_output=True, text=True, check=True)
    return set(done.stdout.split())
