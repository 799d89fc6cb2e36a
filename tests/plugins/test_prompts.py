"""What another trainer's rows begin with is what our own rollouts begin with."""

import pytest

from actfocus_core.envs import make_env
from actfocus_core.plugins.prompts import initial_messages
from actfocus_core.rollout import collect


@pytest.mark.parametrize("env", ["frozen_lake", "sokoban"])
def test_a_prompt_opens_as_an_episode_does(policy, env):
    played = collect(policy, env, prompts=3, rollouts=1, env_options={"max_turns": 1, "response_tokens": 16})
    rows = list(initial_messages(make_env(env, max_turns=1, response_tokens=16), 3))
    assert [seed for seed, _ in rows] == [t.seed for t in played] and len({str(messages) for _, messages in rows}) == 3
    for t, (_, messages) in zip(played, rows):
        asked = policy.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        assert [message["role"] for message in messages] == ["system", "user"] and "".join(t.texts).startswith(asked)
