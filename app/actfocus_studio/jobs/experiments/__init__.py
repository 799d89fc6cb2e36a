"""Head to head: several credit schemes and seeds trained on the same prompts, one process a run.

A race is a small file, ``RUNS/.races/ID.json``, that holds the request and the names of the race's runs; beside it
stands ``ID.stop`` where it was stopped. Everything else is in the run folders, which the training processes write
themselves. So every page, a second studio, and one started after a crash see the same, and a run outlives
them all. Two studios on one folder share its one slot: ``.slot`` is locked by the process that trains, and
released by the system when that process ends.

A run that the command line, TRL or verl trains into the same folder of runs is shown as a race of its own, with its
name as the id: it can be watched, paused and stopped here, and is resumed where it was begun.
"""

from actfocus_studio.jobs.experiments.estimate import LANGUAGE_RATES
from actfocus_studio.jobs.experiments.experiments import Experiments
from actfocus_studio.jobs.experiments.request import ALGORITHMS, CHOICES, SEEDS_MAX, TIMES, ExperimentRequest

__all__ = ["ALGORITHMS", "CHOICES", "LANGUAGE_RATES", "SEEDS_MAX", "TIMES", "ExperimentRequest", "Experiments"]
