"""`actfocus rollout`, `score` and `eval`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from actfocus_core.cli.base import app
from actfocus_core.cli.options import (
    Catalogue,
    Json,
    ProgressMode,
    RunArgument,
    catalogue_option,
    key_values,
    load,
)
from actfocus_core.cli.show import print_result, progress_bars
from actfocus_core.errors import ActFocusError

if TYPE_CHECKING:
    from actfocus_core.policy import Policy
    from actfocus_core.policy.sampler import Sampler


@app.command()
def rollout(
    out: Annotated[Path | None, typer.Option(help="The new run folder.", show_default="runs/ENV-N")] = None,
    policy: Annotated[str, typer.Option(help="tiny, smollm2, a model folder, or a hub id.")] = "tiny",
    env: Annotated[str, typer.Option(help="The environment.")] = "frozen_lake",
    option: Annotated[
        list[str] | None, typer.Option("--option", "-o", metavar="KEY=VALUE", help="An option of the environment.")
    ] = None,
    catalogue: Catalogue = None,
    prompts: Annotated[int, typer.Option(min=1, help="Number of prompts; each is a group of rollouts.")] = 8,
    rollouts: Annotated[int, typer.Option(min=1, help="Rollouts per group.")] = 8,
    first_prompt: Annotated[int, typer.Option(min=0, help="Environment seed of the first group.")] = 10_000,
    temperature: Annotated[float, typer.Option(min=0, help="Sampling temperature.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Sampling seed.")] = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Episodes played in parallel.")] = 128,
    sampler: Annotated[
        Literal["transformers", "vllm"], typer.Option(help="Inference engine; vllm is an extra.")
    ] = "transformers",
    score: Annotated[bool, typer.Option(help="Score the trajectories with the policy as its own reference.")] = True,
    top_k: Annotated[int, typer.Option(min=0, max=100, help="Alternatives stored per token.")] = 5,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
    progress: ProgressMode = "bar",
    json_: Json = False,
) -> None:
    """Collect trajectories of a policy into a new run folder."""
    from actfocus_core.envs import make_env
    from actfocus_core.runs import atomic_run, free_path

    out = out or free_path(Path("runs"), env)
    if out.exists():
        raise ActFocusError(f"{out}: already exists; choose another name for the run")
    chosen_options = key_values(option or []) | catalogue_option(env, catalogue)
    make_env(env, **chosen_options)
    from actfocus_core.outcomes import success_rate
    from actfocus_core.rollout import collect
    from actfocus_core.signals import score as score_
    from actfocus_core.train.metrics import legal, well_formed

    loaded = load(policy, device)
    options = make_env(env, **{**loaded.env_options.get(env, {}), **chosen_options}).options.model_dump(mode="json")
    seeds = list(range(first_prompt, first_prompt + prompts))
    with progress_bars(progress) as show:
        trajectories = collect(
            loaded,
            env,
            prompts=seeds,
            rollouts=rollouts,
            temperature=temperature,
            seed=seed,
            env_options=options,
            sampler=_sampler(sampler, loaded, temperature),
            batch_size=batch_size,
            on_progress=show("rollout"),
        )
        if score:
            score_(trajectories, loaded, top_k=top_k, on_progress=show("score"))
    config = {
        "command": "rollout",
        "policy": policy,
        "env": env,
        "env_options": options,
        "prompts": seeds,
        "rollouts": rollouts,
        "temperature": temperature,
        "seed": seed,
        "sampler": sampler,
    }
    with atomic_run(out, config, {"name": loaded.name, "fingerprint": loaded.fingerprint}) as run:
        run.add_trajectories(0, trajectories)
        if score:
            run.annotate(0, loaded.name, trajectories)
    print_result(
        json_,
        {
            "run": str(run.path),
            "trajectories": len(trajectories),
            "groups": prompts,
            "success": success_rate(trajectories).mean,
            "well_formed": well_formed(trajectories),
            "legal": legal(trajectories),
            "reference": loaded.name if score else None,
        },
    )


@app.command()
def score(
    run: RunArgument,
    reference: Annotated[str, typer.Option(help="tiny, smollm2, a model folder, or a hub id.")] = "tiny",
    top_k: Annotated[int, typer.Option(min=0, max=100, help="Alternatives stored per token.")] = 5,
    groups: Annotated[
        int | None,
        typer.Option(
            min=1, help="Score at most this many groups, and say how long the rest takes.", show_default="all"
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep the signals that are stored, and score only what has none.")
    ] = False,
    first: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Begin with the group and step of this trajectory.", show_default="step order"),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
    progress: ProgressMode = "bar",
    json_: Json = False,
) -> None:
    """Add the energy, entropy and log-probs of a frozen reference model to a run, group by group."""
    from actfocus_core.runs import Run

    opened = Run.open(run)
    steps = opened.steps()
    if not steps:
        raise ActFocusError(f"{run}: has no trajectories to score yet")
    opened.check_writable()
    from actfocus_core.scoring import score_run

    # A person waits for the first weights; the studio gives this process a low priority instead.
    loaded = load(reference, device, all_cores=True)
    with progress_bars(progress) as show:
        found = score_run(
            opened, loaded, top_k=top_k, groups=groups, resume=resume, first=first, on_progress=show("score")
        )
    print_result(json_, {"run": str(opened.path), "reference": loaded.name, "steps": len(steps), **found.as_dict()})


@app.command("eval")
def evaluate(
    policy: Annotated[
        str, typer.Argument(help="tiny, smollm2, a model folder such as RUN/policy, or a hub id.")
    ] = "tiny",
    env: Annotated[str, typer.Option(help="The environment.")] = "frozen_lake",
    option: Annotated[
        list[str] | None, typer.Option("--option", "-o", metavar="KEY=VALUE", help="An option of the environment.")
    ] = None,
    prompts: Annotated[int, typer.Option(min=1, help="Number of prompts of the fixed evaluation set.")] = 32,
    rollouts: Annotated[int, typer.Option(min=1, help="Rollouts per prompt.")] = 16,
    temperature: Annotated[
        list[float] | None,
        typer.Option(min=0, help="Sampling temperature; may be repeated.", show_default="0.5 and 1"),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
    progress: ProgressMode = "bar",
    json_: Json = False,
) -> None:
    """Measure the success rate of a policy on the fixed evaluation set, with an interval over prompts."""
    from actfocus_core.envs import make_env

    options = key_values(option or [])
    make_env(env, **options)
    from actfocus_core.train.evaluate import evaluate as play_evaluation
    from actfocus_core.train.evaluate import label, summary

    loaded, summaries = load(policy, device), {}
    with progress_bars(progress) as show:
        for t in temperature or (0.5, 1.0):
            summaries[label(t)] = summary(
                play_evaluation(
                    loaded,
                    env,
                    prompts=prompts,
                    rollouts=rollouts,
                    temperature=t,
                    env_options=options,
                    on_progress=show(label(t)),
                )
            )
    print_result(
        json_,
        {
            "policy": loaded.name,
            "env": env,
            "fingerprint": loaded.fingerprint,
            **{f"{t}/{name}": value for t, scores in summaries.items() for name, value in scores.items()},
        },
    )


def _sampler(name: str, policy: Policy, temperature: float) -> Sampler | None:
    """The sampler with this name; None for transformers, the default of ``collect``."""
    if name == "transformers":
        return None
    import torch

    from actfocus_core.policy.vllm import VllmEngine, VllmSampler

    return VllmSampler(VllmEngine(policy, bf16=policy.model.dtype == torch.bfloat16, memory=0.5), temperature)
