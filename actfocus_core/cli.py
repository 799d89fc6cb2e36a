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
Step = Annotated[int | None, typer.Option(min=0, help="The batch is one training step.", show_default="the last")]
Reference = Annotated[str | None, typer.Option(help="Whose signals to use.", show_default="the only one")]
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
    scheme: Annotated[str, typer.Option(help="Names, with commas between them, or all; shuffle:NAME, random:NAME "
                                        "and reversed:NAME are null controls.")] = "uniform,actfocus,role_only,energy_only",
    step: Step = None,
    reference: Reference = None,
    alpha: Annotated[float | None, typer.Option(min=0, max=1, help="Instead of the scheme's own.")] = None,
    beta: Annotated[float | None, typer.Option(min=0, help="Instead of the scheme's own.")] = None,
    signal: Annotated[str | None, typer.Option(help="energy, entropy, nll, shift; ours: centred_energy, "
                                               "policy_entropy.")] = None,
    json_: Json = False,
) -> None:
    """How much of the gradient each kind of token gets, and how alike schemes are."""
    from actfocus_core.comparison import compare
    from actfocus_core.credit import SCHEMES, Batch, get_scheme
    from actfocus_core.runs import Run

    names = list(SCHEMES) if scheme == "all" else [name.strip() for name in scheme.split(",") if name.strip()]
    schemes = [get_scheme(name) for name in names]
    given = {k: v for k, v in (("alpha", alpha), ("beta", beta), ("signal", signal)) if v is not None}
    opened = Run.open(run)
    step = _step_of(opened, step)
    batch = Batch.of(opened.trajectories(step, reference))
    table = compare(batch, {one.name: one.compute(batch, **{k: v for k, v in given.items() if k in one.defaults})
                            for one in schemes})
    if json_:
        return _report(True, {"run": str(opened.path), "step": step, "trajectories": len(batch.returns), **table})
    _credit_table(table, step)


@app.command()
def diagnose(
    run: RunArgument,
    step: Annotated[int | None, typer.Option(min=0, help="Only the groups of one training step.",
                                             show_default="all steps")] = None,
    reference: Reference = None,
    bootstrap: Annotated[int, typer.Option(min=10, max=100_000, help="Resamples of the groups.")] = 1000,
    json_: Json = False,
) -> None:
    """The action bottleneck: does the spread of returns follow the energy of action tokens?"""
    from actfocus_core.credit import Batch
    from actfocus_core.diagnostics import action_bottleneck
    from actfocus_core.runs import Run

    opened = Run.open(run)
    last = _step_of(opened, step)
    batch = Batch.of(opened.trajectories(None if step is None else last, reference))
    found = action_bottleneck(batch, bootstrap=bootstrap)
    if json_:
        return _report(True, {"run": str(opened.path), "step": step, "trajectories": len(batch.returns), **found})
    _bottleneck_table(found)


@app.command()
def report(
    run: RunArgument,
    out: Annotated[Path, typer.Option(help="The HTML file; an earlier one is replaced.")] = Path("report.html"),
    step: Step = None,
    reference: Reference = None,
    bootstrap: Annotated[int, typer.Option(min=10, max=100_000, help="Resamples behind an interval.")] = 200,
    json_: Json = False,
) -> None:
    """Everything about one batch of a run in one HTML file that opens offline."""
    from actfocus_core.report import write_report
    from actfocus_core.runs import Run

    opened = Run.open(run)
    step = _step_of(opened, step)
    _report(json_, write_report(opened, out, step, reference, bootstrap=bootstrap))


def _step_of(opened, step: int | None) -> int:
    """The step asked for, or the last. Raises ActFocusError where the run has no such trajectories."""
    steps = opened.steps()
    if not steps or (step is not None and step not in steps):
        raise ActFocusError(f"{opened.path}: has no trajectories of step {step if steps else 0}; "
                            f"it has {f'steps {steps[0]} to {steps[-1]}' if steps else 'none yet'}")
    return steps[-1] if step is None else step


@app.command("import")
def import_(
    format: Annotated[str, typer.Argument(help="auto, or jsonl, parquet, verifiers, prime-rl, verl, trl, ragen, "
                                               "areal, skyrl, chat.", show_default=False)],
    path: Annotated[Path, typer.Argument(help="A file or a folder; .gz and .zst are read too.", show_default=False)],
    tokenizer: Annotated[str | None, typer.Option(help="Of the model that wrote them: tiny, a folder, or a hub id.",
                                                  show_default="none, for our own formats")] = None,
    out: Annotated[Path | None, typer.Option(help="The new run folder.", show_default="runs/NAME-N")] = None,
    spans: Annotated[str, typer.Option(help="think_answer, tool_call, boxed, react, or "
                                            "pattern:REGEX with a group (?P<action>...).")] = "think_answer",
    success_at: Annotated[float, typer.Option(help="The reward that counts as success where the file "
                                                   "does not say.")] = 1.0,
    progress: ProgressMode = "bar",
    json_: Json = False,
) -> None:
    """Read other trainers' rollouts, or our own files, into a new run folder."""
    from actfocus_core.interop import import_run
    from actfocus_core.runs import free_path, slug

    out = out or free_path(Path("runs"), slug(path.resolve().name.split(".")[0]))
    with _progress(progress, files=True) as show:
        run = import_run(path, out, format=format, tokenizer=tokenizer, spans=spans, success_at=success_at,
                         on_progress=show("import"))
    index, config = run.index(), run.info["config"]
    _report(json_, {"run": str(run.path), "format": config["format"], "approximate": config["approximate"],
                    "trajectories": len(index), "groups": int(index["group"].nunique()), "steps": len(run.steps()),
                    "tokens": int(index["n_tokens"].sum()), "action_tokens": int(index["n_action"].sum()),
                    "success": float(index["success"].mean())})


@app.command()
def export(
    run: RunArgument,
    format: Annotated[str, typer.Option(help="parquet, jsonl, csv (tokens), html (a page), advantages "
                                             "(weighted, for another trainer).")],
    out: Annotated[Path | None, typer.Option(help="The new file.", show_default="RUN.FORMAT")] = None,
    id: Annotated[list[str] | None, typer.Option("--id", help="Only this trajectory; may be repeated.")] = None,
    group: Annotated[list[str] | None, typer.Option(help="Only this group; may be repeated.")] = None,
    step: Annotated[int | None, typer.Option(min=0, help="Only this training step.")] = None,
    success: Annotated[bool | None, typer.Option("--success/--failure", help="Only these.", show_default="both")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many.")] = None,
    scheme: Annotated[str, typer.Option(help="Whose weights html and advantages show.")] = "actfocus",
    reference: Annotated[str | None, typer.Option(help="Whose signals to use.", show_default="the only one")] = None,
    progress: ProgressMode = "bar",
    json_: Json = False,
) -> None:
    """Write a selection of a run for other programs, or as a page to send around."""
    from actfocus_core.interop.exporting import Selection, export_run
    from actfocus_core.runs import Run

    opened = Run.open(run)
    chosen = Selection(tuple(id or ()), tuple(group or ()), step, success, limit)
    with _progress(progress) as show:
        file, count = export_run(opened, out, format, chosen, scheme=scheme, reference=reference,
                                 on_progress=show("export"))
    _report(json_, {"run": str(opened.path), "file": str(file), "format": format, "trajectories": count})


@app.command()
def doctor(
    path: Annotated[Path, typer.Argument(metavar="RUN|FILE", help="A run folder, or rollouts that can be imported.",
                                         show_default=False)],
    tokenizer: Annotated[str | None, typer.Option(help="Of the policy: checks ids against the text.",
                                                  show_default="that of the import")] = None,
    reference: Annotated[str | None, typer.Option(help="The policy that sampled: its log-probs are compared.",
                                                  show_default="none")] = None,
    spans: Annotated[str | None, typer.Option(help="The span rule.", show_default="that of the import")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
    progress: ProgressMode = "bar",
    json_: Json = False,
) -> None:
    """Say what is wrong with these rollouts; exit code 1 where there are errors."""
    import tempfile

    from actfocus_core.doctor import diagnose
    from actfocus_core.interop import import_run
    from actfocus_core.policy import load_tokenizer
    from actfocus_core.runs import Run

    with tempfile.TemporaryDirectory() as hidden, _progress(progress) as show:
        if path.exists() and not (path / "run.json").is_file():
            opened = import_run(path, Path(hidden) / "run", tokenizer=tokenizer, spans=spans or "think_answer",
                                on_progress=show("import"))
        else:
            opened = Run.open(path)
        policy = _load(reference, device) if reference else None
        given = tokenizer or opened.info["config"].get("tokenizer")
        tokens = policy.tokenizer if policy else load_tokenizer(given) if given else None
        report = diagnose(opened, tokenizer=tokens, reference=policy, spans=spans, on_progress=show("check"))
    if json_:
        _report(True, {"run": str(path), **report.as_dict()})
    else:
        _findings(report)
    raise typer.Exit(0 if report.healthy else 1)


def _findings(report) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.padding import Padding

    console = Console(highlight=False)
    console.print(f"{report.trajectories} trajectories, {report.tokens} tokens: "
                  + (f"{len(report.findings)} findings" if report.findings else "nothing is wrong"))
    colour = {"error": "red", "warning": "yellow", "info": "blue"}
    for f in report.findings:
        console.print(f"[{colour[f.severity]}]{f.severity:8}[/] [bold]{f.check}[/]: {f.count} of {f.of}, "
                      f"for example {escape(', '.join(f.examples[:2]))}")
        console.print(Padding(escape(f.message), (0, 0, 0, 9)))


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
    """Leave one core to the page: torch reads this when it is first imported."""
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 2) - 1)))


def _credit_table(table: dict, step: int) -> None:
    from actfocus_core.credit import HOW_TO_GET

    rows, lacking = [], []
    for row in table["schemes"]:
        if row["missing"]:
            lacking.append(f"{row['scheme']}: no {', '.join(row['missing'])}; {HOW_TO_GET[row['missing'][0]]}")
            continue
        weight, own = row["kinds"], row["credit"]
        rows.append([row["scheme"], *(_percent(weight[kind]["mass_share"]) for kind in ("reasoning", "action", "format")),
                     f"{row['effective_tokens']:.0f}", _percent(own["kinds"]["action"]["mass_share"]),
                     f"{own['effective_tokens']:.0f}", _percent(row["sign_flips"])])
    tokens = next((f" of {row['tokens']} response tokens" for row in table["schemes"] if not row["missing"]), "")
    _table(f"Share of the weight by kind{tokens}, step {step}; of the credit |c|; signs against Uniform",
           ["scheme", "reasoning", "action", "format", "effective tokens", "|c| action", "|c| effective", "sign flips"],
           rows)
    for line in lacking:
        print(f"unavailable: {line}")
    names = list(table["spearman"])
    if len(names) > 1:
        _table("Spearman of the signed credit a token", ["", *map(str, range(1, len(names) + 1))],
               [[f"{i} {a}", *(_plain(table["spearman"][a][b], 2) for b in names)] for i, a in enumerate(names, 1)])


def _bottleneck_table(found: dict) -> None:
    rows = []
    for r in found["correlations"]:
        known = [r["why"]] if r["why"] else [
            f"{_plain(r['rho'])} [{_plain(r['low'])}, {_plain(r['high'])}]", f"{r['p']:.2g}", _plain(r["rho_success"]),
            f"{_plain(r['partial'])} [{_plain(r['partial_low'])}, {_plain(r['partial_high'])}]", _plain(r["partial_spread"])]
        rows.append([f"{r['signal']}, {r['part']}", *known])
    _table(f"Spread of returns (sigma) against the mean signal, {len(found['groups'])} groups",
           ["signal, tokens", "rho [95 %]", "p", "rho with success", "given success [95 %]", "and given p(1-p)"], rows)
    confound = found["confound"]
    print(f"sigma itself: rho {_plain(confound['rho_success'])} with the groups' success rate p, "
          f"{_plain(confound['rho_spread'])} with p(1-p)"
          + ("; returns take two values, so sigma is a function of p" if confound["binary"] else ""))
    if found["missing"]:
        print(f"not recorded: {', '.join(found['missing'])}; `actfocus score` adds what comes from a reference")


def _table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    # Numbers are never cut: a line may be longer than the terminal is wide.
    console = Console()
    widest = Console(width=10_000).measure(table).maximum
    Console(width=max(console.width, widest)).print(table)


def _plain(value: float | None, digits: int = 3) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def _percent(value: float) -> str:
    return f"{value:.1%}" if math.isfinite(value) else "-"


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
def _progress(mode: str, files: bool = False):
    """Yields a function: phase -> callback(done, total); ``files``: what is counted is bytes."""
    if mode != "bar":
        def show(phase: str):
            def report(done: int, total: int) -> None:
                if mode == "jsonl":
                    print(json.dumps({"phase": phase, "done": done, "total": total}), file=sys.stderr, flush=True)
            return report
        yield show
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    # Where stderr is no terminal a bar would only stand beside the one line of an error.
    with Progress(TextColumn("{task.description:>10}"), BarColumn(), DownloadColumn() if files else MofNCompleteColumn(),
                  TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bars:
        def show(phase: str):
            task = bars.add_task(phase, total=None)
            return lambda done, total: bars.update(task, completed=done, total=total)
        yield show


if __name__ == "__main__":
    main()
