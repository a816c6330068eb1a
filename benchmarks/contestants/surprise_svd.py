"""Matrix factorisation by Surprise's SVD, in an environment of its own.

python benchmarks/contestants/surprise_svd.py FOLDER EPOCHS

FOLDER holds the tables of `benchmarks.problem`. Only Surprise and NumPy are needed. The factors are
as many as raysweep's default; rate and regularisation are Surprise's own. Prints seconds of
processor time of each of EPOCHS rounds of one epoch, and the validation error after that many
epochs in one go.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from surprise import SVD, Dataset, Reader, accuracy


def main() -> None:
    """Measures and answers."""
    folder, epochs = Path(sys.argv[1]), int(sys.argv[2])
    reader = Reader(line_format="user item rating", sep=",", skip_lines=1, rating_scale=(1, 5))
    files = [(str(folder / "train.csv"), str(folder / "val.csv"))]
    data = Dataset.load_from_folds(files, reader)
    train = data.construct_trainset(data.read_ratings(files[0][0]))
    test = data.construct_testset(data.read_ratings(files[0][1]))
    seconds = []
    for _ in range(epochs):
        start = time.process_time()
        SVD(n_factors=64, n_epochs=1, random_state=0).fit(train)
        seconds.append(time.process_time() - start)
    model = SVD(n_factors=64, n_epochs=epochs, random_state=0).fit(train)
    print(json.dumps({"seconds": seconds, "rmse": accuracy.rmse(model.test(test), verbose=False)}))


if __name__ == "__main__":
    main()
