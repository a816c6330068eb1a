"""A search from Python: which L2, which size of embedding, and what to recommend then.

    python docs/examples/search_ratings.py [RATINGS.csv]

Without a file it takes MovieLens 100k. A file has the columns user, item and rating.
"""

from __future__ import annotations

import sys

import raysweep


def main(dataset: str = "ml-100k", num_samples: int = 30, epochs: int = 8) -> None:
    """Searches, then prints what mattered and asks the best model."""
    run = raysweep.tune(
        "matrix_factorization",
        ["l2", "embedding_size"],
        num_samples=num_samples,
        epochs=epochs,
        data={"dataset": dataset},
        name="example",
    )
    print(run.trials[["trial", "status", run.metric, "config.num_factors", "config.embedding_l2"]])
    print(f"best: {run.best[run.metric]:.4f} with {run.best_config['num_factors']} factors")
    for sentence in run.effects()["sentence"].unique():
        print(sentence)
    pairs = [("1", "1"), ("1", "2")]
    print(raysweep.predict(run, pairs)[["user", "title", "predicted", "given"]])
    print("report:", run.report())


if __name__ == "__main__":
    main(*sys.argv[1:2])
