"""What is trained: one file a model family, all on one small base. `registry` is the index.

A family is a `Learner` (`learner`); a `Trainer` (`trainer`) trains it, alone or in several
processes; a `Pack` (`pack`) trains several learners of one shape as one.
"""

from raysweep.trainables.registry import LEARNERS, get_learner

__all__ = ["LEARNERS", "get_learner"]
