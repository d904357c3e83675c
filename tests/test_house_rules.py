"""Rules of the house that a reader would otherwise have to keep in mind: what the sources may not contain."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("ir", "ops", "backends", "compiler", "autotune", "benchmarks", "examples", "tests", "docs")
GENERIC = ("ir", "backends", "compiler", "autotune")  # know nothing of any operator
# Parts of words: `Softmax`, `layer_norm` and `flashing` are found alike. Scalar functions of the language are free.
OPERATORS = (
    *("attention", "softmax", "flash", "layer_?norm", "rms_?norm", "batch_?norm", "group_?norm", "conv[123]d"),
    *("convolution", "im2", "rwkv", "mamba", "retention", "retnet", "wkv", "rotary", "rope\\b", "gelu", "silu"),
    *("swiglu", "cross_?entropy", "embedding", "transformer", "kv_?cache", "paged", "gauss_?seidel"),
    *("symgs", "jacobi", "stencil", "heat_?equation", "matmul", "gemm", "gemv", "spmm", "spmv", "block_?sparse"),
    *("pooling", "dropout", "moe\\b", "lstm", "\\bgru\\b"),
)
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "commands", "pty"}
FORBIDDEN_CALLS = {"eval", "exec", "__import__"}
FORBIDDEN_METHODS = {
    "os": {"system", "popen", "execl", "execlp", "execv", "execvp", "spawnl", "spawnv", "posix_spawn"},
    "subprocess": {"getoutput", "getstatusoutput"},
    "builtins": {"eval", "exec"},
    "torch": {"load"},
}


@cache
def tracked() -> tuple[Path, ...]:
    """The files of the project: what git tracks or would, else everything in the rooms."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0 and listed.stdout:
        found = [ROOT / name.decode() for name in listed.stdout.split(b"\0") if name]
    else:
        found = [p for room in ROOMS for p in (ROOT / room).rglob("*")] + list(ROOT.glob("*"))
    return tuple(sorted(p for p in found if p.is_file()))


def sources(*rooms: str) -> list[Path]:
    """The Python files of some rooms, or of all and the root."""
    own = [p for p in tracked() if p.suffix == ".py"]
    return [p for p in own if p.relative_to(ROOT).parts[0] in rooms] if rooms else own


def texts() -> Iterator[tuple[Path, str]]:
    for path in tracked():
        try:
            yield path, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def lines_with(pattern: re.Pattern[str], path: Path, text: str) -> list[str]:
    found = enumerate(text.splitlines(), 1)
    return [f"{path.relative_to(ROOT)}:{n}: {line.strip()[:100]}" for n, line in found if pattern.search(line)]


def test_generic_rooms_name_no_operator() -> None:
    pattern = re.compile("|".join(OPERATORS), re.IGNORECASE)
    found: list[str] = []
    for path, text in texts():
        if path.relative_to(ROOT).parts[0] in GENERIC:
            found += lines_with(pattern, path, text)
            if pattern.search(path.name):
                found.append(str(path.relative_to(ROOT)))
    assert found == []


@pytest.mark.parametrize("word", ["softmax", "LayerNorm", "flash_tile", "Conv2d", "RWKV", "block_sparse_list"])
def test_the_rule_sees_names_within_names(word: str) -> None:
    assert re.search("|".join(OPERATORS), word, re.IGNORECASE)


def forbidden(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Lines of a source that run data as code, load objects from data, or start a shell."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for name in names:
                    if name.name.split(".")[0] in FORBIDDEN_MODULES:
                        yield node.lineno, f"import {name.name}"
            case ast.ImportFrom(module=str(module), names=names):
                if module.split(".")[0] in FORBIDDEN_MODULES:
                    yield node.lineno, f"from {module} import"
                for name in names:
                    if name.name in FORBIDDEN_METHODS.get(module, ()):
                        yield node.lineno, f"from {module} import {name.name}"
            case ast.Call(func=ast.Name(id=name)) if name in FORBIDDEN_CALLS:
                yield node.lineno, f"{name}()"
            case ast.Attribute(value=ast.Name(id=module), attr=name) if name in FORBIDDEN_METHODS.get(module, ()):
                yield node.lineno, f"{module}.{name}"
        if isinstance(node, ast.Call):
            # saving such a file is how a test gets one that must be refused
            saves = isinstance(node.func, ast.Attribute) and node.func.attr == "save"
            keys = {"shell"} if saves else {"shell", "allow_pickle"}
            for keyword in node.keywords:
                if keyword.arg in keys and not (isinstance(keyword.value, ast.Constant) and not keyword.value.value):
                    yield node.lineno, f"{keyword.arg}="


def test_no_source_runs_data_or_a_shell() -> None:
    """Failure 21 (pickle) and failure 24 (a shell)."""
    found = []
    for path in sources():
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        found += [f"{path.relative_to(ROOT)}:{line}: {what}" for line, what in forbidden(tree)]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "from os import system",
        "os.system('ls')",
        "run = os.popen",
        "eval(text)",
        "builtins.exec(text)",
        "subprocess.run(text, shell=True)",
        "np.load(file, allow_pickle=True)",
    ],
)
def test_the_rule_sees(line: str) -> None:
    assert list(forbidden(ast.parse(line)))


def test_every_load_of_arrays_refuses_objects() -> None:
    """numpy.load refuses objects by default; saying so keeps it that way for a reader too."""
    for path in sources("compiler", "backends", "ir", "autotune"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="np" | "numpy"), attr="load"), keywords=keywords):
                    assert "allow_pickle" in {k.arg for k in keywords}, f"{path}:{node.lineno}"


def test_no_text_names_a_place_of_one_machine() -> None:
    """Package indices and home or scratch directories are the business of whoever installs or runs weft."""
    words = ("pypi", r"files\.pythonhosted", "--index-url", "--extra-index", "anaconda", r"npmjs", r"crates\.io")
    places = (r"(?<![\w.$}/])/work/", r"(?<![\w.$}/])/root/", r"(?<![\w.$}/])/home/\w+/")
    pattern = re.compile("|".join((*words, *places)), re.IGNORECASE)
    me = Path(__file__).resolve()
    found = [line for path, text in texts() if path != me for line in lines_with(pattern, path, text)]
    assert found == []


def test_rooms_import_only_what_they_may() -> None:
    """docs/design.md, section 7."""
    allowed = {
        "ir": {"ir"},
        "ops": {"ops", "ir"},
        "backends": {"backends", "ir", "settings"},
        "compiler": {"compiler", "ir", "backends", "ops", "settings"},
        "autotune": {"autotune", "ir", "compiler", "backends", "settings"},
    }
    found = []
    for room, rooms in allowed.items():
        for path in sources(room):
            depth = len(path.relative_to(ROOT).parts) - 1
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.level > depth:
                    names = [node.module] if node.module else [n.name for n in node.names]
                    for target in (name.split(".")[0] for name in names):
                        if target not in rooms | {"__version__"}:
                            found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {target}")
    assert found == []
