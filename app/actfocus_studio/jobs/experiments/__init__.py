"""Experiments: credit schemes and seeds trained on the same prompts, one process per run.

The file of an experiment, ``RUNS/.races/ID.json``, holds the request and the names of its runs; ``ID.stop`` beside it
marks the experiment as stopped. All other state is in the run folders, which the training processes write themselves.
Every page, a second studio, and a studio started after a crash therefore see the same state, and a run outlives all
of them. Studios on the same folder share one slot: the training process holds a lock on ``.slot``, which the operating
system releases when the process ends.

An external run, which the command line, TRL or verl trains in the same folder of runs, is listed as an experiment with a
single run, whose name is its id. It can be followed, paused and stopped here, and is resumed where it was started.
"""

from actfocus_studio.jobs.experiments.estimate import LANGUAGE_RATES
from actfocus_studio.jobs.experiments.experiments import Experiments
from actfocus_studio.jobs.experiments.request import ALGORITHMS, CHOICES, SEEDS_MAX, TIMES, ExperimentRequest

__all__ = ["ALGORITHMS", "CHOICES", "LANGUAGE_RATES", "SEEDS_MAX", "TIMES", "ExperimentRequest", "Experiments"]
