"""Which folder is which package; everything else is in pyproject.toml.

`raysweep.data` lies in `data/`, and so on. Links in `raysweep/` say the same to whatever reads the
checkout in place (Python, mypy, editors); a build does not depend on them.
"""

from setuptools import find_packages, setup

FOLDERS = ("analysis", "cluster", "core", "data", "search_spaces", "trainables")
packages = find_packages(include=[pattern for name in FOLDERS for pattern in (name, f"{name}.*")])

setup(
    packages=["raysweep", *(f"raysweep.{name}" for name in packages)],
    package_dir={f"raysweep.{name}": name for name in FOLDERS},
)
