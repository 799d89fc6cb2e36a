"""`actfocus train`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from actfocus_core.cli.base import app
from actfocus_core.cli.options import (
    Alpha,
    Beta,
    Catalogue,
    Json,
    ProgressMode,
    catalogue_option,
    key_values,
    spare_a_core,
)
from actfocus_core.cli.show import clean, print_result, progress_bars
from actfocus_core.errors import ActFocusError


@app.command()
def train(
    out: Annotated[Path | None, typer.Option(help="The new run folder.", show_default="runs/train-ENV-N")] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Resume a run that was stopped or killed; of the options below, only --steps and --time-budget apply.",
            show_default=False,
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="quick, paper, or a row of the paper's table such as sokoban-3B, which sets environment and model; "
            "the options below override it.",
            show_default="quick for the embedded models, else paper",
        ),
    ] = None,
    algorithm: Annotated[Literal["grpo", "ppo"], typer.Option(help="Algorithm that estimates advantages.")] = "grpo",
    scheme: Annotated[str, typer.Option(help="The credit scheme.")] = "actfocus",
    alpha: Alpha = None,
    beta: Beta = None,
    signal: Annotated[
        str | None, typer.Option(help="energy, entropy, nll, shift.", show_default="the scheme's default")
    ] = None,
    env: Annotated[str, typer.Option(help="The environment.")] = "frozen_lake",
    option: Annotated[
        list[str] | None, typer.Option("--option", "-o", metavar="KEY=VALUE", help="An option of the environment.")
    ] = None,
    catalogue: Catalogue = None,
    model: Annotated[
        str, typer.Option("--model", "--policy", help="tiny, smollm2, smollm2-agent, a model folder, or a hub id.")
    ] = "tiny",
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps.", show_default="the preset's")] = None,
    time_budget: Annotated[
        float | None, typer.Option(min=1, help="Maximum duration in seconds.", show_default="the preset's")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of sampling and mini-batches.")] = 0,
    sampler: Annotated[
        Literal["transformers", "vllm"], typer.Option(help="Inference engine of the rollouts; vllm is an extra.")
    ] = "transformers",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Another field of the training config, for instance lr=1e-4."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
    progress: ProgressMode = "bar",
    json_: Json = False,
) -> None:
    """Train a policy by PPO or GRPO with a credit scheme; Ctrl-C stops after the current step."""
    from actfocus_core.policy.loading import NAMES
    from actfocus_core.runs import free_path
    from actfocus_core.train import TrainConfig, read_status
    from actfocus_core.train import preset as preset_values
    from actfocus_core.train import resume as resume_training
    from actfocus_core.train import train as start_training
    from actfocus_core.train.presets import ROWS

    if resume is None:
        env, model = ROWS.get(preset or "", (env, model))
        params = {k: v for k, v in (("alpha", alpha), ("beta", beta), ("signal", signal)) if v is not None}
        limits: dict[str, float | None] = {
            k: v for k, v in (("steps", steps), ("time_budget", time_budget)) if v is not None
        }
        if steps is not None and time_budget is None:
            limits["time_budget"] = None
        values = preset_values(preset or ("quick" if model in NAMES else "paper"), env, algorithm, model)
        options = {**values.get("env_options", {}), **key_values(option or []), **catalogue_option(env, catalogue)}
        config = TrainConfig.of(
            **{
                **values,
                "env_options": options,
                "scheme": scheme,
                "scheme_params": params,
                "seed": seed,
                "device": device,
                "sampler": sampler,
                **limits,
                **key_values(set_ or [], "--set"),
            }
        )
        out = out or free_path(Path("runs"), f"train-{env}")
        if out.exists():
            raise ActFocusError(f"{out}: already exists; choose another name for the run")
    elif out is not None:
        raise ActFocusError(f"--out {out}: a resumed run stays in its folder; omit --out or --resume")
    spare_a_core()
    if resume is None:
        from actfocus_core.train.sizing.throughput import slow_model_warning

        if line := slow_model_warning(config):
            print(line, file=sys.stderr)
    with progress_bars(progress) as show:
        phases = {}

        def report(phase: str, done: int, total: int) -> None:
            if phase not in phases:
                phases[phase] = show(phase)
            phases[phase](done, total)

        def warn(line: str) -> None:
            print("actfocus: warning:", clean(line), file=sys.stderr)

        if resume is None:
            assert out is not None  # the option or a free path
            run = start_training(config, out, report)
        else:
            run = resume_training(resume, steps, time_budget, report, warn)
    rows, status = run.metrics()[0], read_status(run.path)
    first, last = ({k: v for k, v in row.items() if k.startswith("eval/")} for row in (rows[0], rows[-1]))
    print_result(
        json_,
        {
            "run": str(run.path),
            "state": status["state"],
            "steps": status["step"],
            "seconds": status["elapsed"],
            "policy": str(run.path / "policy"),
            **{f"{name} before": first[name] for name in first if name.endswith("/success")},
            **{f"{name} after": last[name] for name in last if name.endswith("/success")},
        },
    )
