"""Saved kernels: complete or absent, and never trusted when they are read."""

from __future__ import annotations

import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import weft
from weft.compiler import manifest, saved
from weft.ir.errors import LoadError, TargetError, UserError

TEXT = "op twice(x: f32[N]) -> (y: f32[N]) { y[i] = x[i] + x[i] }"
X = np.arange(5, dtype=np.float32)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return weft.compile(TEXT, bind={"N": 5}, threads=1).save(tmp_path_factory.mktemp("saved") / "kernel")


@pytest.fixture
def kept(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "kernel"))


def test_what_is_saved_can_be_called(kept: Path) -> None:
    kernel = weft.load(kept)
    np.testing.assert_array_equal(kernel(X), X + X)
    assert kernel.options.threads == 1 and kernel.options.bind == (("N", 5),)


def test_a_symbolic_kernel_stays_open(tmp_path: Path) -> None:
    kernel = weft.compile(TEXT)
    kernel(X)
    loaded = weft.load(kernel.save(tmp_path / "k"))
    for n in (5, 3, 0):
        np.testing.assert_array_equal(loaded(X[:n]), X[:n] * 2)


def test_a_hand_scheduled_program_is_saved(kept: Path, tmp_path: Path) -> None:
    kernel = weft.compile(weft.load(kept).text("gir"))
    np.testing.assert_array_equal(weft.load(kernel.save(tmp_path / "k"))(X), X + X)


def test_the_manifest_describes_everything(kept: Path) -> None:
    body = json.loads((kept / "manifest.json").read_text())
    assert body["schema"] == manifest.SCHEMA and body["weft"] == weft.__version__
    assert body["tensors"][0] == {"name": "x", "role": "input", "dtype": "f32", "shape": ["N"]}
    assert body["symbols"] == [{"name": "N", "default": None}]
    assert sorted(body["files"]) == sorted(set(os.listdir(kept)) - {"manifest.json"})


def test_truncated_anywhere(kept: Path) -> None:
    whole = (kept / "manifest.json").read_bytes()
    for size in range(0, len(whole) - 2, max(1, len(whole) // 40)):
        (kept / "manifest.json").write_bytes(whole[:size])
        with pytest.raises(LoadError):
            weft.load(kept)


def test_edited_anywhere(kept: Path) -> None:
    whole = json.loads((kept / "manifest.json").read_text())
    for key in whole:
        for value in (None, 7, "other", [], {}):
            if whole[key] == value:
                continue
            (kept / "manifest.json").write_text(json.dumps(whole | {key: value}))
            with pytest.raises(LoadError):
                weft.load(kept)


@pytest.mark.parametrize(
    "change",
    [
        {"options": {"target": "cpu"}},
        {"options": {"target": 3, "bind": {}, "specialise": "auto", "schedule": None}},
        {"options": {"target": "cpu", "bind": {"N": "5"}, "specialise": "auto", "schedule": None}},
        {"options": {"target": "cpu", "bind": {}, "specialise": "sometimes", "schedule": None}},
        {"options": {"target": "cpu", "bind": {}, "specialise": "auto", "schedule": {"x": 1}}},
        {"options": {"target": "abacus", "bind": {}, "specialise": "auto", "schedule": None}},
        {"files": {"../../etc/passwd": "0" * 64}},
        {"files": {"missing.c": "0" * 64}},
        {"roles": {"gir": "elsewhere.gir"}},
        {"roles": {}},
        {"bindings": {"N": 2.5}},
    ],
)
def test_edited_with_a_matching_digest(kept: Path, change: dict[str, Any]) -> None:
    body = json.loads((kept / "manifest.json").read_text()) | change
    del body["digest"]
    body["digest"] = manifest._digest(body)
    (kept / "manifest.json").write_text(json.dumps(body))
    with pytest.raises(LoadError):
        weft.load(kept)


def test_other_versions_and_other_things(kept: Path, tmp_path: Path) -> None:
    body = json.loads((kept / "manifest.json").read_text())
    (kept / "manifest.json").write_text(json.dumps(body | {"schema": 99}))
    with pytest.raises(LoadError, match=r"has schema 99, this version of weft reads 1"):
        weft.load(kept)
    (kept / "manifest.json").write_text('{"kind": "recipe"}')
    with pytest.raises(LoadError, match="not the manifest"):
        weft.load(kept)
    (kept / "manifest.json").write_text("[" * 100000)
    with pytest.raises(LoadError, match="not JSON"):
        weft.load(kept)
    with pytest.raises(LoadError, match="missing"):
        weft.load(tmp_path / "nowhere")


def test_every_file_is_verified(kept: Path) -> None:
    for name in json.loads((kept / "manifest.json").read_text())["files"]:
        path = kept / name
        whole = path.read_bytes()
        path.write_bytes(whole[:-1])
        with pytest.raises(LoadError, match="hash does not match"):
            weft.load(kept)
        path.unlink()
        with pytest.raises(LoadError, match="missing"):
            weft.load(kept)
        path.write_bytes(whole)
    weft.load(kept)


def test_links_are_refused(kept: Path, tmp_path: Path) -> None:
    shutil.move(kept / "manifest.json", tmp_path / "manifest.json")
    (kept / "manifest.json").symlink_to(tmp_path / "manifest.json")
    with pytest.raises(LoadError, match="not a plain file"):
        weft.load(kept)


def test_a_failed_save_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = weft.compile(TEXT, bind={"N": 5})

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saved, "_replace", full)
    with pytest.raises(UserError, match="No space left"):
        kernel.save(tmp_path / "k")
    assert list(tmp_path.iterdir()) == []


def test_saving_again_replaces_the_whole(kept: Path) -> None:
    kernel = weft.compile(TEXT, bind={"N": 5})
    kernel.save(kept, ["source", "manifest"])
    assert not [n for n in os.listdir(kept) if n.endswith((".so", ".h"))]
    weft.load(kept)
    (kept / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds something else: notes\.txt"):
        kernel.save(kept)
    assert (kept / "notes.txt").read_text() == "mine"
    assert not [n for n in os.listdir(kept.parent) if n.startswith(".")]


def test_parts_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = weft.compile(TEXT, bind={"N": 5})
    with pytest.raises(UserError, match="cannot emit 'poem'"):
        kernel.save(tmp_path / "k", ["poem"])

    def missing(*_: object) -> None:
        raise TargetError("no C compiler")

    monkeypatch.setattr(type(kernel.target), "library", missing)
    with pytest.raises(TargetError, match="no C compiler"):
        kernel.save(tmp_path / "k", ["library"])
    body = json.loads((kernel.save(tmp_path / "k") / "manifest.json").read_text())
    assert body["notes"] == ["no library: no C compiler"] and "library" not in body["roles"]


def test_saving_from_two_threads_at_once(tmp_path: Path) -> None:
    kernel = weft.compile(TEXT, bind={"N": 5})
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(5):
                kernel.save(tmp_path / "k", ["source", "manifest"])
        except UserError as error:
            errors.append(error)

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    np.testing.assert_array_equal(weft.load(tmp_path / "k")(X), X + X)
    assert errors == []
    assert os.listdir(tmp_path) == ["k"]
