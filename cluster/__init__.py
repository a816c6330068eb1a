"""How work reaches machines: command line, runs, searches, sessions.

Ray reads its settings when it is first imported, so they are made here, before anything in this
package can import it. What the environment already says is left alone.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

SETTINGS = {
    # Every session asks for a token: on a shared machine loopback alone keeps nobody out.
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Variables that `ray job submit` was given may be among those that a driver passes on.
    "RAY_OVERRIDE_JOB_RUNTIME_ENV": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # Results, TensorBoard files and the progress line are the run's own, as is the handling of
    # Ctrl-C (cluster/search).
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    # Two processes that would start with every session, and that a trial, whose environment is
    # another one, could not use.
    "RAY_prestart_worker_first_driver": "0",
    # The ledger is the run's state; Ray's own snapshots would cost time and never be read.
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
}

for _name, _value in SETTINGS.items():
    os.environ.setdefault(_name, _value)
if (
    os.environ["RAY_AUTH_MODE"] == "token"
    and not {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ)
    and not Path("~/.ray/auth_token").expanduser().exists()
):
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
