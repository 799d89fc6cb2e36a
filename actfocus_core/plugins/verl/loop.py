"""Episodes of our environments inside verl: the prompts they begin with, who plays them, and what a row of the batch tells of one."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict
from typing import Any

import numpy as np
from datasets import Dataset
from verl.experimental.agent_loop.agent_loop import (
    AgentLoopBase,
    AgentLoopMetrics,
    AgentLoopOutput,
    register,
)

from actfocus_core.envs import make_env
from actfocus_core.plugins.prompts import openings
from actfocus_core.policy import Policy
from actfocus_core.policy.sampler import Reply
from actfocus_core.rollout import Episode
from actfocus_core.trajectory import Trajectory, Turn

EPISODE = "actfocus_episode"
"""Where an episode's own record lies among the extra fields of verl's agent loops: JSON."""
FACTS = ("env", "seed", "rollout", "reward", "penalty", "success", "terminated", "truncated")
"""What of a trajectory it holds, beside its turns."""


@register("actfocus")
class EnvironmentLoop(AgentLoopBase):  # type: ignore[misc]  # verl has no types
    """verl's agent loop on one of our environments: token in, token out, the same turns as ``actfocus rollout`` plays."""

    async def run(
        self, sampling_params: dict[str, Any], priority: int = 0, session_id: int = 0, **row: Any
    ) -> AgentLoopOutput:
        """Play one episode. ``extra_info`` of the row, as ``prompts`` gives it: env, options, seed."""
        asked, request = row["extra_info"], uuid.uuid4().hex
        versions: dict[str, Any] = {}
        env = make_env(asked["env"], **asked["options"])
        env.reset(int(asked["seed"]), int(session_id))
        episode = Episode(env, Policy("", None, self.tokenizer), 0, 0)
        context, stop = self.rollout_config.prompt_length + self.rollout_config.response_length, episode.chat.stop_ids()
        while not episode.done:
            made = await self.server_manager.generate(
                request_id=request,
                prompt_ids=list(episode.ids),
                priority=int(priority),
                sampling_params={
                    **sampling_params,
                    "max_tokens": episode.token_budget(context),
                    "stop_token_ids": stop,
                },
            )
            # Which weights played: those of the first turn and those of the last.
            versions = {
                "min_global_steps": made.extra_fields.get("min_global_steps"),
                **versions,
                "max_global_steps": made.extra_fields.get("max_global_steps"),
            }
            ids = list(made.token_ids)
            logprobs = np.array(made.log_probs if made.log_probs else [np.nan] * len(ids), np.float32)
            episode.advance(Reply(ids, logprobs, np.full(len(ids), np.nan, np.float32), ids[-1] in stop), context)
        t = episode.trajectory()
        start = int(np.argmax(t.response_mask))
        known = np.isfinite(t.logprobs[t.response_mask]).all()
        return AgentLoopOutput(
            prompt_ids=t.token_ids[:start].tolist(),
            response_ids=t.token_ids[start:].tolist(),
            response_mask=t.response_mask[start:].astype(int).tolist(),
            response_logprobs=np.nan_to_num(t.logprobs[start:]).tolist() if known else None,
            reward_score=t.ret,
            num_turns=2 * len(t.turn_records),
            metrics=AgentLoopMetrics(),
            extra_fields={"turn_scores": [], "tool_rewards": [], **versions, EPISODE: record_of(t)},
        )


def record_of(t: Trajectory) -> str:
    """An episode's own record, which its row of verl's batch carries along."""
    return json.dumps(
        {**{name: getattr(t, name) for name in FACTS}, "turns": [asdict(turn) for turn in t.turn_records]}
    )


def put_record(t: Trajectory, record: str, step: int) -> None:
    """Make the row that was read the episode it was, at the trainer's ``step``."""
    facts = json.loads(record)
    t.turn_records = [Turn(**turn) for turn in facts.pop("turns")]
    for name, value in facts.items():
        setattr(t, name, value)
    t.group = f"{step:05d}-{t.seed}"
    t.id = f"{t.group}-{t.rollout:02d}"


def prompts(env: str, count: int, file: str, **options: Any) -> None:
    """Write ``count`` prompts of an environment as a Parquet file for verl's ``data.train_files``, from the first training seed on.

    Raises ActFocusError for an unknown environment or option.
    """
    template = make_env(env, **options)
    own: dict[str, Any] = {"env": env, "options": template.options.model_dump(mode="json")}
    Dataset.from_list(
        [
            {
                "prompt": messages,
                "data_source": env,
                "agent_name": "actfocus",
                "reward_model": {"style": "rule", "ground_truth": ""},
                "extra_info": own | {"seed": seed, "index": seed},
            }
            for seed, messages in openings(template, count)
        ]
    ).to_parquet(file)
