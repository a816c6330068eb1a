"""Which folder is which package; everything else is in pyproject.toml.

`raysweep.data` lies in `data/`, and so on. Links in `raysweep/` say the same to whatever reads the
checkout in place (Python, mypy, editors); a build does not depend on them.
"""

from tempfile import TemporaryDirectory

from setuptools import find_packages, setup

FOLDERS = ("analysis", "cluster", "core", "data", "search_spaces", "trainables")
packages = find_packages(include=[pattern for name in FOLDERS for pattern in (name, f"{name}.*")])
# Each build starts in an empty folder: `build/` would keep modules that are gone, and put them into
# the wheel.
build_folder = TemporaryDirectory(prefix="raysweep-build-")

setup(
    packages=["raysweep", *(f"raysweep.{name}" for name in packages)],
    package_dir={f"raysweep.{name}": name for name in FOLDERS},
    options={"build": {"build_base": build_folder.name}},
)
