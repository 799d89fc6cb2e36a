"""Files that the libraries themselves wrote (``fixtures/make.py``)."""

import numpy as np
import pytest

from actfocus_core.interop import import_run
from actfocus_core.runs import Run
from tests.interop.fixtures import make
from tests.interop.fixtures.rollouts import LOGPROBS, PROMPT_IDS, REPLY_IDS
from tests.interop.fixtures.write import FUNCTIONS


@pytest.fixture
def imported(tmp_path, tokenizer_folder):
    """Import a fixture; returns its config and its trajectories."""

    def imported(name: str, format: str):
        run = Run.open(import_run(make.HERE / name, tmp_path / "run", tokenizer=tokenizer_folder).path)
        assert run.info["config"]["format"] == format
        return run.info["config"], run.trajectories()

    return imported


def test_every_writer_has_a_function_and_files():
    names = {writer.name for writer in make.WRITERS}
    assert names == FUNCTIONS.keys() and len(names) == len(make.WRITERS)
    for name in names:
        files = [path for path in (make.HERE / name).rglob("*") if path.is_file()]
        assert files and all(0 < path.stat().st_size <= make.LARGEST for path in files), name


def test_groups_of_atropos(imported):
    config, found = imported("atropos", "atropos")
    assert "left_out" not in config and [t.reward for t in found] == [1, -1, 0.5, 0.25]
    assert [t.group for t in found] == [found[0].group] * 2 + [found[2].group] * 2
    for t, length in zip(found, (3, 2, 3, 2)):
        assert (
            t.token_ids.tolist() == PROMPT_IDS + REPLY_IDS[:length]
            and t.response_mask.tolist() == [False] * 4 + [True] * length
        )
        assert t.logprobs[4:].tolist() == LOGPROBS[:length] and np.isnan(t.logprobs[:4]).all()
    assert [t.signals.get("advantage", [None])[-1] for t in found] == [None, None, 0.5, -0.5]


def test_runs_of_mini_swe_agent(imported):
    config, found = imported("mini_swe_agent", "swe-agent")
    assert "left_out" not in config and config["approximate"]
    responses, text, tools = found
    assert [t.stop_reason for t in found] == ["Submitted", "LimitsExceeded", "Submitted"]
    assert [(t.terminated, t.truncated, t.error, t.success) for t in found] == [
        (True, False, "", None),
        (False, True, "", None),
        (True, False, "", None),
    ]
    assert [t.columns["submission"] for t in found] == ["", "", "51\n"] and np.isnan([t.reward for t in found]).all()
    assert text.turn_records[0].response == "I run it.\n```mswea_bash_command\necho 17 times 3 is $((17 * 3))\n```"
    for t, command in ((responses, "echo 51"), (tools, "echo 17 times 3 is $((17 * 3))")):
        assert [turn.valid for turn in t.turn_records] == [True, True] and f'"command": "{command}"' in t.turn_records[
            0
        ].response
        assert "51" in t.turn_records[1].observation
    assert (text.model, tools.model) == ("deterministic", "deterministic_toolcall")


def test_completions_of_trl(imported):
    config, found = imported("trl", "trl")
    assert (config["reward_columns"], config["reward_columns_by"]) == (["length"], "advantage")
    assert config["numeric_columns"] == ["length", "unscored", "words"]
    assert (
        [t.reward for t in found] == [0, 1, 2, 3]
        and {t.step for t in found} == {1}
        and len({t.group for t in found}) == 1
    )
    advantages = np.array([t.signals["advantage"][t.response_mask][0] for t in found])
    np.testing.assert_allclose(advantages, np.array([-1.5, -0.5, 0.5, 1.5]) / np.std(range(4), ddof=1), atol=1e-3)
    for t in found:
        (turn,) = t.turn_records
        assert (
            turn.observation.strip().endswith("What is 17 times 3 ?")
            and len(turn.response.split()) == t.columns["words"]
        )


def test_episodes_of_verifiers(imported):
    config, found = imported("verifiers", "verifiers")
    assert config["left_out"] == {"traces of agents that are not trained": 1, "episodes without a trace": 1}
    *solved, failed = found
    assert [(t.rollout, t.segment) for t in found] == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0)]
    for t in solved:
        assert t.reward == 1.5 and t.agent == "solver" and t.env == "arithmetic" and t.step == 4
        assert {name: tuple(part) for name, part in t.rewards.items()} == {"correct": (1, 1), "format": (1, 0.5)}
    assert solved[0].token_ids.tolist() == [*PROMPT_IDS, *REPLY_IDS, 15, 16, *REPLY_IDS]
    assert solved[0].response_mask.tolist() == [False] * 4 + [True] * 3 + [False] * 2 + [True] * 3
    # The first reply is trained once; the first summary is one from which the harness did not go on.
    assert [int(t.loss_mask.sum()) for t in solved] == [6, 0, 3, 3]
    assert all(t.logprobs[t.response_mask].tolist() == LOGPROBS * (2 if t is solved[0] else 1) for t in solved)
    assert np.isnan(failed.reward) and failed.success is None and failed.error == "the sandbox did not start"
    columns = {"split": "train", "policy_start": 3, "policy_end": 4, "turns": 2.0}
    assert {t.group for t in found} == {solved[0].group} and all(t.columns == columns for t in found)


def test_rollouts_of_verl(imported):
    _, found = imported("verl/rollouts", "verl")
    assert [(t.reward, t.rollout, t.segment) for t in found] == [(1, 0, 0), (1, 0, 1), (0, 1, 0)]
    assert {t.group for t in found} == {found[0].group} and {t.step for t in found} == {12}
    assert [t.turn_records[0].response for t in found] == ["It is 51.", "It is 51.", "It is 54."]


def test_a_validation_of_verl(imported):
    _, found = imported("verl/validation", "verl")
    assert [t.success for t in found] == [True, True, False] and {t.columns["split"] for t in found} == {"eval"}
    assert [t.columns.get("pred") for t in found] == ["51", "51", None]


def test_rollouts_of_verls_trainer_before_it(imported):
    """It writes a float of NumPy as text."""
    _, found = imported("verl/before", "verl")
    assert [t.reward for t in found] == [1, 0.75, -0.5] and [t.success for t in found] == [True, True, False]
    assert [t.rewards["overlong_reward"].score for t in found] == [0, -0.25, -0.5]
    assert [t.columns["request_id"] for t in found] == ["r0", "r1", "r2"] and len({t.group for t in found}) == 1


def test_spans_of_opentelemetry(imported):
    config, found = imported("opentelemetry", "otel")
    assert config["left_out"] == {"spans that are no calls of a model": 4} and config["approximate"]
    assert [[turn.response for turn in t.turn_records][1] for t in found] == ["It is 51.", "It is 50."]
    assert len({t.group for t in found}) == 1 and [t.model for t in found] == ["mock"] * 2
    for t in found:
        assert '"name": "multiply"' in t.turn_records[0].response and "17 * 3" in t.turn_records[0].response
        assert "51" in t.turn_records[1].observation and np.isnan(t.reward) and t.success is None
