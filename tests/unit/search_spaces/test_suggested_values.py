"""What each space suggests for each built-in trainable is what it has always been.

A run that is resumed, extended or warm-started draws its next trials anew, so that a range which
changes in passing would mix two searches in one table. Who means to change one records the new hash
here, which the failing test prints, and says so in CHANGELOG.md.
"""

from __future__ import annotations

import hashlib
import json

import pytest

from raysweep.search_spaces import SPACES, combine, get_space, sample
from raysweep.trainables import LEARNERS, get_learner

from .test_spaces import BASES, REFUSED

NUM_SEEDS = 20
# By trainable and space (+: all of them together): a hash of params and fields, in their order, of
# 20 seeds with the default configuration and with each of BASES.
RECORDED: dict[tuple[str, str], str] = {
    ("char_rnn", "dropout_placement"): "526a3bd4819b988a",
    ("char_rnn", "embedding_size"): "0b21b2810aad4470",
    ("char_rnn", "optimizer"): "475814f6c2b50c86",
    ("char_rnn", "rnn_size"): "b81319ede9af02be",
    ("char_rnn", "+"): "1b246f99b4c5ddeb",
    ("image_head", "augmentation"): "ec42f05a59262977",
    ("image_head", "batchnorm_placement"): "c1d9179f9161c3dc",
    ("image_head", "dropout_placement"): "9d72eab2d6146b97",
    ("image_head", "head_shape"): "2b190fb727ad70bd",
    ("image_head", "l2"): "f76cb6774899765d",
    ("image_head", "optimizer"): "d1f31ef7152280c0",
    ("image_head", "+"): "7e83a2288ebd8f24",
    ("matrix_factorization", "embedding_size"): "6b29e1c19e8ebcab",
    ("matrix_factorization", "l2"): "8b46abd3723ac2aa",
    ("matrix_factorization", "optimizer"): "518f8793bbf20f43",
    ("matrix_factorization", "+"): "17efbaec35d1d259",
    ("ratings_net", "dropout_placement"): "734c90344e7e9658",
    ("ratings_net", "embedding_size"): "6b29e1c19e8ebcab",
    ("ratings_net", "l2"): "fd02f3c9125d352e",
    ("ratings_net", "optimizer"): "518f8793bbf20f43",
    ("ratings_net", "+"): "b46683dff16d0a0e",
    ("sentiment", "dropout_placement"): "f2b1794c66cd50c7",
    ("sentiment", "embedding_size"): "c05e36601948bf90",
    ("sentiment", "embedding_source"): "b2187c27746f9c17",
    ("sentiment", "filter_widths"): "7e4bd6bc2301a44f",
    ("sentiment", "l2"): "ba755ac03067fbf8",
    ("sentiment", "ngrams"): "527184e497541ec7",
    ("sentiment", "optimizer"): "fe08000bf5cd3437",
    ("sentiment", "+"): "7856629fde2bebb5",
    ("word_vectors", "dropout_placement"): "2d2770e83a2b206b",
    ("word_vectors", "embedding_size"): "d95db3d43d2684ab",
    ("word_vectors", "optimizer"): "bc1ce9b623bb5447",
    ("word_vectors", "+"): "b07c788efa20fba2",
}


def suggested(trainable: str, name: str) -> str:
    """A hash of what a space, or several joined by +, suggest."""
    names, learner = name.split("+"), get_learner(trainable)
    points = []
    for number, base in enumerate([{}, *BASES.get(trainable, [])]):
        if any((trainable, each, number) in REFUSED for each in names):
            continue
        config = learner.config_class.create(base)
        suggest = combine([get_space(each).bind(trainable, config) for each in names])
        points += [sample(suggest, seed) for seed in range(NUM_SEEDS)]
    return hashlib.sha256(json.dumps(points).encode()).hexdigest()[:16]


@pytest.mark.parametrize(("trainable", "name"), RECORDED, ids=lambda word: str(word))
def test_the_values_are_those_that_were_recorded(trainable: str, name: str) -> None:
    every = "+".join(each for t, each in RECORDED if t == trainable and each != "+")
    assert suggested(trainable, every if name == "+" else name) == RECORDED[trainable, name]
