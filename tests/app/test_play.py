"""Playing on from a stored turn: the server's part."""

import json

import pytest

from actfocus_core.envs import ENVS, make_env
from actfocus_core.errors import ActFocusError
from actfocus_core.runs import Run
from actfocus_studio.data.serialize import env_options
from actfocus_studio.pages.trace.play import answer, play
from tests.app.sample import make_run


@pytest.fixture(scope="module", params=sorted(ENVS))
def run(request, tmp_path_factory) -> Run:
    options = {"departments": ["fashion"]} if request.param == "webshop" else {}
    return make_run(
        tmp_path_factory.mktemp("play") / request.param, prompts=2, rollouts=2, task=request.param, **options
    )


def test_the_stored_moves_lead_to_the_stored_states(run):
    for t in run.trajectories(0):
        moves = [list(turn.actions) for turn in t.turn_records]
        result = play(run, t.id, 0, moves)
        assert [turn["actions"] for turn in result["played"]] == moves
        assert [turn["reward"] for turn in result["played"]] == pytest.approx([turn.reward for turn in t.turn_records])
        assert (result["now"]["terminated"], result["now"]["success"]) == (t.terminated, t.success)
        last = play(run, t.id, len(moves) - 1, [])
        env = make_env(t.env, **env_options(run))
        env.restore(t.turn_records[-1].state)
        assert last["now"]["picture"] == env.svg() and set(last["now"]["costs"]) == set(env.legal_actions())


def test_the_oracle_keeps_the_books_of_a_game(run):
    for t in run.trajectories(0)[:3]:
        start = play(run, t.id, 0, [])["now"]
        assert min(start["costs"].values()) == pytest.approx(0, abs=1e-9), "something is optimal"
        best = min(start["costs"], key=start["costs"].get)
        result = play(run, t.id, 0, [[best], ["nonsense"], []])
        total = start["value"]
        for turn in result["played"]:
            assert turn["oracle"]["value"] == pytest.approx(total, abs=1e-9)
            total += turn["oracle"]["skill"] + turn["oracle"]["luck"] - turn["reward"] - turn["penalty"]
        assert result["now"]["value"] == pytest.approx(total, abs=1e-9)


def test_a_game_that_is_over_takes_no_more_moves(run):
    t = run.trajectories(0)[0]
    result = play(run, t.id, 0, [["nonsense"]] * 30)
    assert len(result["played"]) == make_env(t.env, **env_options(run)).options.max_turns
    assert result["now"]["truncated"] and result["now"]["costs"] == {}


BAD = [
    "",
    "[]",
    "null",
    "{",
    json.dumps({"run": "x"}),
    "9" * 30_000,
    7,
    None,
    json.dumps({"run": "x", "trajectory": "y", "turn": -1, "moves": [], "number": 1}),
    json.dumps({"run": "x", "trajectory": "y", "turn": True, "moves": [], "number": 1}),
    json.dumps({"run": "x", "trajectory": "y", "turn": 0, "moves": [[1]], "number": 1}),
    json.dumps({"run": "x", "trajectory": "y", "turn": 0, "moves": [[]] * 101, "number": 1}),
    json.dumps({"run": ["x"], "trajectory": "y", "turn": 0, "moves": [], "number": 1}),
    "[" * 5000,
]


@pytest.mark.parametrize("text", BAD)
def test_a_bad_request_opens_nothing(text):
    def forbidden(_):
        raise AssertionError("a run was opened")

    assert "error" in json.loads(answer(forbidden, text))


def test_what_cannot_be_played_is_one_clear_line(run, tmp_path):
    t = run.trajectories(0)[0]
    with pytest.raises(ActFocusError, match="no turn 100"):
        play(run, t.id, 99, [])
    request = {"run": "r", "trajectory": "../../etc", "turn": 0, "moves": [], "number": 5}
    got = json.loads(answer(lambda _: run, json.dumps(request)))
    assert got["number"] == 5 and "\n" not in got["error"] and "no trajectory" in got["error"]
