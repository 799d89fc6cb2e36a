"""The command that trains an experiment's run, resumes it or repeats it, and the same in Python."""

from __future__ import annotations

import json
from pathlib import Path

from actfocus_core.credit import SCHEMES
from actfocus_studio.jobs.experiments.estimate import every
from actfocus_studio.jobs.experiments.request import ExperimentRequest
from actfocus_studio.jobs.rollouts import ENVIRONMENTS

QUIET = ("--progress", "lines", "--json")
"""Options of a process whose output is a log."""


def training(race: dict, run: dict, out: Path) -> list[str]:
    """Arguments of the ``actfocus`` command that trains a run of the experiment into the folder ``out``."""
    asked, steps = race["request"], race["steps"]
    env, options = ENVIRONMENTS[asked["environment"]]
    own = SCHEMES[run["scheme"]].defaults
    given = {key: asked[key] for key in ("alpha", "beta", "signal") if key in own and run["scheme"] == "actfocus"}
    pairs = [text for key, value in options.items() for text in ("--option", f"{key}={json.dumps(value)}")]
    params = [text for key, value in given.items() for text in (f"--{key}", str(value))]
    policy = asked.get("policy", "tiny")
    # Whatever else the machine does, a run ends: after four times what was asked for, or expected.
    budget = 4 * max(ExperimentRequest(**asked).limit, race.get("seconds", 0))
    return [
        "train",
        "--preset",
        "quick",
        "--env",
        env,
        *pairs,
        *([] if policy == "tiny" else ["--policy", policy]),
        "--algorithm",
        asked["algorithm"],
        "--scheme",
        run["scheme"],
        *params,
        "--seed",
        str(run["seed"]),
        "--steps",
        str(steps),
        "--time-budget",
        str(round(budget)),
        "--set",
        f"eval_every={every(steps)}",
        "--set",
        "store_evaluation=true",
        "--out",
        str(out),
    ]


def resuming(path: Path) -> list[str]:
    """Arguments of the ``actfocus`` command that resumes a run."""
    return ["train", "--resume", str(path)]


def python(path: Path, again: Path) -> str:
    """Python that trains a run once more, into the folder ``again``."""
    return "\n".join(
        [
            "from actfocus_core.runs import Run",
            "from actfocus_core.train import TrainConfig, train",
            "",
            f'config = Run.open({str(path)!r}).info["config"]',
            'config.pop("command")',
            f"train(TrainConfig.of(**config), {str(again)!r})",
        ]
    )


def of_lone_run(path: Path, again: Path, trainer: str) -> tuple[list[str], str]:
    """Arguments and Python for a run that belongs to no experiment.

    ``trainer``: the command that its config names. What ``train`` began is resumed, or trained once more into the
    folder ``again``; of TRL's and verl's the rollouts are exported, and the run is opened.
    """
    if trainer == "train":
        return resuming(path), python(path, again)
    return ["export", str(path), "--format", trainer], "\n".join(
        ["from actfocus_core.runs import Run", "", f"run = Run.open({str(path)!r})"]
    )
