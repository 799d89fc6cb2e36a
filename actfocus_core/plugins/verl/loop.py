"""Episodes of ActFocus environments in verl: the prompts, the agent loop that plays them, and their records in the batch."""

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
from actfocus_core.plugins.prompts import initial_messages
from actfocus_core.policy import Policy
from actfocus_core.policy.sampler import Reply
from actfocus_core.rollout import Episode
from actfocus_core.trajectory import Trajectory, Turn

EPISODE = "actfocus_episode"
"""Key of an episode's record (JSON) in the extra fields of verl's agent loops."""
FACTS = ("env", "seed", "rollout", "reward", "penalty", "success", "terminated", "truncated")
"""Fields of a trajectory in the record, besides its turns."""


@register("actfocus")
class EnvironmentLoop(AgentLoopBase):  # type: ignore[misc]  # verl has no types
    """verl's agent loop for an ActFocus environment: token in, token out, with the same turns as ``actfocus rollout``."""

    async def run(
        self, sampling_params: dict[str, Any], priority: int = 0, session_id: int = 0, **row: Any
    ) -> AgentLoopOutput:
        """Play one episode. ``row["extra_info"]``: env, options and seed, as written by ``prompts``."""
        info, request_id = row["extra_info"], uuid.uuid4().hex
        versions: dict[str, Any] = {}
        env = make_env(info["env"], **info["options"])
        env.reset(int(info["seed"]), int(session_id))
        episode = Episode(env, Policy("", None, self.tokenizer), 0, 0)
        context, stop = self.rollout_config.prompt_length + self.rollout_config.response_length, episode.chat.stop_ids()
        while not episode.done:
            output = await self.server_manager.generate(
                request_id=request_id,
                prompt_ids=list(episode.ids),
                priority=int(priority),
                sampling_params={
                    **sampling_params,
                    "max_tokens": episode.token_budget(context),
                    "stop_token_ids": stop,
                },
            )
            # The weights' versions at the first and at the last turn.
            versions = {
                "min_global_steps": output.extra_fields.get("min_global_steps"),
                **versions,
                "max_global_steps": output.extra_fields.get("max_global_steps"),
            }
            ids = list(output.token_ids)
            logprobs = np.array(output.log_probs if output.log_probs else [np.nan] * len(ids), np.float32)
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
    """An episode's record as JSON, which its row of verl's batch carries."""
    return json.dumps(
        {**{name: getattr(t, name) for name in FACTS}, "turns": [asdict(turn) for turn in t.turn_records]}
    )


def put_record(t: Trajectory, record: str, step: int) -> None:
    """Restore the episode's turns and fields from its record, and set group and id for the trainer's ``step``."""
    facts = json.loads(record)
    t.turn_records = [Turn(**turn) for turn in facts.pop("turns")]
    for name, value in facts.items():
        setattr(t, name, value)
    t.group = f"{step:05d}-{t.seed}"
    t.id = f"{t.group}-{t.rollout:02d}"


def prompts(env: str, count: int, file: str, **options: Any) -> None:
    """Write the first ``count`` training prompts of an environment to a Parquet file for verl's ``data.train_files``.

    Raises ActFocusError for an unknown environment or option.
    """
    template = make_env(env, **options)
    env_info: dict[str, Any] = {"env": env, "options": template.options.model_dump(mode="json")}
    Dataset.from_list(
        [
            {
                "prompt": messages,
                "data_source": env,
                "agent_name": "actfocus",
                "reward_model": {"style": "rule", "ground_truth": ""},
                "extra_info": env_info | {"seed": seed, "index": seed},
            }
            for seed, messages in initial_messages(template, count)
        ]
    ).to_parquet(file)
