"""Which folder is which package; everything else is in pyproject.toml.

`raysweep.data` lies in `data/`, and so on. Links in `raysweep/` say the same to whatever reads the
checkout in place (Python, mypy, editors); a build does not depend on them.

Tried with this: wheel, source distribution, editable install, a clone without links, `ray up`
(rsync keeps links), `ray job submit --working-dir .` (follows them; driver and workers import what
was uploaded), `ray submit`, and the image's steps. `tests/packaging` repeats what needs no cluster.

An editable install has one limit: for a script that lies beside the checkout, `import raysweep`
finds that folder, as a package without content, before setuptools' finder. So nodes install a copy.
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
