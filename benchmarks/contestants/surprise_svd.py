"""Matrix factorisation by Surprise's SVD, in an environment of its own.

python benchmarks/contestants/surprise_svd.py FOLDER ROUNDS EPOCHS

FOLDER holds the tables of `benchmarks.problem`. Only Surprise and NumPy are needed. The factors are
as many as raysweep's default; rate and regularisation are Surprise's own. Prints seconds of
processor time of each of ROUNDS fits of EPOCHS epochs, and the validation error after all these
epochs in one fit.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from surprise import SVD, Dataset, Reader, accuracy


def main() -> None:
    """Measures and answers."""
    folder, rounds, epochs = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    reader = Reader(line_format="user item rating", sep=",", skip_lines=1, rating_scale=(1, 5))
    files = [(str(folder / "train.csv"), str(folder / "val.csv"))]
    data = Dataset.load_from_folds(files, reader)
    train = data.construct_trainset(data.read_ratings(files[0][0]))
    test = data.construct_testset(data.read_ratings(files[0][1]))
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        SVD(n_factors=64, n_epochs=epochs, random_state=0).fit(train)
        seconds.append(time.process_time() - start)
    model = SVD(n_factors=64, n_epochs=rounds * epochs, random_state=0).fit(train)
    rmse = accuracy.rmse(model.test(test), verbose=False)
    print(json.dumps({"seconds": seconds, "metric": rmse}))


if __name__ == "__main__":
    main()
