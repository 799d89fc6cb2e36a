"""Formats of further trainers and benchmarks, with small files as their programs write them."""

import json

import numpy as np
import pytest

from actfocus_core.errors import ActFocusError
from actfocus_core.interop import import_run, recognise
from actfocus_core.trajectory import TokenKind
from tests.interop.files import REPLIES, SECOND, stream
from tests.interop.more_rows import (
    atropos,
    flat,
    nemo_gym,
    nemo_rl,
    prompt_response,
    reply,
    swe_agent,
    tau,
    tau_messages,
)


def test_nemo_rl_has_exact_ids_scores_and_rollouts_out_of_the_loss(imported, tokenizer):
    lines = [json.dumps(nemo_rl(tokenizer, number)) + "\n" for number in range(3)]
    run, found = imported("".join(lines), "train_data_step7.jsonl")
    assert run.info["config"]["format"] == "nemo-rl" and not run.info["config"]["approximate"]
    ids, mask = flat(tokenizer)
    t = found[0]
    assert t.token_ids.tolist() == ids and t.response_mask.tolist() == [bool(m) for m in mask] and t.step == 7
    assert (t.logprobs[t.response_mask] == -0.25).all() and np.isnan(t.logprobs[~t.response_mask]).all()
    assert (t.signals["trainer_logprob"][t.response_mask] == -0.5).all()
    assert [x.reward for x in found] == [0, 1, 2] and len({x.group for x in found}) == 1
    assert [bool(x.loss_mask.any()) for x in found] == [True, True, False]


def test_nemo_gym_as_messages(imported):
    run, (t, other) = imported("".join(json.dumps(nemo_gym(task=task)) + "\n" for task in (0, 1)), "rollouts.jsonl")
    assert run.info["config"]["format"] == "nemo-gym" and run.info["config"]["approximate"]
    assert [turn.response for turn in t.turn_records] == REPLIES and t.turn_records[1].observation.strip() == SECOND
    assert (t.reward, t.env, t.model) == (2.0, "walker", "m") and t.group != other.group


def test_nemo_gym_with_captured_tokens_is_exact_and_a_changed_history_is_a_segment(imported, tokenizer):
    (first, _), (answer, _), (between, _), (second, _) = stream(tokenizer)
    turns = [
        reply("x", prompt_token_ids=first, generation_token_ids=answer, generation_log_probs=[-1.0] * len(answer)),
        reply("y", prompt_token_ids=first + answer + between, generation_token_ids=second),
    ]
    _, (t,) = imported(json.dumps(nemo_gym(turns)), "one.jsonl")
    ids, mask = flat(tokenizer)
    assert t.token_ids.tolist() == ids and t.response_mask.tolist() == [bool(m) for m in mask]
    assert (t.logprobs[len(first) : len(first) + len(answer)] == -1).all()


def test_nemo_gym_turns_whose_history_changed_are_segments(imported, tokenizer):
    (first, _), (answer, _), (between, _), (second, _) = stream(tokenizer)
    turns = [
        reply("x", prompt_token_ids=first, generation_token_ids=answer),
        reply("y", prompt_token_ids=first + answer[-3:] + between, generation_token_ids=second),
    ]
    run, found = imported(json.dumps(nemo_gym(turns)), "one.jsonl")
    assert [(t.segment, t.rollout_id) for t in found] == [(0, found[0].id), (1, found[0].id)]
    assert sum(t.loss_mask.sum() for t in found) == len(answer) + len(second)


def test_atropos_has_a_group_a_line(imported, tokenizer):
    rows = [atropos(tokenizer), atropos(tokenizer)]
    run, found = imported("".join(json.dumps(row) + "\n" for row in rows), "groups.jsonl")
    assert run.info["config"]["format"] == "atropos" and [t.reward for t in found] == [1, -1, 1, -1]
    assert [t.group for t in found[:2]] == [found[0].group] * 2 and found[2].group != found[0].group
    t = found[0]
    assert t.token_ids.tolist() == flat(tokenizer)[0] and (t.logprobs[t.response_mask] == -0.5).all()
    assert np.isnan(t.logprobs[~t.response_mask]).all() and t.signals == {}


def test_tau_bench_groups_by_task(imported):
    rows = [tau(number) for number in range(4)]
    run, found = imported(rows, "results.json")
    assert (run.info["config"]["format"], run.metadata.spans) == ("tau-bench", "tool_call")
    assert [t.reward for t in found] == [0, 1, 0, 1] and [t.success for t in found] == [False, True] * 2
    assert found[0].group == found[1].group != found[2].group and all(turn.valid for turn in found[0].turn_records)
    assert "found 0" not in "".join(t for t, s in zip(found[0].texts, found[0].response_mask) if s)


def test_tau2_is_one_document_or_one_each(imported, tmp_path, tokenizer_folder):
    def simulation(number: int, reason: str, **more) -> dict:
        reward = None if "error" in reason else {"reward": 1.0}
        one = {
            "id": f"s{number}",
            "task_id": "t0",
            "trial": number,
            "termination_reason": reason,
            "reward_info": reward,
        }
        return {**one, "messages": tau_messages(0), **more}

    simulations = [
        simulation(0, "user_stop"),
        simulation(1, "max_steps"),
        simulation(2, "agent_error"),
        simulation(3, "user_stop", messages=None, ticks=[]),
    ]
    run, found = imported({"timestamp": "t", "info": {}, "tasks": [], "simulations": simulations})
    assert [(t.truncated, t.error, t.success) for t in found] == [
        (False, "", True),
        (True, "", True),
        (False, "agent_error", None),
    ]
    assert run.info["config"]["left_out"] == {"simulations without messages (speech)": 1}
    (tmp_path / "simulations").mkdir()
    for number, one in enumerate(simulations[:2]):
        (tmp_path / "simulations" / f"{number}.json").write_text(json.dumps(one))
    assert recognise(tmp_path / "simulations").name == "tau-bench"
    again = import_run(tmp_path / "simulations", tmp_path / "again", tokenizer=tokenizer_folder)
    assert len({t.group for t in again.trajectories()}) == 1 and len(again.index()) == 2


def test_swe_agent_and_mini_swe_agent(imported, tmp_path, tokenizer_folder):
    run, (t,) = imported(swe_agent(), "task.traj")
    assert run.info["config"]["format"] == "swe-agent" and np.isnan(t.reward) and t.success is None
    assert (t.stop_reason, t.truncated, t.terminated) == ("submitted (exit_cost)", True, False)
    assert '"name": "look"' in t.text(TokenKind.ACTION) and "a.py" in t.text(TokenKind.USER)
    mini = {
        "info": {"exit_status": "Submitted", "submission": "diff"},
        "trajectory_format": "mini-swe-agent-1",
        "messages": [{"role": "user", "content": "Fix"}, {"role": "assistant", "content": "```bash\nls\n```"}],
    }
    (tmp_path / "x.traj.json").write_text(json.dumps(mini))
    (t,) = import_run(tmp_path / "x.traj.json", tmp_path / "mini", tokenizer=tokenizer_folder).trajectories()
    assert (t.stop_reason, t.terminated, t.columns) == ("Submitted", True, {"submission": "diff"})


def test_half_a_surrogate_pair_in_any_name_is_one_line(imported):
    with pytest.raises(ActFocusError, match="one.jsonl, line 1: a name or a reason contains half of a surrogate pair"):
        imported(json.dumps({**nemo_gym(), "agent_ref": {"name": "\ud800"}}), "one.jsonl")


def test_prompt_and_response(imported):
    rows = [prompt_response(number) for number in (0, 1)]
    run, found = imported("".join(json.dumps(row) + "\n" for row in rows), "data.jsonl")
    assert run.info["config"]["format"] == "prompt-response" and [t.reward for t in found] == [1, 0]
    assert len({t.group for t in found}) == 1 and {t.step for t in found} == {3}
    (kind,) = run.info["config"]["left_out"]
    assert kind.startswith("scores per token of text") and run.info["config"]["left_out"][kind] == 2
