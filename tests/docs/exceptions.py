"""Printed commands that the tests do not run, by name, each with its reason.

A pattern that matches no printed command fails a test, so that the table cannot outlive the pages.
"""

from __future__ import annotations

import re

__all__ = ["EXCEPTIONS", "reason_not_to_run"]

# A regular expression for the start of the command, or with `.*` for something in it.
EXCEPTIONS = {
    r"ray (up|down|submit|rsync-down)\b": "needs a cluster; tests/cluster starts one",
    r"ray get-auth-token\b": "writes a key into the home folder; tests/cluster runs it",
    r"(docker|kubectl|helm|gcloud|aws)\b": "needs a cloud or a cluster",
    r"pip install\b": "changes the environment; the Makefile's `install` does the same",
    r".*\bs3://": "needs a bucket; tests/cluster has an object store",
    r"make (?!tune\b)\w": "each is what CI or a person runs; that the target exists is tested",
    r"python -m benchmarks\.": "minutes to hours; that it exists and knows its options is tested",
    r"raysweep reproduce\b": "trains twenty networks; tests/ray/test_reproduce.py runs it",
    r"raysweep features (?!.*--backbone)": "needs VGG16's weights, 528 MB of PyTorch's address",
    r"raysweep batchnorm features\b": "needs VGG16's weights, 528 MB of PyTorch's address",
    r"raysweep batchnorm photos\b.* vgg16\b": "needs VGG16's weights, 528 MB",
}


def reason_not_to_run(command: str) -> str:
    """Why a command is not run, or ""."""
    return next((why for start, why in EXCEPTIONS.items() if re.match(start, command)), "")
