"""The ``actfocus`` command. Heavy imports stand inside the commands: ``--help`` is quick."""

from __future__ import annotations

import json
import math
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from actfocus_core import __version__
from actfocus_core.errors import ActFocusError

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
                  context_settings={"help_option_names": ["-h", "--help"]},
                  help="ActFocus Studio: see and steer token credit in agentic RL.")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
ProgressMode = Annotated[Literal["bar", "jsonl", "none"],
                         typer.Option(help="How to show progress, on stderr.")]
Catalogue = Annotated[Path | None, typer.Option(help="WebShop: a product file in place of the embedded catalogue.",
                                              show_default=False)]
RunArgument = Annotated[Path, typer.Argument(help="A run folder.", show_default=False)]


def main() -> None:
    """Entry point: bad input gives one line on stderr and exit code 2."""
    try:
        code = app(standalone_mode=False)
    except typer.Exit as stop:
        code = stop.exit_code
    except ActFocusError as error:
        code = _complain(error)
    except KeyboardInterrupt:
        code = 130
    except Exception as error:
        # What the option parser finds wrong: it knows the line to say as well.
        if not hasattr(error, "format_message"):
            raise
        code = _complain(error.format_message()) if error.format_message() else 2
    sys.exit(code)


def _complain(error) -> int:
    print("actfocus:", " ".join(str(error).split()), file=sys.stderr)
    return 2


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if show:
        print(__version__)
        raise typer.Exit


@app.command("app")
def open_app(
    runs: Annotated[list[Path] | None, typer.Argument(help="Run folders to open.", show_default=False)] = None,
    host: Annotated[str, typer.Option(help="Any other host than loopback needs --auth.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 7860,
    runs_dir: Annotated[Path, typer.Option(help="Where runs are found and made.")] = Path("runs"),
    auth: Annotated[str | None, typer.Option(metavar="USER:PASSWORD", help="Ask visitors for a login.")] = None,
    browser: Annotated[bool, typer.Option(help="Open a browser window.")] = True,
    json_: Json = False,
) -> None:
    """Open the studio in the browser."""
    from actfocus_core.runs import Run

    for run in runs or []:
        Run.open(run)
    if auth is not None and (":" not in auth or auth.startswith(":") or auth.endswith(":")):
        raise ActFocusError(f"--auth {auth!r}: give USER:PASSWORD")
    from app.main import launch

    if json_:
        print(json.dumps({"url": f"http://{host}:{port}", "runs": [str(r) for r in runs or []]}), flush=True)
    launch(list(runs or []), host=host, port=port, open_browser=browser, runs_dir=runs_dir,
           auth=tuple(auth.split(":", 1)) if auth else None)


@app.command()
def rollout(
    out: Annotated[Path | None, typer.Option(help="The new run folder.", show_default="runs/ENV-N")] = None,
    policy: Annotated[str, typer.Option(help="tiny, smollm2, a model folder, or a hub id.")] = "tiny",
    env: Annotated[str, typer.Option(help="The environment.")] = "frozen_lake",
    option: Annotated[list[str] | None, typer.Option("--option", "-o", metavar="KEY=VALUE",
                                                     help="An option of the environment.")] = None,
    catalogue: Catalogue = None,
    prompts: Annotated[int, typer.Option(min=1, help="Groups.")] = 8,
    rollouts: Annotated[int, typer.Option(min=1, help="Rollouts a group.")] = 8,
    first_prompt: Annotated[int, typer.Option(min=0, help="Environment seed of the first group.")] = 10_000,
    temperature: Annotated[float, typer.Option(min=0, help="Of the sampling.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the sampling.")] = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Episodes played at once.")] = 128,
    score: Annotated[bool, typer.Option(help="Score with the policy as its own reference.")] = True,
    top_k: Annotated[int, typer.Option(min=0, max=100, help="Alternatives stored a token.")] = 5,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
    progress: ProgressMode = "bar",
    json_: Json = False,
) -> None:
    """Collect trajectories of a policy into a new run folder."""
    from actfocus_core.envs import make_env
    from actfocus_core.runs import appearing_run, free_path

    out = out or free_path(Path("runs"), env)
    if out.exists():
        raise ActFocusError(f"{out}: already exists; choose another name for the run")
    given = _options(option or []) | _catalogue(env, catalogue)
    make_env(env, **given)
    from actfocus_core.rollout import collect
    from actfocus_core.signals import score as score_

    loaded = _load(policy, device)
    options = make_env(env, **{**loaded.env_options.get(env, {}), **given}).options.model_dump(mode="json")
    seeds = list(range(first_prompt, first_prompt + prompts))
    with _progress(progress) as show:
        trajectories = collect(loaded, env, prompts=seeds, rollouts=rollouts, temperature=temperature,
                               seed=seed, env_options=options, batch_size=batch_size,
                               on_progress=show("rollout"))
        if score:
            score_(trajectories, loaded, top_k=top_k, on_progress=show("score"))
    config = {"command": "rollout", "policy": policy, "env": env, "env_options": options, "prompts": seeds,
              "rollouts": rollouts, "temperature": temperature, "seed": seed}
    with appearing_run(out, config, {"name": loaded.name, "fingerprint": loaded.fingerprint}) as run:
        run.add_trajectories(0, trajectories)
        if score:
            run.annotate(0, loaded.name, trajectories)
    _report(json_, {"run": str(run.path), "trajectories": len(trajectories), "groups": prompts,
                    "success": sum(t.success for t in trajectories) / len(trajectories),
                    "well_formed": _well_formed(trajectories), "reference": loaded.name if score else None})


@app.command()
def score(
    run: RunArgument,
    reference: Annotated[str, typer.Option(help="tiny, smollm2, a model folder, or a hub id.")] = "tiny",
    top_k: Annotated[int, typer.Option(min=0, max=100, help="Alternatives stored a token.")] = 5,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
    progress: ProgressMode = "bar",
    json_: Json = False,
) -> None:
    """Add the energy, entropy and log-probs of a frozen reference model to a run."""
    from actfocus_core.runs import Run

    opened = Run.open(run)
    steps = opened.steps()
    if not steps:
        raise ActFocusError(f"{run}: has no trajectories to score yet")
    from actfocus_core.signals import score as score_

    loaded, count = _load(reference, device), 0
    with _progress(progress) as show:
        for step in steps:
            trajectories = opened.trajectories(step)
            score_(trajectories, loaded, top_k=top_k, on_progress=show(f"step {step}"))
            opened.annotate(step, loaded.name, trajectories)
            count += len(trajectories)
    _report(json_, {"run": str(opened.path), "reference": loaded.name, "steps": len(steps),
                    "trajectories": count})


@app.command()
def credit(
    run: RunArgument,
    scheme: Annotated[str, typer.Option(help="Names, with commas between them.")] = "uniform,actfocus,role_only,energy_only",
    step: Annotated[int | None, typer.Option(min=0, help="The batch is one training step.",
                                             show_default="the last")] = None,
    reference: Annotated[str | None, typer.Option(help="Whose signals to use.", show_default="the only one")] = None,
    alpha: Annotated[float | None, typer.Option(min=0, max=1, help="Instead of the scheme's own.")] = None,
    beta: Annotated[float | None, typer.Option(min=0, help="Instead of the scheme's own.")] = None,
    signal: Annotated[str | None, typer.Option(help="energy, entropy, nll, shift.")] = None,
    json_: Json = False,
) -> None:
    """How much of the gradient each kind of token gets, for one or more schemes."""
    from actfocus_core.credit import Batch, get_scheme
    from actfocus_core.diagnostics import gradient_mass
    from actfocus_core.runs import Run

    schemes = [get_scheme(name.strip()) for name in scheme.split(",") if name.strip()]
    given = {k: v for k, v in (("alpha", alpha), ("beta", beta), ("signal", signal)) if v is not None}
    opened = Run.open(run)
    steps = opened.steps()
    if not steps or (step is not None and step not in steps):
        raise ActFocusError(f"{run}: has no trajectories of step {step if steps else 0}; "
                            f"it has {f'steps {steps[0]} to {steps[-1]}' if steps else 'none yet'}")
    step = steps[-1] if step is None else step
    batch, rows = Batch.of(opened.trajectories(step, reference)), []
    for one in schemes:
        result = one.compute(batch, **{k: v for k, v in given.items() if k in one.defaults})
        row = {"scheme": one.name, "params": result.params, "missing": list(result.missing)}
        rows.append(row if result.missing else row | gradient_mass(batch.kinds, result.weight))
    if json_:
        return _report(True, {"run": str(opened.path), "step": step, "trajectories": len(batch.returns),
                              "schemes": rows})
    _credit_table(rows, step)


@app.command()
def train(
    out: Annotated[Path | None, typer.Option(help="The new run folder.", show_default="runs/train-ENV-N")] = None,
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Go on with a run that was stopped or killed; of "
                                                "the options below only --steps and --time-budget count.",
                                                show_default=False)] = None,
    preset: Annotated[str | None, typer.Option(help="quick or paper; the options below change it.",
                                               show_default="quick for tiny, else paper")] = None,
    algorithm: Annotated[Literal["grpo", "ppo"], typer.Option(help="Where the advantages come from.")] = "grpo",
    scheme: Annotated[str, typer.Option(help="The credit scheme.")] = "actfocus",
    alpha: Annotated[float | None, typer.Option(min=0, max=1, help="Instead of the scheme's own.")] = None,
    beta: Annotated[float | None, typer.Option(min=0, help="Instead of the scheme's own.")] = None,
    signal: Annotated[str | None, typer.Option(help="energy, entropy, nll, shift.")] = None,
    env: Annotated[str, typer.Option(help="The environment.")] = "frozen_lake",
    option: Annotated[list[str] | None, typer.Option("--option", "-o", metavar="KEY=VALUE",
                                                     help="An option of the environment.")] = None,
    catalogue: Catalogue = None,
    model: Annotated[str, typer.Option(help="tiny, smollm2, a model folder, or a hub id.")] = "tiny",
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps.", show_default="the preset's")] = None,
    time_budget: Annotated[float | None, typer.Option(min=1, help="Seconds at most.",
                                                      show_default="the preset's")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the sampling and the mini-batches.")] = 0,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any other field of the "
                                                   "training config, for instance lr=1e-4.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
    progress: ProgressMode = "bar",
    json_: Json = False,
) -> None:
    """Train a policy by PPO or GRPO with a credit scheme; Ctrl-C ends it after the step it is in."""
    from actfocus_core.runs import free_path
    from actfocus_core.train import TrainConfig, read_status
    from actfocus_core.train import preset as values_of
    from actfocus_core.train import resume as go_on
    from actfocus_core.train import train as begin

    if resume is None:
        given = {k: v for k, v in (("alpha", alpha), ("beta", beta), ("signal", signal)) if v is not None}
        limits = {k: v for k, v in (("steps", steps), ("time_budget", time_budget)) if v is not None}
        if steps is not None and time_budget is None:
            limits["time_budget"] = None
        start = values_of(preset or ("quick" if model == "tiny" else "paper"), env, algorithm, model)
        options = {**start.get("env_options", {}), **_options(option or []), **_catalogue(env, catalogue)}
        config = TrainConfig.of(**{**start, "env_options": options, "scheme": scheme, "scheme_params": given,
                                   "seed": seed, "device": device, **limits, **_options(set_ or [], "--set")})
        out = out or free_path(Path("runs"), f"train-{env}")
        if out.exists():
            raise ActFocusError(f"{out}: already exists; choose another name for the run")
    elif out is not None:
        raise ActFocusError(f"--out {out}: a resumed run stays in its folder; leave --out or --resume away")
    _spare_a_core()
    with _progress(progress) as show:
        phases = {}

        def report(phase: str, done: int, total: int) -> None:
            if phase not in phases:
                phases[phase] = show(phase)
            phases[phase](done, total)

        run = begin(config, out, report) if resume is None else go_on(resume, steps, time_budget, report)
    rows, status = run.metrics()[0], read_status(run.path)
    first, last = ({k: v for k, v in row.items() if k.startswith("eval/")} for row in (rows[0], rows[-1]))
    _report(json_, {"run": str(run.path), "state": status["state"], "steps": status["step"],
                    "seconds": status["elapsed"], "policy": str(run.path / "policy"),
                    **{f"{name} before": first[name] for name in first if name.endswith("/success")},
                    **{f"{name} after": last[name] for name in last if name.endswith("/success")}})


@app.command("eval")
def evaluate(
    policy: Annotated[str, typer.Argument(help="tiny, smollm2, a model folder such as RUN/policy, or a hub id.")] = "tiny",
    env: Annotated[str, typer.Option(help="The environment.")] = "frozen_lake",
    option: Annotated[list[str] | None, typer.Option("--option", "-o", metavar="KEY=VALUE",
                                                     help="An option of the environment.")] = None,
    prompts: Annotated[int, typer.Option(min=1, help="Groups, of the fixed evaluation set.")] = 32,
    rollouts: Annotated[int, typer.Option(min=1, help="Rollouts a group.")] = 16,
    temperature: Annotated[list[float] | None, typer.Option(min=0, help="May be given more than once.",
                                                            show_default="0.5 and 1")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
    progress: ProgressMode = "bar",
    json_: Json = False,
) -> None:
    """Success of a policy on the fixed evaluation set, with its interval over prompts."""
    from actfocus_core.envs import make_env

    given = _options(option or [])
    make_env(env, **given)
    from actfocus_core.train.evaluate import evaluate as roll_out
    from actfocus_core.train.evaluate import label, summary

    loaded, found = _load(policy, device), {}
    with _progress(progress) as show:
        for t in temperature or (0.5, 1.0):
            found[label(t)] = summary(roll_out(loaded, env, prompts=prompts, rollouts=rollouts, temperature=t,
                                               env_options=given, on_progress=show(label(t))))
    _report(json_, {"policy": loaded.name, "env": env, "fingerprint": loaded.fingerprint,
                    **{f"{t}/{name}": value for t, scores in found.items() for name, value in scores.items()}})


def _load(name: str, device: str):
    """Load a policy for a long piece of work."""
    from actfocus_core.policy import load_policy

    _spare_a_core()
    return load_policy(name, device)


def _spare_a_core() -> None:
    """Leave one core to the page."""
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))


def _credit_table(rows: list[dict], step: int) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"Share of the weight by kind of token, step {step}")
    for column in ("scheme", "reasoning", "action", "format", "effective tokens"):
        table.add_column(column, justify="left" if column == "scheme" else "right")
    for row in rows:
        if row["missing"]:
            table.add_row(row["scheme"], f"unavailable: no {', '.join(row['missing'])}; run `actfocus score`")
            continue
        shares = [f"{row['kinds'][kind]['mass_share']:.1%}" for kind in ("reasoning", "action", "format")]
        table.add_row(row["scheme"], *shares, f"{row['effective_tokens']:.0f} of {row['tokens']}")
    Console().print(table)


def _report(as_json: bool, result: dict) -> None:
    if as_json:
        print(json.dumps(_finite(result), allow_nan=False))
        return
    for key, value in result.items():
        print(f"{key.replace('_', ' ')}: {f'{value:.3f}' if isinstance(value, float) else value}")


def _finite(value):
    """JSON has no NaN: what could not be computed is null."""
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _well_formed(trajectories) -> float:
    turns = [turn for t in trajectories for turn in t.turn_records]
    return sum(turn.valid for turn in turns) / len(turns)


def _catalogue(env: str, path: Path | None) -> dict:
    """The environment's option for a product file, in full: a run remembers where it was."""
    if path is None:
        return {}
    if env != "webshop":
        raise ActFocusError(f"--catalogue {path}: {env} has no products; it is for --env webshop")
    return {"catalogue": str(path.resolve())}


def _options(pairs: list[str], flag: str = "--option") -> dict:
    """KEY=VALUE pairs; values are read as JSON where they are JSON, else as text."""
    options = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise ActFocusError(f"{flag} {pair!r}: give KEY=VALUE, for instance slippery=false")
        try:
            options[key] = json.loads(value)
        except ValueError:
            options[key] = value
    return options


@contextmanager
def _progress(mode: str):
    """Yields a function: phase -> callback(done, total)."""
    if mode != "bar":
        def show(phase: str):
            def report(done: int, total: int) -> None:
                if mode == "jsonl":
                    print(json.dumps({"phase": phase, "done": done, "total": total}), file=sys.stderr, flush=True)
            return report
        yield show
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(TextColumn("{task.description:>10}"), BarColumn(), MofNCompleteColumn(),
                  TimeRemainingColumn(), console=Console(stderr=True)) as bars:
        def show(phase: str):
            task = bars.add_task(phase, total=None)
            return lambda done, total: bars.update(task, completed=done, total=total)
        yield show


if __name__ == "__main__":
    main()
