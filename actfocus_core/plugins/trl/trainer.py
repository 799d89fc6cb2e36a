"""TRL's GRPO trainer with token weights, and the prompts and rewards of ActFocus environments for it."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object, is_peft_model
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer
from trl.models import unwrap_model_for_generation

from actfocus_core.credit.weights import SignalStats, pooled
from actfocus_core.envs import make_env
from actfocus_core.interop.converter import Converter
from actfocus_core.interop.samples import digest
from actfocus_core.plugins.batch import complete_parameters, read_rows, weigh
from actfocus_core.plugins.mirror import RunMirror
from actfocus_core.plugins.prompts import initial_messages
from actfocus_core.plugins.trl.mirror import RunMirrorCallback
from actfocus_core.plugins.trl.signatures import check_batch, check_settings, check_trl
from actfocus_core.policy import Policy, load_policy, load_tokenizer
from actfocus_core.policy.loading import NAMES, trained_options
from actfocus_core.policy.sampler import CachedSampler
from actfocus_core.rollout import Episode, play_to_end
from actfocus_core.signals import OUR_SIGNALS, SIGNALS, score
from actfocus_core.spans import span_rule
from actfocus_core.trajectory import Trajectory


class ActFocusGRPOTrainer(GRPOTrainer):  # type: ignore[misc]  # TRL has no types
    """TRL's GRPO with token weights.

    ``env``: an ActFocus environment, played turn by turn with ``env_options``; ``train_dataset`` must then come from
    ``boards``. Without it TRL samples, with any dataset, reward function and tools, and the span rule ``spans``
    (``actfocus_core.spans``) finds reasoning and actions in the samples.
    ``scheme_params``: alpha, beta, signal, format_weight. ``reference``: the frozen model, by a name that ``load_policy``
    accepts; by default the initial model, which with adapters is the model without them. Every process holds a full copy.
    ``run``: a run folder to write, which the studio can follow. Other arguments are those of GRPOTrainer.

    Raises ActFocusError for settings under which the weighted loss would not be that of the method, and for a version of
    TRL that the trainer was not written against.
    """

    _played: list[Trajectory] | None

    def __init__(
        self,
        model: Any,
        reward_funcs: Any = None,
        args: GRPOConfig | None = None,
        *,
        env: str | None = None,
        env_options: dict[str, Any] | None = None,
        scheme_params: dict[str, Any] | None = None,
        reference: str | None = None,
        spans: str = "think_answer",
        run: str | None = None,
        **more: Any,
    ):
        check_trl()
        self.params = complete_parameters(scheme_params or {}, (*SIGNALS, *OUR_SIGNALS), "scheme_params")
        check_settings(self.params, args or GRPOConfig(), env)
        name = model if isinstance(model, str) else model.config.name_or_path
        if isinstance(model, str) and model in NAMES:
            model = load_policy(model, "cpu", "float32").model.requires_grad_(True)
        tokenizer = more.pop("processing_class", None) or load_tokenizer(name)
        options = trained_options(name)
        self.env, self.reference, self.starting = env, reference, name
        if env:
            options = {**options, env: {**options.get(env, {}), **(env_options or {})}}
            self.template = make_env(env, **options[env])
            reward_funcs, more["rollout_func"] = reward_funcs or episode_return, self._play
        super().__init__(model, reward_funcs, args, processing_class=tokenizer, **more)
        unwrapped = self.accelerator.unwrap_model(self.model)
        self.policy = Policy(name, unwrapped, tokenizer, options)
        self._converter = Converter(tokenizer, span_rule(spans), name)
        self._frozen: Policy | None = None
        self.mirror: RunMirror | None = None
        if run is not None:
            self.mirror = RunMirror(run, self._run_config(), {"name": name, "fingerprint": self.policy.fingerprint})
            self.add_callback(RunMirrorCallback(self.mirror, self.beta))

    def train(self, *args: Any, **more: Any) -> Any:
        """As ``GRPOTrainer.train``; the run folder records how the training ended."""
        with self.mirror.session() if self.mirror else nullcontext():
            return super().train(*args, **more)

    # --- rollouts ------------------------------------------------------------------------

    def _play(self, prompts: list[Any], trainer: GRPOTrainer) -> dict[str, Any]:
        """TRL's ``rollout_func``: play this process's rollouts. A rollout does not depend on the process that plays it."""
        rollouts_per_prompt = self.num_generations if self.model.training else self.num_generations_eval
        first = self.accelerator.process_index * len(prompts)
        with unwrap_model_for_generation(self.model_wrapped, self.accelerator) as model, torch.no_grad():
            training = model.training
            model.eval()
            self.policy.model = model.get_base_model() if is_peft_model(model) else model
            episodes = []
            for i, row in enumerate(self._rows):
                env = self.template.clone()
                env.reset(int(row["seed"]), (first + i) % rollouts_per_prompt)
                episodes.append(Episode(env, self.policy, self.state.global_step + 1, self.args.seed))
            self._played = played = play_to_end(
                episodes, CachedSampler(self.policy, self.temperature), self.policy.context
            )
            model.train(training)
        starts = [int(np.argmax(t.response_mask)) for t in played]
        return {
            "prompt_ids": [t.token_ids[:s].tolist() for t, s in zip(played, starts)],
            "completion_ids": [t.token_ids[s:].tolist() for t, s in zip(played, starts)],
            "logprobs": None,
            "env_mask": [t.response_mask[s:].astype(int).tolist() for t, s in zip(played, starts)],
            "returned": [t.ret for t in played],
        }

    def _calculate_rewards(
        self,
        inputs: list[dict[str, Any]],
        prompts: list[Any],
        completions: list[Any],
        completion_ids_list: list[list[int]],
    ) -> torch.Tensor:
        rewards: torch.Tensor = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        self._rewards = (rewards * self.reward_weights.to(rewards)).nansum(1).tolist()
        return rewards

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self._rows, self._played = inputs, None
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        check_batch(output)
        mask = output["completion_mask"] * output.get("tool_mask", 1)
        trajectories = self._played or self._read(output, mask)
        if self.params["beta"] and self.params["signal"] not in ("nll", "policy_entropy"):
            self._score(trajectories)
        weights = self.weights(trajectories, mask)
        total = self.accelerator.reduce((weights * mask).sum(dtype=torch.float64), "sum")
        # With alpha 0 and no action token anywhere, all weights are 0.
        factor = weights * (output["num_items_in_batch"] / total if total > 0 else 0.0)
        output["advantages"] = output["advantages"][:, None] * factor.to(output["advantages"])
        if self.mirror and self.model.training:
            gathered = gather_object(trajectories)
            if self.accelerator.is_main_process:
                self.mirror.store(
                    self.state.global_step + 1, gathered, self.params, self._frozen.name if self._frozen else None
                )
        return output

    def weights(self, trajectories: list[Trajectory], mask: torch.Tensor) -> torch.Tensor:
        """float32 [B, C]: the weight w of every completion token where ``mask`` is 1; mu and sigma over all processes."""

        def global_stats(local: SignalStats) -> SignalStats:
            row = torch.tensor(local, dtype=torch.float64, device=mask.device)
            return pooled(SignalStats(*stats) for stats in self.accelerator.gather(row).view(-1, 3).tolist())

        starts = [int(np.argmax(t.response_mask)) for t in trajectories]
        # Tokens that TRL excludes from the loss are not part of the batch.
        trained = [
            np.append(np.zeros(start, bool), row[: len(t) - start])
            for t, start, row in zip(trajectories, starts, mask.cpu().numpy() == 1)
        ]
        weights = torch.zeros(mask.shape)
        for row, w, start in zip(weights, weigh(trajectories, self.params, trained, global_stats), starts):
            row[: len(w) - start] = torch.from_numpy(w[start:])
        return weights.to(mask.device)

    # --- the reference -------------------------------------------------------------------

    def _score(self, trajectories: list[Trajectory]) -> None:
        """Add the signals of the frozen reference model."""
        model = self.accelerator.unwrap_model(self.model)
        adapters = is_peft_model(model) and self.reference is None
        if self._frozen is None:
            if adapters:
                self._frozen = Policy(self.starting, model.get_base_model(), self.policy.tokenizer)
            else:
                kind = str(model.dtype).removeprefix("torch.")
                self._frozen = load_policy(self.reference or self.starting, str(self.accelerator.device), kind)
        training = self._frozen.model.training
        self._frozen.model.eval()
        with model.disable_adapter() if adapters else nullcontext():
            score(trajectories, self._frozen)
        self._frozen.model.train(training)

    # --- rollouts of TRL -----------------------------------------------------------------

    def _read(self, output: dict[str, Any], mask: torch.Tensor) -> list[Trajectory]:
        """TRL's samples as trajectories: kinds found from the ids, one turn per contiguous range of sampled tokens."""
        prompts = [ids[row == 1].tolist() for ids, row in zip(output["prompt_ids"], output["prompt_mask"])]
        not_padding = output["completion_mask"] == 1
        responses, sampled = (
            [row[keep].tolist() for row, keep in zip(rows, not_padding)] for rows in (output["completion_ids"], mask)
        )
        first = self.accelerator.process_index * len(mask)
        trajectories = read_rows(
            prompts,
            responses,
            sampled,
            self._converter,
            self._rewards[first : first + len(mask)],
            [digest(prompt) for prompt in prompts],
            self.state.global_step + 1,
        )
        rollouts_per_prompt = self.num_generations if self.model.training else self.num_generations_eval
        for i, t in enumerate(trajectories):
            # The rollouts of a prompt can be on several processes.
            t.rollout = (first + i) % rollouts_per_prompt
            t.id = f"{t.group}-{t.rollout:02d}"
        return trajectories

    def _run_config(self) -> dict[str, Any]:
        """The settings that reproduce this run, for its run.json."""
        a = self.args
        return {
            "command": "trl",
            "env": self.env or "",
            "env_options": self.policy.env_options.get(self.env or "", {}),
            "model": self.policy.name,
            "algorithm": "grpo",
            "scheme": "actfocus",
            "scheme_params": self.params,
            "seed": a.seed,
            "prompts": a.generation_batch_size // a.num_generations,
            "rollouts": a.num_generations,
            "steps": a.max_steps,
            "lr": a.learning_rate,
            "clip_low": self.epsilon_low,
            "clip_high": self.epsilon_high,
            "temperature": a.temperature,
        }


def boards(env: str, count: int, **options: Any) -> Dataset:
    """The first ``count`` training prompts of an environment: columns ``prompt`` (messages) and ``seed``.

    Raises ActFocusError for an unknown environment or option.
    """
    rows = initial_messages(make_env(env, **options), count)
    return Dataset.from_list([{"prompt": messages, "seed": seed} for seed, messages in rows])


def episode_return(prompts: list[Any], completions: list[Any], returned: list[float], **_: Any) -> list[float]:
    """TRL reward function: the return of the played episode, including penalties."""
    return list(returned)
