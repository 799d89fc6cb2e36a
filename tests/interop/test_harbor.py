"""Harbor's trajectories in ATIF, with the results of their trials."""

import json

import numpy as np
import pytest

from actfocus_core.errors import ActFocusError
from actfocus_core.interop import import_run
from actfocus_core.interop.formats.atif import MISSING, NAMED, UNREAD_LOGPROBS, USERS
from actfocus_core.runs import Run
from actfocus_core.trajectory import TokenKind
from tests.interop.rows_logs import atif, turns
from tests.interop.test_traces import check_exact, left_out


@pytest.fixture
def trial(tmp_path, tokenizer_folder, tokenizer):
    """Write a trial's folder, and import it."""

    def trial(trajectories: dict[str, dict], result: dict | str | None = None):
        for name, document in trajectories.items():
            path = tmp_path / "job" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(document, indent=1))
        if result is not None:
            (tmp_path / "job" / "t1" / "result.json").write_text(
                result if isinstance(result, str) else json.dumps(result)
            )
        run = Run.open(import_run(tmp_path / "job", tmp_path / "run", tokenizer=tokenizer_folder).path)
        return run, run.trajectories()

    return trial


RESULT = {"trial_name": "t1__x", "task_name": "fix-it", "source": "bench", "agent_info": {"name": "a", "version": "1"}}


def test_a_trial_of_harbor_with_ids_and_its_reward(trial, tokenizer):
    result = {**RESULT, "verifier_result": {"rewards": {"reward": 1.0, "style": 0.5}}}
    run, (t,) = trial({"t1/agent/trajectory.json": atif(tokenizer, 0)}, result)
    check_exact(t, tokenizer)
    assert (t.reward, t.env, t.model, t.agent) == (1.0, "bench", "m", "terminus-2") and t.group.startswith(
        "00000-fix-it"
    )
    assert t.rewards["reward"] == (1, 1) and t.rewards["style"].score == 0.5 and t.columns["trial_name"] == "t1__x"
    assert not left_out(run)


def test_a_trial_that_failed_or_whose_reward_is_not_valid(trial, tokenizer):
    failure = {"exception_type": "AgentTimeoutError", "exception_message": "too long"}
    result = {
        **RESULT,
        "verifier_result": {"rewards": {"reward": 0.0}},
        "exception_info": failure,
        "reward_valid": False,
    }
    _, (t,) = trial({"t1/agent/trajectory.json": atif(tokenizer, 0)}, result)
    assert (t.error, t.stop_reason, t.truncated) == ("too long", "AgentTimeoutError", True)
    assert np.isnan(t.reward) and t.success is None and not t.rewards


@pytest.mark.parametrize(
    ("result", "told"),
    [
        ({**RESULT, "verifier_result": {"rewards": {"a": 1, "b": 0}}}, "several rewards"),
        ({**RESULT, "verifier_result": {"rewards": {"a": "x"}}}, "cannot be read"),
        ("{", "cannot be read"),
    ],
)
def test_a_result_of_a_trial_that_states_no_reward_is_told(result, told, trial, tokenizer):
    run, (t,) = trial({"t1/agent/trajectory.json": atif(tokenizer, 0)}, result)
    assert np.isnan(t.reward) and any(told in kind for kind in left_out(run))


def test_a_step_of_a_trial_has_its_own_reward(trial, tokenizer):
    steps = [{"step_name": name, "verifier_result": {"rewards": {"reward": r}}} for name, r in (("a", 0.5), ("b", 1.0))]
    files = {f"t1/steps/{name}/agent/trajectory.json": atif(tokenizer, 0) for name in "ab"}
    _, found = trial(files, {**RESULT, "step_results": steps})
    assert [t.reward for t in found] == [0.5, 1.0]


def test_continuations_and_sub_agents_are_contexts_of_the_rollout(trial, tokenizer):
    head, more, inner = (atif(tokenizer, number, exact=False) for number in (0, 1, 0))
    head["continued_trajectory_ref"] = "trajectory.cont-1.json"
    for step in more["steps"][:3]:
        step["is_copied_context"] = True
    head["subagent_trajectories"] = [inner | {"agent": {"name": "helper", "version": "1"}}]
    reference = {"session_id": "s", "trajectory_path": "trajectory.summary-1.json"}
    head["steps"][2]["observation"] = {"results": [{"subagent_trajectory_ref": [reference]}]}
    summary = inner | {"agent": {"name": "summary", "version": "1"}}
    files = {"t1/agent/trajectory.json": head, "t1/agent/trajectory.cont-1.json": more}
    files |= {"t1/agent/trajectory.summary-1.json": summary, "t1/agent/trajectory.other.json": summary}
    run, found = trial(files | {"t1/user-agent/trajectory.json": atif(tokenizer, 0)})
    *contexts, other = sorted(found, key=lambda t: (t.rollout, t.segment))
    assert [t.segment for t in contexts] == [0, 1, 2, 3] and len({t.rollout_id for t in contexts}) == 1
    expected = [("terminus-2", 2), ("helper", 2), ("summary", 2), ("terminus-2", 1)]
    assert [(t.agent, len(t.turn_records)) for t in contexts] == expected
    assert (other.agent, other.segment) == ("summary", 0), "nothing names its file"
    assert left_out(run) == {NAMED: 2, USERS: 1} and np.isnan(found[0].reward)


def test_a_continuation_outside_the_folder_is_not_opened(imported, tokenizer, tmp_path):
    (tmp_path / "secret.json").write_text(json.dumps(atif(tokenizer, 1)))
    row = {**atif(tokenizer, 0), "continued_trajectory_ref": "../secret.json"}
    run, found = imported(row, "agent/trajectory.json")
    assert len(found) == 1 and left_out(run) == {MISSING: 1}


def test_calls_results_and_log_probs_of_a_step(imported, tokenizer):
    row = atif(tokenizer, 0, exact=False)
    reply = turns(tokenizer)[0][1]
    row["steps"][2] |= {
        "tool_calls": [{"tool_call_id": "c", "function_name": "look", "arguments": {"id": 0}}],
        "observation": {"results": [{"source_call_id": "c", "content": "found"}, {"content": "outside"}]},
        "metrics": {"logprobs": [-0.5]},
    }
    # Ids without those of the prompt: the context is encoded again, the reply is exact.
    row["steps"][4]["metrics"] = {
        "completion_token_ids": turns(tokenizer)[1][1],
        "logprobs": [-0.5] * len(turns(tokenizer)[1][1]),
    }
    run, (t,) = imported(row)
    assert '{"name": "look", "arguments": {"id": 0}}' in t.turn_records[0].response and len(reply)
    assert "found" in t.text(TokenKind.USER) and "outside" in t.text(TokenKind.USER)
    scored = ~np.isnan(t.logprobs)
    assert t.token_ids[scored].tolist() == turns(tokenizer)[1][1] and left_out(run) == {UNREAD_LOGPROBS: 1}


def test_a_step_of_an_unknown_source_is_one_line(imported, tokenizer):
    row = atif(tokenizer, 0, exact=False)
    row["steps"][1]["source"] = "judge"
    with pytest.raises(ActFocusError, match="'source' is 'judge'; it must be agent, user or system"):
        imported(row)
