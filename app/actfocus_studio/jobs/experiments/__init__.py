"""Experiments: several credit schemes and seeds trained on the same prompts, one process per run.

An experiment is a small file, ``RUNS/.races/ID.json``, that holds the request and the names of its runs. ``ID.stop``
beside it says that the experiment was stopped. Everything else is in the run folders, which the training processes
write themselves. So every page, a second studio, and one started after a crash see the same state, and a run outlives
them all. Two studios on one folder share its one slot: the process that trains holds a lock on ``.slot``, which the
system releases when that process ends.

A run that the command line, TRL or verl trains into the same folder of runs is listed as an experiment of its own, with
its name as the id. It can be watched, paused and stopped here; it is resumed where it was started.
"""

from actfocus_studio.jobs.experiments.estimate import LANGUAGE_RATES
from actfocus_studio.jobs.experiments.experiments import Experiments
from actfocus_studio.jobs.experiments.request import ALGORITHMS, CHOICES, SEEDS_MAX, TIMES, ExperimentRequest

__all__ = ["ALGORITHMS", "CHOICES", "LANGUAGE_RATES", "SEEDS_MAX", "TIMES", "ExperimentRequest", "Experiments"]
