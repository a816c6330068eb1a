"""The shape of the code, read from its imports: arrows, circles, sizes, rooms.

Imports count wherever they stand: at the top, in a function, under TYPE_CHECKING, or quoted as in
`"raysweep.trainables.texts.sentiment:Sentiment"`. What is written here is drawn in
docs/architecture.md.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# A package may import those above it in this list, never one of its own row or below.
LAYERS = (
    ("core",),
    ("data",),
    ("trainables",),
    ("analysis", "search_spaces"),
    ("cluster",),
    ("raysweep",),
    ("benchmarks",),
)
# The same within cluster/: folders and files of it.
CLUSTER_LAYERS = (
    ("machines", "runs"),
    ("check", "features", "models", "search"),
    ("interface", "printing", "reproduce"),
    ("commands",),
    ("cli",),
    ("submit",),
)
PACKAGES = tuple(name for layer in LAYERS for name in layer)
OURS = frozenset(PACKAGES) - {"raysweep", "benchmarks"}  # imported as raysweep.NAME

# Who may import Ray; docs/architecture.md names the same.
RAY = (
    "cluster/",
    "core/ray_private.py",
    "data/features/ray_data.py",
    "search_spaces/user/ray_domains.py",
    "trainables/ray_trainable.py",
    "trainables/user/",
)
# Who calls Ray Tune and Ray Train.
RAY_LIBRARIES = {
    "ray.tune": {
        "cluster/search/curves/under_tune.py",
        "cluster/search/ledger_searcher.py",
        "cluster/search/ray_tune.py",
        "cluster/search/tune_callback.py",
        "cluster/search/schedulers.py",
        "core/ray_private.py",
        "search_spaces/user/ray_domains.py",
        "trainables/ray_trainable.py",
        "trainables/user/tune_task.py",
        "trainables/user/tune_trainable.py",
    },
    "ray.train": {"core/ray_private.py", "cluster/search/workers/ray_train.py"},
}

MAX_LINES = 400
MAX_FILES = 14


@dataclass(frozen=True)
class Import:
    """One import: where it stands, and what it takes."""

    path: str
    line: int
    source: str
    target: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.source} imports {self.target}"


def files(*folders: str) -> list[str]:
    """Python files below folders of the checkout; a link (raysweep/data) is not followed."""
    return sorted(
        path.relative_to(ROOT).as_posix()
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if not any(parent.is_symlink() for parent in path.parents)
    )


def module_name(path: str) -> str:
    parts = path.removesuffix(".py").removesuffix("/__init__").split("/")
    return ".".join(["raysweep", *parts] if parts[0] in OURS else parts)


@cache
def modules() -> frozenset[str]:
    return frozenset(map(module_name, files(*PACKAGES)))


def module_of(dotted: str) -> str:
    """`raysweep.core.errors.UserError` is of `raysweep.core.errors`; others' stay as they are."""
    name = dotted
    while name and name not in modules():
        name = name.rpartition(".")[0]
    return name or dotted


_QUOTED = re.compile(r"(?:raysweep|benchmarks)(?:\.\w+)+(?::\w+)?")


def dotted_names(tree: ast.AST, package: str) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything that a file imports, from wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: 1 - node.level or None] if node.level else []
            base = ".".join([*parts, *filter(None, [node.module])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "ray":  # `import ray`, then `ray.tune`
                yield node.lineno, f"ray.{node.attr}"
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and _QUOTED.fullmatch(node.value)
        ):
            yield node.lineno, node.value.partition(":")[0]


@cache
def imports(path: str) -> tuple[Import, ...]:
    source = module_name(path)
    package = source if path.endswith("/__init__.py") else source.rpartition(".")[0]
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"), path)
    made = (Import(path, line, source, module_of(n)) for line, n in dotted_names(tree, package))
    return tuple(sorted({i for i in made if i.target != source}, key=lambda i: (i.line, i.target)))


def our_imports() -> list[Import]:
    """What our modules import of each other."""
    return [i for path in files(*PACKAGES) for i in imports(path) if i.target in modules()]


def package_of(module: str) -> str:
    first, *rest = module.split(".")
    return rest[0] if rest and rest[0] in OURS else first


def level(name: str, layers: tuple[tuple[str, ...], ...]) -> int:
    for number, layer in enumerate(layers):
        if name in layer:
            return number
    raise AssertionError(f"{name} has no layer yet: give it one in tests/unit/test_structure.py")


def refuse(violations: list[str], fix: str) -> None:
    assert not violations, "\n".join([f"{fix}:", *violations])


def test_imports_are_read_wherever_they_stand() -> None:
    tree = ast.parse(
        "import ray\n"
        "from raysweep.core import errors\n"
        "if TYPE_CHECKING:\n"
        "    from . import streams\n"
        "def late():\n"
        "    from ..texts.imdb import load\n"
        "    ray.tune\n"
        "NAME = 'raysweep.trainables.learner:Learner'\n"
    )
    assert sorted(dotted_names(tree, "raysweep.data.tables")) == [
        (1, "ray"),
        (2, "raysweep.core.errors"),
        (4, "raysweep.data.tables.streams"),
        (6, "raysweep.data.texts.imdb.load"),
        (7, "ray.tune"),
        (8, "raysweep.trainables.learner"),
    ]
    assert module_of("raysweep.core.errors.UserError") == "raysweep.core.errors"
    assert module_of("torch.nn") == "torch.nn"
    assert len(our_imports()) > 300


def test_arrows_between_packages_go_one_way() -> None:
    wrong = [
        str(one)
        for one in our_imports()
        if (source := package_of(one.source)) != (target := package_of(one.target))
        and level(source, LAYERS) <= level(target, LAYERS)
    ]
    refuse(
        wrong,
        "arrows go benchmarks, raysweep → cluster → analysis, search_spaces → trainables → data → "
        "core; move what is shared to the lower package, or pass it as an argument",
    )


def test_data_knows_core_alone_and_core_nothing_of_ours() -> None:
    allowed = {"core": {"core"}, "data": {"data", "core"}}
    wrong = [
        str(one)
        for one in our_imports()
        if package_of(one.target) not in allowed.get(package_of(one.source), PACKAGES)
    ]
    refuse(wrong, "core/ imports nothing of ours and data/ only core/; move this up or down")


def test_arrows_within_cluster_go_one_way() -> None:
    wrong = []
    for one in our_imports():
        source, target = one.source.split(".")[1:], one.target.split(".")[1:]
        if source[:1] != ["cluster"] or target[:1] != ["cluster"] or len(target) == 1:
            continue  # cluster/__init__.py makes Ray's settings; everybody may import it
        if len(source) == 1 or (
            source[1] != target[1]
            and level(source[1], CLUSTER_LAYERS) <= level(target[1], CLUSTER_LAYERS)
        ):
            wrong.append(str(one))
    refuse(
        wrong,
        "within cluster/ arrows go cli → commands → printing, interface, reproduce → search, "
        "models, features, check → runs, machines; move what is shared down, or pass it as an "
        "argument",
    )


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of modules each of which reaches all the others."""
    reach: dict[str, set[str]] = {}
    for start in graph:
        seen: set[str] = set()
        stack = [start]
        while stack:
            for following in graph.get(stack.pop(), set()) - seen:
                seen.add(following)
                stack.append(following)
        reach[start] = seen
    groups = {frozenset(b for b in reach[a] if a in reach.get(b, ())) for a in graph}
    return sorted(sorted(group) for group in groups if group)


def test_circles_are_seen() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"e"}}
    assert circles(graph) == [["b", "c"], ["e"]]


def test_no_modules_import_each_other() -> None:
    graph: dict[str, set[str]] = {name: set() for name in modules()}
    for one in our_imports():
        graph[one.source].add(one.target)
    wrong = []
    for group in circles(graph):
        wrong.append(f"circle of {', '.join(group)}")
        inside = [one for one in our_imports() if one.source in group and one.target in group]
        wrong += [f"    {one}" for one in inside]
    refuse(
        wrong,
        "break each circle at one of its imports: take what both need into a module of its own; "
        "where only a type is needed, a Protocol",
    )


def test_nobody_imports_our_folders_by_their_bare_names() -> None:
    wrong = [
        f"{one}; write raysweep.{one.target}"
        for path in files(*PACKAGES, "tests")
        for one in imports(path)
        if one.target.partition(".")[0] in OURS
    ]
    refuse(wrong, "by a bare name a user's own folder would be meant")


def uses(module: str, library: str) -> bool:
    return module == library or module.startswith(f"{library}.")


def test_ray_is_imported_only_where_the_architecture_says() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    refuse([p for p in RAY if f"`{p}`" not in text], "docs/architecture.md must name who knows Ray")
    wrong = [
        str(one)
        for path in files(*PACKAGES)
        if not path.startswith((*RAY, "benchmarks/"))
        for one in imports(path)
        if uses(one.target, "ray")
    ]
    refuse(wrong, f"Ray is for {', '.join(RAY)} alone; call it there")


def test_who_calls_ray_tune_and_ray_train() -> None:
    for library, expected in RAY_LIBRARIES.items():
        calling = {
            path: one.line
            for path in files(*sorted(OURS), "raysweep")
            for one in reversed(imports(path))
            if uses(one.target, library)
        }
        refuse(
            [
                f"{path}:{calling[path]}: imports {library}"
                for path in sorted(calling.keys() - expected)
            ],
            f"call {library} in one of {', '.join(sorted(expected))}, or add the file to the table "
            "RAY_LIBRARIES in tests/unit/test_structure.py",
        )
        refuse(
            sorted(expected - calling.keys()),
            f"these do not import {library} any more: take them out of RAY_LIBRARIES",
        )


def test_no_file_is_longer_than_400_lines() -> None:
    wrong = []
    for path in files(*PACKAGES, "tests"):
        num_lines = len((ROOT / path).read_text(encoding="utf-8").splitlines())
        if num_lines > MAX_LINES:
            wrong.append(f"{path}:{MAX_LINES + 1}: {num_lines} lines")
    refuse(wrong, f"split these by subject; a file has at most {MAX_LINES} lines")


def test_no_folder_holds_more_than_14_files() -> None:
    folders: dict[str, int] = {}
    for path in files(*PACKAGES, "tests"):
        folder, _, name = path.rpartition("/")
        folders[folder] = folders.get(folder, 0) + (name != "__init__.py")
    wrong = [f"{folder}/: {num} files" for folder, num in folders.items() if num > MAX_FILES]
    refuse(wrong, f"give what belongs together a folder of its own; at most {MAX_FILES} files each")


def home(folder: str, tested: set[str]) -> str:
    """The deepest folder, from this one down, that holds all of it that a test imports."""
    paths = {path_of(module) for module in tested}
    rooms = {p if (ROOT / p).is_dir() else p.rpartition("/")[0] for p in paths}
    below = [room for room in rooms if f"{room}/".startswith(f"{folder}/")]
    return os.path.commonpath(below) if below else ""


def path_of(module: str) -> str:
    """Of `raysweep.data.tables.errors`, `data/tables/errors`."""
    parts = module.split(".")
    return "/".join(parts[1:] if parts[1:2] and parts[1] in OURS else parts)


def test_unit_tests_stand_in_the_folder_of_what_they_test() -> None:
    wrong = []
    for path in files("tests/unit"):
        folder, _, name = path.removeprefix("tests/unit/").rpartition("/")
        if not folder or not name.startswith("test_"):
            continue
        if not (ROOT / folder).is_dir():
            wrong.append(f"{path}:1: there is no folder {folder}/; name the test's folder like one")
            continue
        tested = {one.target for one in imports(path) if one.target in modules()}
        belongs = home(folder, tested)
        if not belongs:
            wrong.append(f"{path}:1: imports nothing of {folder}/; move it to what it tests")
        elif belongs != folder:
            wrong.append(f"{path}:1: tests {belongs}/ alone; move it to tests/unit/{belongs}/")
    refuse(wrong, "tests/unit has the folders of the code")
