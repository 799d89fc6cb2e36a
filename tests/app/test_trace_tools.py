"""What the server says of a dialogue: its blocks in the browser's units, its contexts, and the credit of its tools."""

from __future__ import annotations

import json

import numpy as np
import pytest

from actfocus_core.credit.weights import SignalStats, token_weights
from actfocus_core.runs import Run
from actfocus_core.signals import signal_values
from actfocus_studio.data.batch_cache import constants
from actfocus_studio.data.catalog import locate
from actfocus_studio.data.serialize import played
from actfocus_studio.data.view import View
from actfocus_studio.pages.trace.dialogue import dialogue_data, segments
from actfocus_studio.pages.trace.tools import calls, tools
from tests.app.tool_run import make_tool_run


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return make_tool_run(tmp_path_factory.mktemp("tools") / "tools")


def test_json_is_told_in_utf16_units(run):
    """A browser counts a character outside of the basic plane as two."""
    t = run.trajectory("00000-a-00")
    wide = "".join(t.texts).encode("utf-16-le")
    found = [
        json.loads(wide[2 * a : 2 * b].decode("utf-16-le"))
        for block in dialogue_data(t).blocks
        for a, b in block.layout
    ]
    assert [sorted(value) for value in found] == [
        ["function", "type"],
        ["arguments", "name"],
        ["orders", "total"],
        ["arguments", "name"],
    ]


def test_the_contexts_of_a_rollout(run):
    assert [(s.id, s.agent) for s in segments(run, "00000-a-01.1")] == [
        ("00000-a-01", "planner"),
        ("00000-a-01.1", "worker"),
    ]
    assert segments(run, "00000-a-00") == []


def test_calls_and_errors_by_tool(run):
    batch = run.trajectories(0)
    told = tools(batch, constants(batch))
    assert [(tool.name, tool.calls, tool.errors, tool.succeeded) for tool in told.tools] == [
        # The call of the shared prefix counts once.
        ("search", 5, 0, 5),
        ("pay", 2, 1, 1),
        ("bad", 1, 0, 0),
    ]


@pytest.mark.parametrize("by_advantage", [False, True])
def test_the_sums_give_the_weight_on_the_calls_of_a_tool(run, by_advantage):
    batch = run.trajectories(0)
    sums = constants(batch)
    told = {tool.name: tool.tokens for tool in tools(batch, sums).tools}
    scope = sums.scopes["energy"]["batch"]
    stats = SignalStats(float(scope.mean[0]), float(scope.std[0]), int(scope.count[0]))
    alpha, beta = 0.3, 0.7
    expected = dict.fromkeys(told, 0.0)
    for t in batch:
        weights = token_weights(t.kinds_in_loss, signal_values(t, "energy"), alpha, beta, stats=stats)
        size = abs(sums.advantages[t.id] or 0.0) if by_advantage else 1.0
        for call in calls(t):
            expected[call.name] += size * float(np.sum(weights[call.start : call.end]))
    for name, tokens in told.items():
        n = {kind: (counts.a1 if by_advantage else counts.n) for kind, counts in tokens.kinds}
        s = tokens.signals["energy"]["batch"]
        mass = alpha * (n["reasoning"] + n["format"]) + n["action"] + beta * (s.a1 if by_advantage else s.s1)
        assert mass == pytest.approx(expected[name], rel=1e-6)


def test_the_next_malformed_rollout_is_one_of_the_list(run):
    place, _ = locate(run, View(trajectory="00000-a-00"))
    assert (place.malformed_previous, place.malformed_next) == (None, "00000-b-00")
    place, _ = locate(run, View(trajectory="00000-b-01"))
    assert (place.malformed_previous, place.malformed_next) == ("00000-b-00", None)
    place, _ = locate(run, View(trajectory="00000-a-00", filter="success"))
    assert place.malformed_next == "00000-b-00"


def test_a_reward_of_the_rollout_alone_is_none_of_its_turns(run):
    t = run.trajectory("00000-a-00")
    assert [turn.reward for turn in played(t, imported=True)] == [None, None, 1.0]
    assert [turn.reward for turn in played(t)] == [0.0, 0.0, 1.0]
    t.turn_records[-1].reward, t.reward = 0.0, float("nan")
    assert [turn.reward for turn in played(t, imported=True)] == [None, None, None]
    t.turn_records[-1].reward, t.reward = 1.0, 1.5
    t.turn_records[0].reward = 0.5
    assert [turn.reward for turn in played(t, imported=True)] == [0.5, 0.0, 1.0]
