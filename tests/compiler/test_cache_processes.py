"""The kernel cache between processes: a second one compiles nothing, and being killed at any moment harms nobody."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cache_storm
import pytest

ROOT = Path(__file__).resolve().parents[2]
UNSHARE = ["unshare", "--map-root-user", "--mount"]
TEXT = "op doubled(x: f32[N]) -> (y: f32[N]) { y[i] = x[i] + x[i] }"

CALL = f"""
import os, sys, numpy as np, weft
import weft.compiler.driver as driver, weft.backends.cpu.target as target, weft.backends.cpu.runtime as runtime
done = []
def counted(module, name):
    function = getattr(module, name)
    setattr(module, name, lambda *a, **k: done.append(name) or function(*a, **k))
counted(driver, "lower"); counted(target, "process_code"); counted(runtime, "process_code")
x = np.arange(5, dtype=np.float32)
assert (weft.compile({TEXT!r}, threads=2)(x) == x + x).all()
print(len(done))
"""


def copy_of_weft(folder: Path) -> Path:
    """A directory to import a copy of the package from."""
    (folder / "weft").mkdir(parents=True)
    for name in ("ir", "compiler", "backends"):
        shutil.copytree(ROOT / name, folder / "weft" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("__init__.py", "__main__.py", "settings.py"):
        shutil.copy(ROOT / name, folder / "weft" / name)
    return folder


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_weft(tmp_path_factory.mktemp("package"))


def steps(package: Path, directory: Path, *mounts: list[str]) -> tuple[int, str]:
    """How many compilations a new process with that cache made, and what it said. `mounts`: arguments of `mount`, for
    that process alone."""
    environment = os.environ | {"PYTHONPATH": str(package), "WEFT_CACHE": "1", "WEFT_CACHE_DIR": str(directory)}
    mounting = f"import subprocess\nfor m in {mounts!r}: subprocess.run(['mount', *m], check=True)\n" if mounts else ""
    command = [*(UNSHARE if mounts else ()), sys.executable, "-B", "-c", mounting + CALL]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout), done.stderr


@pytest.fixture
def _mounts(tmp_path: Path) -> None:
    """Skips where a process may not have mounts of its own."""
    probe = [*UNSHARE, "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)]
    if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("needs mounts of its own")


@pytest.mark.usefixtures("_mounts")
def test_a_disk_that_is_full(package: Path, tmp_path: Path) -> None:
    """A file system of one page: kernels compile and run, and one warning says that none is kept."""
    small = ["-t", "tmpfs", "-o", "size=4k,mode=0700", "tmpfs", str(tmp_path)]
    count, said = steps(package, tmp_path, small)
    assert count == 3 and said.count("CacheWarning") == 1 and "No space left on device" in said


@pytest.mark.usefixtures("_mounts")
def test_a_file_system_mounted_read_only(package: Path, tmp_path: Path) -> None:
    """Whoever the user is: what is there is used, what is not is compiled."""
    directory = tmp_path / "cache"
    read_only = (["--bind", str(tmp_path), str(tmp_path)], ["-o", "remount,ro,bind", str(tmp_path)])
    count, said = steps(package, directory, *read_only)
    assert count == 3 and said.count("CacheWarning") == 1 and "Read-only file system" in said
    assert steps(package, directory) == (3, "")
    assert steps(package, directory, *read_only) == (0, "")


def test_a_second_process_compiles_nothing(package: Path, tmp_path: Path) -> None:
    """Not the kernel, and not the run-time of its threads. Failure 19: nor does it take what another version made."""
    directory = tmp_path / "cache"
    assert steps(package, directory) == (3, "")
    assert steps(package, directory) == (0, "")
    other = copy_of_weft(tmp_path / "other")
    with (other / "weft" / "compiler" / "lower.py").open("a") as file:
        file.write("# another version\n")
    assert steps(other, directory) == (3, "")
    assert steps(package, directory) == (0, "")
    assert len(os.listdir(directory / "kernels")) == 2


def test_a_read_only_directory(package: Path, tmp_path: Path) -> None:
    """What is there is read; what is not cannot be written, and one warning says so."""
    if os.getuid() == 0:
        pytest.skip("the superuser writes anywhere")
    steps(package, tmp_path / "cache")
    (tmp_path / "cache" / "kernels").chmod(0o500)
    assert steps(package, tmp_path / "cache") == (0, "")
    (tmp_path / "empty" / "kernels").mkdir(parents=True)
    (tmp_path / "empty" / "kernels").chmod(0o500)
    count, said = steps(package, tmp_path / "empty")
    assert count == 3 and said.count("CacheWarning") == 1 and "Permission denied" in said


def test_failure_17_processes_killed_at_random(tmp_path: Path) -> None:
    """Failure 17: 32 processes on a few keys, one killed every 60 ms (`make storm` does it with whole compilations)."""
    assert cache_storm.storm(tmp_path / "cache", 32, 4.0, "store", kill_every=0.06) == []
