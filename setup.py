"""The repository root is the package `weft`: its rooms become `weft.<room>`; a new folder needs no entry here."""

from setuptools import find_packages, setup

ROOMS = ["ir", "ops", "backends", "compiler", "autotune"]
found = find_packages(".", include=[pattern for room in ROOMS for pattern in (room, f"{room}.*")])
setup(packages=["weft", *sorted(f"weft.{name}" for name in found)])
