"""The shape of the package: arrows point down, modules stay short, everything public is documented."""

import ast
import importlib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "privlab"
BASE = {"checks", "runtime", "networks"}
MAY_IMPORT = {
    "checks": set(),
    "runtime": {"checks"},
    "networks": {"checks"},
    "data": BASE,
    "models": BASE,
    "sharing": {*BASE, "data", "models"},
    "metrics": BASE,
    "defences": {*BASE, "sharing", "metrics"},
    "attacks": {*BASE, "models", "sharing"},  # a decoder is a network whose weights are drawn
    "flower": {*BASE, "data", "models", "sharing", "defences", "attacks"},
    "studies": {*BASE, "data", "models", "sharing", "metrics", "defences", "attacks", "flower"},
    "explore": {*BASE, "data", "models", "sharing", "metrics", "defences", "attacks", "studies"},
    "exercises": set(),  # what a page says of an answer: it knows no attack
    "cli": {*BASE, "data", "studies", "explore"},
    "__main__": {"cli"},
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def _part(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_arrows_point_down(path):
    part = _part(path)
    if part == "__init__":
        return
    own = {name.split(".")[1] for name in _imports(path) if name.startswith("privlab.")}
    assert own - {"__version__"} <= MAY_IMPORT[part] | {part}


STUDIES = sorted((PACKAGE / "studies").rglob("*.py"))
FACE = {"privlab.studies", *(f"privlab.studies.{name}" for name in importlib.import_module("privlab.studies").__all__)}


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_papers_room_imports_another(path):
    """A room knows itself, the bench and what stands one floor up; the bench knows no paper."""
    room, *below = path.relative_to(PACKAGE / "studies").parts
    rooms = {each.name for each in (PACKAGE / "studies").iterdir() if each.is_dir()}
    seen = {name.split(".")[2] for name in _imports(path) if name.startswith("privlab.studies.")} & rooms
    assert seen <= {"bench", room if below else "bench"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_explorers_use_the_studies_by_their_face(path):
    if _part(path) == "explore":
        used = {name for name in _imports(path) if name.startswith("privlab.studies")}
        assert used <= FACE


def test_a_study_can_be_read_at_one_sitting():
    """A declaration alone is short, since shared defaults come from the paper's room."""
    for path in STUDIES:
        tree = ast.parse(path.read_text())
        made = [n for n in tree.body if isinstance(n, ast.Assign) and getattr(n.targets[0], "id", "") == "STUDY"]
        assert len(made) == (path.parent.name not in ("studies", "bench") and path.name[0] != "_"), path
        usual = {"seeds", "checksum", "load", "version"}
        named = {keyword.arg for node in made for keyword in node.value.keywords}
        alone = path.parent.name in ("talk", "beyond")  # rooms of studies that have little in common
        assert alone or path.stem in ("case_study", "audit", "table_10") or len(named & usual) <= 1, path


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_cuda_build_is_pulled_in(path):
    assert not {name.split(".")[0] for name in _imports(path)} & {"torchvision", "torchmetrics"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_and_functions_stay_short_and_documented(path):
    text = path.read_text()
    tree = ast.parse(text)
    assert text.count("\n") <= 400
    assert ast.get_docstring(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno <= 60, node.name
    public = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_"]
    undocumented = [node.name for node in public if not ast.get_docstring(node)]
    assert not undocumented


def test_every_attack_carries_its_threat_models():
    """One, or several where parties in different places can mount it."""
    from privlab.attacks import THREATS

    files = [path for path in (PACKAGE / "attacks").glob("*.py") if path.stem != "threat" and path.stem[0] != "_"]
    carried = []
    for path in files:
        module = importlib.import_module(f"privlab.attacks.{path.stem}")
        carried += getattr(module, "THREATS", None) or [module.THREAT]
    assert sorted(threat.attack for threat in carried) == sorted(threat.attack for threat in THREATS)
    assert len(THREATS) == len({threat.attack for threat in THREATS})
