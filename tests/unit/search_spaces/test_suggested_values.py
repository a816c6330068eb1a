"""What each space suggests for each built-in trainable is what it has always been.

A run that is resumed, extended or warm-started draws its next trials anew, so that a range which
changes in passing would mix two searches in one table. Who means to change one records the new hash
here, which the failing test prints, and says so in CHANGELOG.md.
"""

from __future__ import annotations

import hashlib
import json

import pytest

from raysweep.search_spaces import combine, get_space, sample
from raysweep.trainables import LEARNERS, get_learner

from .test_spaces import BASES, REFUSED, covering

NUM_SEEDS = 20
# By trainable and space (+: all of them together): a hash of params, in the order in which they are
# asked for, and of fields, of 20 seeds with the default configuration and with each of BASES.
RECORDED: dict[tuple[str, str], str] = {
    ("char_rnn", "dropout_placement"): "526a3bd4819b988a",
    ("char_rnn", "embedding_size"): "0b21b2810aad4470",
    ("char_rnn", "optimizer"): "b0861558f88dca57",
    ("char_rnn", "rnn_size"): "b81319ede9af02be",
    ("char_rnn", "+"): "63ddf29b3184dd43",
    ("image_head", "augmentation"): "fb6e4fabf891a13e",
    ("image_head", "batchnorm_placement"): "2fa560d84c40e64a",
    ("image_head", "dropout_placement"): "0bac8530409e6643",
    ("image_head", "head_shape"): "2b190fb727ad70bd",
    ("image_head", "l2"): "f76cb6774899765d",
    ("image_head", "optimizer"): "625f3c0f0345cb1e",
    ("image_head", "+"): "7e5f51bb7895f561",
    ("matrix_factorization", "embedding_size"): "6b29e1c19e8ebcab",
    ("matrix_factorization", "l2"): "e3452f67ed129f0e",
    ("matrix_factorization", "optimizer"): "fe3afe8117eaf6b6",
    ("matrix_factorization", "+"): "b682aed9374b5446",
    ("ratings_net", "dropout_placement"): "a0e22b95a063c78c",
    ("ratings_net", "embedding_size"): "6b29e1c19e8ebcab",
    ("ratings_net", "l2"): "781cf37953b29cdc",
    ("ratings_net", "optimizer"): "fe3afe8117eaf6b6",
    ("ratings_net", "+"): "7f9ad1d44213108b",
    ("sentiment", "dropout_placement"): "ab3110027ea91cdb",
    ("sentiment", "embedding_size"): "c05e36601948bf90",
    ("sentiment", "embedding_source"): "b2187c27746f9c17",
    ("sentiment", "filter_widths"): "7e4bd6bc2301a44f",
    ("sentiment", "l2"): "be34d53d3e27f620",
    ("sentiment", "ngrams"): "527184e497541ec7",
    ("sentiment", "optimizer"): "5f780625c7fb4beb",
    ("sentiment", "+"): "2ed776557a5a0ba6",
    ("word_vectors", "dropout_placement"): "2d2770e83a2b206b",
    ("word_vectors", "embedding_size"): "d95db3d43d2684ab",
    ("word_vectors", "optimizer"): "09e9a9d28037d4dc",
    ("word_vectors", "+"): "4545594b04adb2b1",
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
        for params, fields in (sample(suggest, seed) for seed in range(NUM_SEEDS)):
            points.append([params, dict(sorted(fields.items()))])
    return hashlib.sha256(json.dumps(points).encode()).hexdigest()[:16]


def test_every_pair_is_recorded() -> None:
    pairs = {(trainable, name) for trainable in LEARNERS for name in (*covering(trainable), "+")}
    assert pairs == set(RECORDED)


@pytest.mark.parametrize(("trainable", "name"), RECORDED, ids=lambda word: str(word))
def test_the_values_are_those_that_were_recorded(trainable: str, name: str) -> None:
    every = "+".join(each for t, each in RECORDED if t == trainable and each != "+")
    assert suggested(trainable, every if name == "+" else name) == RECORDED[trainable, name]
