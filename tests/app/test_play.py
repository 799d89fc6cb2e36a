"""Playing on from a stored turn: the server's part."""

import pytest
from pydantic import ValidationError

from actfocus_core.envs import ENVS, make_env
from actfocus_core.errors import ActFocusError
from actfocus_core.runs import Run
from actfocus_studio.data.serialize import env_options
from actfocus_studio.pages.trace.play import PlayRequest, play
from tests.app.sample import make_run
from tests.app.server import Api


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
        assert [turn.actions for turn in result.played] == moves
        assert [turn.reward for turn in result.played] == pytest.approx([turn.reward for turn in t.turn_records])
        assert (result.now.terminated, result.now.success) == (t.terminated, t.success)
        last = play(run, t.id, len(moves) - 1, [])
        env = make_env(t.env, **env_options(run))
        env.restore(t.turn_records[-1].state)
        assert last.now.picture == env.svg() and set(last.now.costs) == set(env.legal_actions())


def test_the_oracle_keeps_the_books_of_a_game(run):
    for t in run.trajectories(0)[:3]:
        start = play(run, t.id, 0, []).now
        assert min(start.costs.values()) == pytest.approx(0, abs=1e-9), "something is optimal"
        best = min(start.costs, key=start.costs.get)
        result = play(run, t.id, 0, [[best], ["nonsense"], []])
        total = start.value
        for turn in result.played:
            assert turn.oracle.value == pytest.approx(total, abs=1e-9)
            total += turn.oracle.skill + turn.oracle.luck - turn.reward - turn.penalty
        assert result.now.value == pytest.approx(total, abs=1e-9)


def test_a_game_that_is_over_takes_no_more_moves(run):
    t = run.trajectories(0)[0]
    result = play(run, t.id, 0, [["nonsense"]] * 30)
    assert len(result.played) == make_env(t.env, **env_options(run)).options.max_turns
    assert result.now.truncated and result.now.costs == {}


GOOD = {"run": "x", "trajectory": "y", "turn": 0, "moves": []}
BAD = [
    7,
    None,
    [],
    {"run": "x"},
    GOOD | {"turn": -1},
    GOOD | {"turn": True},
    GOOD | {"turn": 1 << 40},
    GOOD | {"moves": [[1]]},
    GOOD | {"moves": [[]] * 101},
    GOOD | {"moves": [["x" * 401]]},
    GOOD | {"moves": [["x"] * 101]},
    GOOD | {"run": ["x"]},
    GOOD | {"more": 1},
]


@pytest.mark.parametrize("request_", BAD)
def test_a_bad_request_is_refused_before_a_run_is_opened(request_):
    PlayRequest.model_validate(GOOD)
    with pytest.raises(ValidationError):
        PlayRequest.model_validate(request_)


def test_what_cannot_be_played_is_one_clear_line(run, tmp_path):
    t = run.trajectories(0)[0]
    with pytest.raises(ActFocusError, match="no turn 100"):
        play(run, t.id, 99, [])
    told = Api(run.path, folder=tmp_path)("trace/play", run=run.name, trajectory="../../etc", turn=0, moves=[])
    assert "\n" not in told["error"] and "no trajectory" in told["error"]
