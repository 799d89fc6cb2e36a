"""Commands that train, resume or repeat a run of an experiment, and equivalent Python."""

from __future__ import annotations

import json
from pathlib import Path

from actfocus_core.credit import SCHEMES
from actfocus_studio.jobs.experiments.estimate import every
from actfocus_studio.jobs.experiments.request import ExperimentRequest
from actfocus_studio.jobs.rollouts import ENVIRONMENTS

QUIET = ("--progress", "lines", "--json")
"""Options of a process whose output goes to a log."""


def training(race: dict, run: dict, out: Path) -> list[str]:
    """Arguments of ``actfocus`` that train a run of the experiment in the folder ``out``."""
    request, steps = race["request"], race["steps"]
    env, options = ENVIRONMENTS[request["environment"]]
    defaults = SCHEMES[run["scheme"]].defaults
    setting = {
        key: request[key] for key in ("alpha", "beta", "signal") if key in defaults and run["scheme"] == "actfocus"
    }
    pairs = [text for key, value in options.items() for text in ("--option", f"{key}={json.dumps(value)}")]
    params = [text for key, value in setting.items() for text in (f"--{key}", str(value))]
    policy = request.get("policy", "tiny")
    # Also on a busy machine a run ends after four times the requested or estimated time.
    budget = 4 * max(ExperimentRequest(**request).limit, race.get("seconds", 0))
    return [
        "train",
        "--preset",
        "quick",
        "--env",
        env,
        *pairs,
        *([] if policy == "tiny" else ["--policy", policy]),
        "--algorithm",
        request["algorithm"],
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
    """Arguments of ``actfocus`` that resume a run."""
    return ["train", "--resume", str(path)]


def python(path: Path, again: Path) -> str:
    """Python code that repeats the training of a run in the folder ``again``."""
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


def of_external_run(path: Path, again: Path, trainer: str) -> tuple[list[str], str]:
    """Arguments of ``actfocus`` and Python code for an external run, which belongs to no experiment.

    ``trainer``: the command in its config. A run of ``actfocus train`` is resumed, or repeated in the folder
    ``again``; for TRL and verl the rollouts are exported, and the run is opened.
    """
    if trainer == "train":
        return resuming(path), python(path, again)
    return ["export", str(path), "--format", trainer], "\n".join(
        ["from actfocus_core.runs import Run", "", f"run = Run.open({str(path)!r})"]
    )
