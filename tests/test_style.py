"""Style of the code: docstrings, words, sizes, and which room knows what."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
VPR = ROOT / "vpr"
FILES = sorted(VPR.rglob("*.py"))
SCRIPTS = sorted([*ROOT.glob("*.py"), *ROOT.glob("benchmarks/*.py"), *ROOT.glob("dashboards/*.py")])
TREES = {path: ast.parse(path.read_text()) for path in [*FILES, *SCRIPTS]}
KNOW_CONFIGS = ("cli", "catalog", "training", "evaluation")
CONFIG = re.compile(r"DictConfig|ListConfig")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def room(path: Path) -> str:
    return path.relative_to(VPR).with_suffix("").parts[0]


def docstrings(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def test_docstrings_begin_with_a_verb_or_a_noun() -> None:
    riddles = [
        f"{name_of(path)}: {text.splitlines()[0]}"
        for path, tree in TREES.items()
        for text in docstrings(tree)
        if re.match(r"(What|How|Which|Where)\b", text)
    ]
    assert riddles == []


@pytest.mark.parametrize("path", sorted(VPR.rglob("__init__.py")), ids=name_of)
def test_each_room_says_its_rule(path: Path) -> None:
    text = ast.get_docstring(TREES[path]) or ""
    assert 1 <= len(text.splitlines()) <= 20 and text.endswith(".")


def test_functions_below_take_no_configuration() -> None:
    takers = []
    for path in FILES:
        if room(path) in KNOW_CONFIGS:
            continue
        for node in ast.walk(TREES[path]):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                arguments += [extra for extra in (node.args.vararg, node.args.kwarg) if extra]
                takers += [
                    f"{name_of(path)}:{argument.lineno} {argument.arg}"
                    for argument in arguments
                    if argument.annotation is not None and CONFIG.search(ast.unparse(argument.annotation))
                ]
    assert takers == []


def test_few_files_know_configurations() -> None:
    knowing = [
        path
        for path in FILES
        if room(path) != "cli" and re.search(r"DictConfig|OmegaConf|instantiate", path.read_text())
    ]
    assert {room(path) for path in knowing} <= set(KNOW_CONFIGS)
    assert len(knowing) <= 8, [name_of(path) for path in knowing]


def test_html_is_in_templates_and_its_style_in_one_file() -> None:
    tag = re.compile(r"</?(div|td|tr|table|span|section|html|svg|path)[ >]")
    lines = [
        f"{name_of(path)}:{number}"
        for path in FILES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if tag.search(line)
    ]
    assert lines == []
    assert [name_of(path) for path in VPR.rglob("*.css")] == ["vpr/pages/static/base.css"]
    styled = [path for path in VPR.rglob("*") if path.is_file() and path.suffix in (".py", ".j2", ".html", ".js")]
    assert [name_of(path) for path in styled if re.search(r"<style>\s*[^{\s]", path.read_text())] == []


# Words that say nothing of what a variable holds, and names that were given up.
WORDS = {"found", "asked", "wanted", "told", "there", "again", "alone", "nearby", "own", "marks", "riddle"}
ALLOWED: set[str] = set()


def identifiers(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield (name, line) of what a file defines or assigns: variables, arguments, functions, classes, attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno


def test_identifiers_say_what_they_hold() -> None:
    vague = [
        f"{name_of(path)}:{line} {name}"
        for path, tree in TREES.items()
        for name, line in identifiers(tree)
        if name.lower().strip("_") in WORDS and f"{name_of(path)} {name}" not in ALLOWED
    ]
    assert vague == []


GIVEN_UP = "last again alone top paused nearby marks look findings whitened measured orphan ranks suppress begin"
GIVEN_UP += " session about sides walk rows heif readable missing watch strip heat article plane"


def test_files_are_named_in_the_words_of_the_field() -> None:
    assert [name_of(path) for path in FILES if path.stem in GIVEN_UP.split()] == []


# A file of its own, however short: a plug-in, and what is a subject of its own.
PLUGINS = ("models/backbones", "models/aggregators", "distill/terms", "data/formats", "losses", "interop")
SHORT = ("errors", "types", "files", "__main__", "__init__")
SHORT_ROOMS = ("training/callbacks", "export/templates")


def imported_files(path: Path) -> set[Path]:
    """Return the files of vpr/ that a file imports at module level."""
    modules = set()
    for node in TREES[path].body if path in TREES else ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    files = {ROOT / (name.replace(".", "/") + ".py") for name in modules if name.startswith("vpr.")}
    return {file for file in files if file in TREES} - {path}


def test_files_import_one_another_in_no_circle() -> None:
    done: set[Path] = set()

    def visit(path: Path, trail: tuple[Path, ...]) -> None:
        assert path not in trail, " -> ".join(name_of(step) for step in (*trail[trail.index(path) :], path))
        if path not in done:
            for file in imported_files(path):
                visit(file, (*trail, path))
            done.add(path)

    for path in FILES:
        visit(path, ())


def test_a_short_file_that_one_other_imports_is_a_part_of_it() -> None:
    importers: dict[Path, set[Path]] = {path: set() for path in FILES}
    modules = {name_of(path).removesuffix(".py").replace("/", "."): path for path in FILES}
    for path, tree in TREES.items():
        for node in ast.walk(tree):  # also imports within functions
            if isinstance(node, ast.ImportFrom):
                names = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                words = [alias.name.split(".") for alias in node.names]
                names = [".".join(parts[:length]) for parts in words for length in range(1, len(parts) + 1)]
            else:
                continue
            for name in names:
                if name in modules:
                    importers[modules[name]].add(path)
    configs = "".join(path.read_text() for path in (ROOT / "conf").rglob("*.yaml"))
    parts = []
    for path in FILES:
        module = name_of(path).removesuffix(".py").replace("/", ".")
        own_subject = path.stem in SHORT or name_of(path).removeprefix("vpr/").startswith((*PLUGINS, *SHORT_ROOMS))
        if own_subject or f"_target_: {module}." in configs:
            continue
        others = importers[path] - {path}  # one that a script alone imports keeps the script short
        if len(path.read_text().splitlines()) < 60 and len(others) <= 1 and others <= set(FILES):
            parts.append(name_of(path))
    assert parts == []


def test_no_test_asserts_a_time() -> None:
    """Deadlines after which a test gives up are none: they end a wait for something that never comes."""
    clock = re.compile(r"assert .*(?<!deadline)\b(seconds|elapsed|perf_counter\(\)|process_time\(\)|took) *[-<>]")
    files = [path for path in (ROOT / "tests").rglob("*.py") if path.name != Path(__file__).name]
    assert [name_of(path) for path in files if clock.search(path.read_text())] == []


def test_rooms_and_files_have_a_size_to_live_in() -> None:
    """At most 20 files flat in a room, no file above 500 lines but a plug-in, no script above 120."""
    flat: dict[str, int] = {}
    for path in FILES:
        room_of_file = str(path.parent.relative_to(ROOT / "vpr"))
        if path.stem != "__init__":
            flat[room_of_file] = flat.get(room_of_file, 0) + 1
    assert {room: n for room, n in flat.items() if n > 20 and room not in PLUGINS} == {}
    lines = {str(path.relative_to(ROOT / "vpr")): len(path.read_text().splitlines()) for path in FILES}
    assert {path: n for path, n in lines.items() if n > 500 and not path.startswith(PLUGINS)} == {}
    assert {path.name: n for path in ROOT.glob("*.py") if (n := len(path.read_text().splitlines())) > 120} == {}
