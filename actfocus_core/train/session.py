"""What GRPO and PPO share around the update: models, rollouts, scores, the run folder, its end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from actfocus_core.envs import make_env
from actfocus_core.errors import out_of_memory
from actfocus_core.paths import share
from actfocus_core.policy import Policy
from actfocus_core.policy.sampler import CachedSampler, Sampler
from actfocus_core.policy.vllm import VllmEngine, VllmSampler
from actfocus_core.rollout import TRAINING_SEED, collect
from actfocus_core.runs import Run, slug
from actfocus_core.train import resuming
from actfocus_core.train.checkpoint import SECONDS, appearing_folder, load_checkpoint, save_checkpoint
from actfocus_core.train.config import TrainConfig
from actfocus_core.train.control import PAUSE_POLL, Interrupt, requested, write_status
from actfocus_core.train.evaluate import evaluate, label, summary
from actfocus_core.train.learner import Learner, Progress
from actfocus_core.train.lora import merged
from actfocus_core.train.tracking import Tracking
from actfocus_core.trajectory import Trajectory


class Session(Learner):
    """One process's work on one run: what it learns, and what it tells the folder."""

    def __init__(
        self,
        config: TrainConfig,
        policy: Policy,
        run: Run,
        on_progress: Progress | None = None,
        on_warning: Callable[[str], None] | None = None,
    ):
        super().__init__(config, policy, on_progress)
        self.run = run
        self.on_warning = on_warning or (lambda line: None)
        self.interrupt = Interrupt()
        self.engine: VllmEngine | None = None
        """started when it is first needed"""
        self.ended = ""
        """why the training is over; empty while it is not"""
        self.message = ""
        """a warning about the last step, or why training failed; stands in the status"""
        self.warnings: list[str] = []
        """what was wrong with the run when it was resumed; stands in the status to the end"""
        self._saved = 0
        """the step of the last checkpoint saved or loaded"""
        self._elapsed, self._since = 0.0, time.perf_counter()
        self._began = 0.0
        self._slowest = self._evaluation = 0.0
        self.logged = {row["step"] for row in run.metrics()[0]}
        self.tracking = Tracking(config.track, run.path, config.model_dump(mode="json"))
        self._take_up()

    # --- the parts of a step, in their order ----------------------------------------------

    def goes_on(self) -> bool:
        """Whether another step is to be done; waits here while the run is paused."""
        while not self.ended:
            asked = "stop" if self.interrupt.asked else requested(self.run.path)
            if asked == "stop":
                self.ended = "stopped"
            elif self.step >= self.config.steps:
                self.ended = "finished"
            elif asked == "go":
                break
            else:
                self._pause()
        return not self.ended

    def start_step(self) -> int:
        """The number of the step that begins now."""
        self._began = self.elapsed
        return self.step + 1

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a part of the step, and say in the status that it is being done."""
        self.tell("running", phase=name)
        with super().phase(name):
            yield

    def collect(self, step: int) -> list[Trajectory]:
        """The rollouts of a step: P new prompts, G rollouts each."""
        c = self.config
        first = TRAINING_SEED + (step - 1) * c.prompts
        rollouts = collect(
            self.player,
            c.env,
            prompts=range(first, first + c.prompts),
            rollouts=c.rollouts,
            seed=c.seed,
            step=step,
            env_options=c.env_options,
            sampler=self._sampler(c.temperature),
            batch_size=c.rollout_batch,
            on_progress=lambda d, n: self.progress("rollout", d, n),
        )
        if self.engine:
            self.engine.rest()
        return rollouts

    @contextmanager
    def updating(self) -> Iterator[None]:
        """As the learner's; afterwards vLLM's weights are those of before."""
        with super().updating():
            yield
        if self.engine:
            self.engine.stale = True

    def store(self, step: int, trajectories: list[Trajectory]) -> None:
        """Put the rollouts of a step into the run folder, with the reference's signals where all have them.

        An earlier process that was killed may have stored both, or the rollouts alone.
        """
        if not resuming.stores(self.config, step):
            return
        scored = all("ref_energy" in t.signals for t in trajectories)
        if step not in self.run.steps():
            self.run.add_trajectories(step, trajectories)
        elif not scored or slug(self.reference.name) in self.run.references(step):
            return
        elif not resuming.are_stored(self.run, step, trajectories):
            self.warn(
                f"the stored rollouts of step {step} differ from the repeated ones, so no signals are stored for them; "
                "`actfocus score` adds them"
            )
            return
        if scored:
            self.run.annotate(step, self.reference.name, trajectories)

    def end_step(self, step: int, metrics: dict[str, float]) -> None:
        """Evaluate when it is time, log the step, and make a checkpoint."""
        c = self.config
        seconds = self.elapsed - self._began
        self._slowest = max(self._slowest, seconds)
        collapsed = metrics["format/well_formed"] < c.format_floor
        last = step >= c.steps or self._time_is_up()
        if c.eval_every and (step % c.eval_every == 0 or last):
            metrics |= self._evaluate(step)
        metrics |= {
            "grad/lr": self.adam.rate(step),
            "format/collapsed": float(collapsed),
            "tokens/per_second": metrics["tokens/sampled"] / seconds,
            **self.notes,
            "seconds/elapsed": self.elapsed,
        }
        self.step, self.notes = step, {}
        self.log(step, metrics)
        if collapsed and c.stop_on_format_collapse:
            self.ended = "stopped"
        elif last:
            self.ended = "finished"
        if step % c.checkpoint_every == 0 or self.ended:
            self.checkpoint()
        self.message = (
            f"the format collapses: {metrics['format/well_formed']:.0%} of the turns are well formed (step {step})"
            if collapsed
            else ""
        )
        self.tell("running")
        self.progress("train", step, c.steps)

    # --- beginning and end ---------------------------------------------------------------

    def begin(self) -> None:
        """Evaluate the policy as it is, before the first step."""
        if self.step == 0 and 0 not in self.logged and self.config.eval_every:
            metrics = self._evaluate(0)
            self.log(0, {**metrics, **self.notes, "seconds/elapsed": self.elapsed})
        self.notes = {}

    def end(self) -> None:
        """Make the run resumable where it stopped, and the policy an ordinary model folder."""
        if self.step != self._saved:
            self.checkpoint()
        self.save_policy()
        self.tracking.close()
        self.tell(self.ended)

    def save_policy(self) -> None:
        """Write ``policy/``: weights, tokenizer, and the options of the environment it was trained in."""
        with appearing_folder(self.run.path / "policy") as part:
            model = self.player.model if self.adapted is None else merged(self.adapted)
            try:
                model.save_pretrained(part)
                self.player.tokenizer.save_pretrained(part)
            except Exception as error:  # of safetensors' and tokenizers' own kinds, where a disk is full
                raise error if isinstance(error, OSError) or out_of_memory(error) else OSError(str(error)) from None
            for file in part.glob("*.safetensors"):
                share(file)
            options = {**self.policy.env_options, self.config.env: self.env_options}
            (part / "actfocus.json").write_text(
                json.dumps(
                    {
                        "env_options": options,
                        "trained": {
                            "from": self.config.model,
                            "steps": self.step,
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

    # --- the folder ----------------------------------------------------------------------

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Append a row, unless a process that was killed after this step has written it already."""
        if step not in self.logged:
            finite = {k: v for k, v in metrics.items() if np.isfinite(v)}
            self.run.log({"step": step, **finite})
            self.logged.add(step)
            self.tracking.log(step, finite)

    def tell(self, state: str, phase: str = "") -> None:
        """Replace the run's status."""
        message = "; ".join(filter(None, (self.message, *self.warnings)))
        write_status(
            self.run.path,
            state=state,
            step=self.step,
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
        """Store everything the next step depends on."""
        seconds = dict(zip(SECONDS, (self.elapsed, self._slowest, self._evaluation)))
        save_checkpoint(self.run.path / "checkpoints", self.step, self.stored(), seconds, self.config.checkpoints_kept)
        self._saved = self.step

    def _take_up(self) -> None:
        """Go on from the checkpoint that the run can be resumed from, if there is one."""
        names = list(self.parts())
        found = resuming.resumption(self.run, self.config, names, self.logged, self.scores_all)
        for line in found.warnings:
            self.warn(line)
        if found.start:
            tensors, state = load_checkpoint(self.run.path / "checkpoints", found.start, names)
            self.take_up(tensors)
            self.step = self._saved = found.start
            self._elapsed, self._slowest, self._evaluation = (state[name] for name in SECONDS)

    # --- the rest ------------------------------------------------------------------------

    @property
    def env_options(self) -> dict[str, Any]:
        """All options of the environment, as they hold in this run."""
        given = {**self.policy.env_options.get(self.config.env, {}), **self.config.env_options}
        return make_env(self.config.env, **given).options.model_dump(mode="json")

    @property
    def elapsed(self) -> float:
        """Seconds of training so far, pauses left out, over all processes."""
        return self._elapsed + time.perf_counter() - self._since

    def _time_is_up(self) -> bool:
        budget = self.config.time_budget
        return budget is not None and self.elapsed + self._slowest + self._evaluation > budget

    def _evaluate(self, step: int) -> dict[str, float]:
        c, began = self.config, self.elapsed
        found: dict[str, float] = {}
        with self.phase("evaluate"):
            for temperature in c.eval_temperatures:
                trajectories = evaluate(
                    self.player,
                    c.env,
                    prompts=c.eval_prompts,
                    rollouts=c.eval_rollouts,
                    temperature=temperature,
                    step=step,
                    env_options=c.env_options,
                    sampler=self._sampler(temperature),
                    batch_size=c.rollout_batch,
                    on_progress=lambda d, n: self.progress("evaluate", d, n),
                )
                found |= {f"eval/{label(temperature)}/{k}": v for k, v in summary(trajectories).items()}
                if c.store_evaluation:
                    self._store_evaluation(step, temperature, trajectories)
        self._evaluation = max(self._evaluation, self.elapsed - began)
        return found

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
        self.tell("paused")
        while requested(self.run.path) == "pause" and not self.interrupt.asked:
            time.sleep(PAUSE_POLL)
        self._since = time.perf_counter()
        self.tell("running")

    def _sampler(self, temperature: float) -> Sampler:
        """What plays the policy as it is now."""
        if self.config.sampler == "transformers":
            return CachedSampler(self.player, temperature)
        if self.engine is None:
            self.engine = VllmEngine(self.policy, self.half, self.config.sampler_memory)
        if self.engine.stale:
            self.engine.sync(self.policy.model)
        return VllmSampler(self.engine, temperature)
