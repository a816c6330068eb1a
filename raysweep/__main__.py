"""`python -m raysweep`: the command line."""

from __future__ import annotations

from raysweep.cluster.cli import main

if __name__ == "__main__":
    main()
