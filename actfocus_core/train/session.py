"""A training session: everything around the update that GRPO and PPO share. It has a learner and a run folder."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from actfocus_core.envs import make_env
from actfocus_core.errors import out_of_memory
from actfocus_core.paths import make_group_readable
from actfocus_core.policy import Policy
from actfocus_core.policy.sampler import CachedSampler, Sampler
from actfocus_core.policy.vllm import VllmEngine, VllmSampler
from actfocus_core.rollout import TRAINING_SEED, collect
from actfocus_core.runs import Run, slug
from actfocus_core.train import resuming
from actfocus_core.train.checkpoint import SECONDS, atomic_folder, load_checkpoint, save_checkpoint
from actfocus_core.train.config import TrainConfig
from actfocus_core.train.control import PAUSE_POLL, Interrupt, requested, write_status
from actfocus_core.train.evaluate import evaluate, label, summary
from actfocus_core.train.learner import Learner, Progress
from actfocus_core.train.lora import merged
from actfocus_core.train.tracking import Tracking
from actfocus_core.trajectory import Trajectory


class Session:
    """The work of one process on one run: rollouts, evaluation, storage, checkpoints, status and requests."""

    def __init__(
        self,
        config: TrainConfig,
        policy: Policy,
        run: Run,
        on_progress: Progress | None = None,
        on_warning: Callable[[str], None] | None = None,
    ):
        self.config, self.policy, self.run = config, policy, run
        self.learner = Learner(config, policy, on_progress, lambda phase: self.write_status("running", phase))
        self.on_warning = on_warning or (lambda line: None)
        self.interrupt = Interrupt()
        self.engine: VllmEngine | None = None
        """started on first use"""
        self.ended = ""
        """the final state of the run; empty while training continues"""
        self.message = ""
        """a warning about the last step, or why training failed; shown in the status"""
        self.warnings: list[str] = []
        """problems found when the run was resumed; shown in the status until the end"""
        self._saved = 0
        """the step of the last checkpoint saved or loaded"""
        self._elapsed, self._since = 0.0, time.perf_counter()
        self._step_start = 0.0
        self._slowest = self._evaluation = 0.0
        """seconds of the longest step and of the longest evaluation so far"""
        self.logged = {row["step"] for row in run.metrics()[0]}
        self.tracking = Tracking(config.track, run.path, config.as_stored())
        self._load_checkpoint()

    # --- the parts of a step, in order ----------------------------------------------------

    def should_continue(self) -> bool:
        """Whether to take another step. Waits while the run is paused."""
        while not self.ended:
            request = "stop" if self.interrupt.asked else requested(self.run.path)
            if request == "stop":
                self.ended = "stopped"
            elif self.learner.step >= self.config.steps:
                self.ended = "finished"
            elif request == "go":
                break
            else:
                self._pause()
        return not self.ended

    def begin_step(self) -> int:
        """The number of the step that begins now, from 1."""
        self._step_start = self.elapsed
        return self.learner.step + 1

    def collect(self, step: int) -> list[Trajectory]:
        """The rollouts of a step: P new prompts, G rollouts of each."""
        c, learner = self.config, self.learner
        first = TRAINING_SEED + (step - 1) * c.prompts
        rollouts = collect(
            learner.rollout_policy,
            c.env,
            prompts=range(first, first + c.prompts),
            rollouts=c.rollouts,
            seed=c.seed,
            step=step,
            env_options=c.env_options,
            sampler=self._sampler(c.temperature),
            batch_size=c.rollout_batch,
            on_progress=lambda done, total: learner.progress("rollout", done, total),
        )
        if self.engine:
            self.engine.sleep()
        return rollouts

    def store(self, step: int, trajectories: list[Trajectory]) -> None:
        """Write the rollouts of a step to the run folder, with the reference's signals if every rollout has them.

        A process that was killed may have stored both already, or the rollouts alone.
        """
        if not resuming.stores(self.config, step):
            return
        scored = all("ref_energy" in t.signals for t in trajectories)
        if step not in self.run.steps():
            self.run.add_trajectories(step, trajectories)
        elif not scored or slug(self.learner.reference.name) in self.run.references(step):
            return
        elif not resuming.are_stored(self.run, step, trajectories):
            self.warn(
                f"the stored rollouts of step {step} differ from the repeated ones, so no signals are stored for them; "
                "`actfocus score` adds them"
            )
            return
        if scored:
            self.run.annotate(step, self.learner.reference.name, trajectories)

    def end_step(self, step: int, metrics: dict[str, float]) -> None:
        """Evaluate when it is due, log the step, and save a checkpoint."""
        c, learner = self.config, self.learner
        if self.engine:
            self.engine.weights_stale = True  # The update has changed the weights.
        seconds = self.elapsed - self._step_start
        self._slowest = max(self._slowest, seconds)
        collapsed = metrics["format/well_formed"] < c.format_floor
        last = step >= c.steps or self._time_is_up()
        if c.eval_every and (step % c.eval_every == 0 or last):
            metrics |= self._evaluate(step)
        metrics |= {
            "grad/lr": learner.adam.rate(step),
            "format/collapsed": float(collapsed),
            "tokens/per_second": metrics["tokens/sampled"] / seconds,
            **self._phase_seconds(),
        }
        learner.step = step
        self.log(step, metrics)
        if collapsed and c.stop_on_format_collapse:
            self.ended = "stopped"
        elif last:
            self.ended = "finished"
        if step % c.checkpoint_every == 0 or self.ended:
            self.checkpoint()
        self.message = (
            f"format collapse: {metrics['format/well_formed']:.0%} of the turns are well formed (step {step})"
            if collapsed
            else ""
        )
        self.write_status("running")
        learner.progress("train", step, c.steps)

    # --- begin and end -------------------------------------------------------------------

    def begin(self) -> None:
        """Evaluate the initial policy, before the first step."""
        if self.learner.step == 0 and 0 not in self.logged and self.config.eval_every:
            metrics = self._evaluate(0)
            self.log(0, {**metrics, **self._phase_seconds()})

    def end(self) -> None:
        """Save the last checkpoint and the policy, and write the final status."""
        if self.learner.step != self._saved:
            self.checkpoint()
        self.save_policy()
        self.tracking.close()
        self.write_status(self.ended)

    def save_policy(self) -> None:
        """Write ``policy/``, a Hugging Face folder: weights, tokenizer, and the options of the training environment."""
        learner = self.learner
        with atomic_folder(self.run.path / "policy") as part:
            model = learner.rollout_policy.model if learner.adapted is None else merged(learner.adapted)
            try:
                model.save_pretrained(part)
                learner.rollout_policy.tokenizer.save_pretrained(part)
            except Exception as error:  # safetensors and tokenizers raise their own types if the disk is full
                raise error if isinstance(error, OSError) or out_of_memory(error) else OSError(str(error)) from None
            for file in part.glob("*.safetensors"):
                make_group_readable(file)
            options = {**self.policy.env_options, self.config.env: self.env_options}
            (part / "actfocus.json").write_text(
                json.dumps(
                    {
                        "env_options": options,
                        "trained": {
                            "from": self.config.model,
                            "steps": learner.step,
                            "scheme": self.config.scheme,
                            "algorithm": self.config.algorithm,
                            "seed": self.config.seed,
                        },
                    },
                    indent=2,
                )
                + "\n",
                encoding="utf-8",
            )

    # --- the run folder ------------------------------------------------------------------

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Append a row of metrics, unless a process that was killed after this step has already written it."""
        if step not in self.logged:
            finite = {k: v for k, v in metrics.items() if np.isfinite(v)}
            self.run.log({"step": step, **finite})
            self.logged.add(step)
            self.tracking.log(step, finite)

    def write_status(self, state: str, phase: str = "") -> None:
        """Replace status.json."""
        message = "; ".join(filter(None, (self.message, *self.warnings)))
        write_status(
            self.run.path,
            state=state,
            step=self.learner.step,
            steps=self.config.steps,
            phase=phase,
            message=message,
            elapsed=self.elapsed,
            time_budget=self.config.time_budget,
        )

    def warn(self, line: str) -> None:
        """Report a problem to the caller of ``resume`` and in the status."""
        self.warnings.append(line)
        self.on_warning(line)

    def checkpoint(self) -> None:
        """Save everything the next step depends on."""
        seconds = dict(zip(SECONDS, (self.elapsed, self._slowest, self._evaluation)))
        learner = self.learner
        save_checkpoint(
            self.run.path / "checkpoints", learner.step, learner.state_dict(), seconds, self.config.checkpoints_kept
        )
        self._saved = learner.step

    def _load_checkpoint(self) -> None:
        """Load the checkpoint the run resumes from, if there is one."""
        learner = self.learner
        files = list(learner.state_dict())
        resumption = resuming.resumption(self.run, self.config, files, self.logged, learner.scores_every_rollout)
        for line in resumption.warnings:
            self.warn(line)
        if resumption.start:
            tensors, seconds = load_checkpoint(self.run.path / "checkpoints", resumption.start, files)
            learner.load_state_dict(tensors)
            learner.step = self._saved = resumption.start
            self._elapsed, self._slowest, self._evaluation = (seconds[name] for name in SECONDS)

    # --- helpers -------------------------------------------------------------------------

    @property
    def env_options(self) -> dict[str, Any]:
        """All options of the environment in this run, defaults included."""
        options = {**self.policy.env_options.get(self.config.env, {}), **self.config.env_options}
        return make_env(self.config.env, **options).options.model_dump(mode="json")

    @property
    def elapsed(self) -> float:
        """Seconds of training so far over all processes, without pauses."""
        return self._elapsed + time.perf_counter() - self._since

    def _phase_seconds(self) -> dict[str, float]:
        """Seconds by phase since the last call, and seconds since the training began."""
        seconds, self.learner.seconds = self.learner.seconds, {}
        return {**{f"seconds/{phase}": value for phase, value in seconds.items()}, "seconds/elapsed": self.elapsed}

    def _time_is_up(self) -> bool:
        budget = self.config.time_budget
        return budget is not None and self.elapsed + self._slowest + self._evaluation > budget

    def _evaluate(self, step: int) -> dict[str, float]:
        c, learner, start = self.config, self.learner, self.elapsed
        metrics: dict[str, float] = {}
        with learner.phase("evaluate"):
            for temperature in c.eval_temperatures:
                trajectories = evaluate(
                    learner.rollout_policy,
                    c.env,
                    prompts=c.eval_prompts,
                    rollouts=c.eval_rollouts,
                    temperature=temperature,
                    step=step,
                    env_options=c.env_options,
                    sampler=self._sampler(temperature),
                    batch_size=c.rollout_batch,
                    on_progress=lambda done, total: learner.progress("evaluate", done, total),
                )
                metrics |= {f"eval/{label(temperature)}/{k}": v for k, v in summary(trajectories).items()}
                if c.store_evaluation:
                    self._store_evaluation(step, temperature, trajectories)
        self._evaluation = max(self._evaluation, self.elapsed - start)
        return metrics

    def _store_evaluation(self, step: int, temperature: float, trajectories: list[Trajectory]) -> None:
        path = self.run.path / "evaluation" / label(temperature)
        config = {
            "command": "evaluate",
            "env": self.config.env,
            "env_options": self.env_options,
            "temperature": temperature,
        }
        run = Run.open(path) if path.exists() else Run.create(path, config, self.run.info["model"])
        if step not in run.steps():
            run.add_trajectories(step, trajectories)

    def _pause(self) -> None:
        self._elapsed = self.elapsed
        self.write_status("paused")
        while requested(self.run.path) == "pause" and not self.interrupt.asked:
            time.sleep(PAUSE_POLL)
        self._since = time.perf_counter()
        self.write_status("running")

    def _sampler(self, temperature: float) -> Sampler:
        """A sampler of the current policy."""
        if self.config.sampler == "transformers":
            return CachedSampler(self.learner.rollout_policy, temperature)
        if self.engine is None:
            self.engine = VllmEngine(self.policy, self.learner.bf16, self.config.sampler_memory)
        if self.engine.weights_stale:
            self.engine.sync(self.policy.model)
        return VllmSampler(self.engine, temperature)
