"""The truth of stored turns: recomputed by hand, stored and read back, broken, and from the command line."""

import json
import math
import re
import shutil
from itertools import product

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from actfocus_core.analysis.scoreboard import Truth
from actfocus_core.cli import app
from actfocus_core.cli.oracle import _show
from actfocus_core.counterfactual.branch import branch
from actfocus_core.credit import SCHEMES, Batch, get_scheme
from actfocus_core.envs import make_env
from actfocus_core.errors import ActFocusError
from actfocus_core.oracle import get_oracle
from actfocus_core.oracle import stored as stored_truth
from actfocus_core.oracle.policy import position_values
from actfocus_core.oracle.turns import restore_turn
from actfocus_core.oracle.values import UNSOLVED, add_answers, add_optimal, add_policy, solutions
from actfocus_core.rollout import collect
from actfocus_core.runs import ANNOTATIONS, Run
from actfocus_core.signals import score
from actfocus_core.trajectory import Trajectory, Turn

K = 3
MOVES = {"Left": (0, -1), "Down": (1, 0), "Right": (0, 1), "Up": (-1, 0)}
NAMES = list(MOVES)


def copies(trajectories):
    return [Trajectory(**{**vars(t), "signals": dict(t.signals)}) for t in trajectories]


def of_turn(t, k, name):
    values = t.signals[name][(t.turns == k) & t.response_mask]
    assert len(set(values.tolist())) == 1, "one value on all response tokens of a turn"
    return float(values[0])


@pytest.fixture(scope="module")
def options(tiny):
    return {
        slippery: make_env(
            "frozen_lake", **{**tiny.env_options["frozen_lake"], "slippery": slippery}
        ).options.model_dump(mode="json")
        for slippery in (True, False)
    }


@pytest.fixture(scope="module")
def slippery(tiny, options):
    return collect(tiny, "frozen_lake", prompts=3, rollouts=2, env_options=options[True])


@pytest.fixture(scope="module")
def dry(tiny, options):
    """Rollouts of the deterministic lake with everything the oracle and the reference add."""
    ts = score(collect(tiny, "frozen_lake", prompts=3, rollouts=2, env_options=options[False]), tiny)
    add_optimal(ts, options[False])
    add_policy(ts, tiny, K, env_options=options[False])
    add_answers(ts, tiny, env_options=options[False])
    return ts


@pytest.fixture(scope="module")
def stored(dry, tiny, options, tmp_path_factory):
    """A run of them, with all annotations."""
    run = Run.create(
        tmp_path_factory.mktemp("oracle") / "run",
        {"env": "frozen_lake", "env_options": options[False], "policy": "tiny", "temperature": 1.0},
        {"name": "tiny", "fingerprint": tiny.fingerprint},
    )
    run.add_trajectories(0, [Trajectory(**{**vars(t), "signals": {"entropy": t.signals["entropy"]}}) for t in dry])
    run.annotate(0, "tiny", dry)
    for name in ANNOTATIONS:
        run.annotate(0, name, dry, {"rollouts": K, "policy": "tiny", "fingerprint": tiny.fingerprint})
    return run


class Lake:
    """A lake written anew: values by plain recursion over cells, turns and actions, slips included."""

    def __init__(self, state, options):
        self.ice, self.goal, self.size = state["ice"], tuple(state["goal"]), len(state["ice"])
        self.o, self.known = options, {}

    def ways(self, cell, action):
        side = (1 - self.o["success_rate"]) / 2 if self.o["slippery"] else 0.0
        turned = [(NAMES.index(action) + d) % 4 for d in (0, -1, 1)]
        for p, i in zip((1 - 2 * side, side, side), turned):
            r, c = cell[0] + MOVES[NAMES[i]][0], cell[1] + MOVES[NAMES[i]][1]
            yield p, (r, c) if 0 <= r < self.size and 0 <= c < self.size else cell

    def turn(self, cell, turn, left, answer, value):
        """Q of an answer, given what the states after it are worth."""
        kept = list(answer[: self.o["actions_per_turn"]])
        penalty = self.o["format_penalty"] if not kept or any(a not in MOVES for a in kept) else 0.0
        return penalty + self.walk(cell, turn, left, [a for a in kept if a in MOVES], value)

    def walk(self, cell, turn, left, actions, value):
        if not actions or not left:
            return value(cell, turn + 1, left) if left and turn + 1 < self.o["max_turns"] else 0.0
        total = 0.0
        for p, there in self.ways(cell, actions[0]):
            if there == self.goal:
                total += p
            elif self.ice[there[0]][there[1]]:
                total += p * self.walk(there, turn, left - 1, actions[1:], value)
        return total

    def v(self, key, choose):
        if key not in self.known:
            self.known[key] = choose(*key)
        return self.known[key]


def here(turn):
    return tuple(turn.state["player"]), turn.state["turn"], turn.state["actions_left"]


def given(t, k):
    """The actions of a reply <think>...</think><answer>...</answer>; none of any other."""
    found = re.match(r".*?<think>.*?</think>\s*<answer>(.*?)</answer>", t.turn_records[k].response, re.DOTALL)
    return [a.strip() for a in found[1].split("||") if a.strip()] if found else []


# --- values by hand --------------------------------------------------------------------------


def table(env):
    """Some policy that looks where it is, and now and then errs."""
    ahead = "Down" if env.player[0] < env.goal[0] else "Right"
    return {(ahead,): 0.4, ("Left", ahead): 0.25, ("Up", "Right"): 0.2, ("jump",): 0.1, (): 0.05}


@pytest.mark.parametrize("is_slippery", [True, False])
def test_a_known_policys_advantage_is_that_of_brute_force(slippery, dry, options, is_slippery):
    ts, o, advantages = copies(slippery if is_slippery else dry), options[is_slippery], set()
    add_policy(ts, table, env_options=o)
    for t in ts:
        lake = Lake(t.turn_records[0].state, o)

        def value(cell, turn, left, lake=lake):
            ahead = "Down" if cell[0] < lake.goal[0] else "Right"
            chances = [(0.4, [ahead]), (0.25, ["Left", ahead]), (0.2, ["Up", "Right"]), (0.1, ["jump"]), (0.05, [])]
            return lake.v((cell, turn, left), lambda *place: sum(p * lake.turn(*place, a, value) for p, a in chances))

        for k, turn in enumerate(t.turn_records):
            v, q = value(*here(turn)), lake.turn(*here(turn), given(t, k), value)
            assert of_turn(t, k, "policy_v") == pytest.approx(v, abs=1e-6)
            assert of_turn(t, k, "policy_q") == pytest.approx(q, abs=1e-6)
            assert of_turn(t, k, "policy_q_n") == 0 == of_turn(t, k, "policy_v_half")
            advantages.add(round(q - v, 4))
    truth = Truth.of(Batch.of(ts))
    assert len(advantages) > 4 and truth.exact and truth.noise_floor == 0


@pytest.mark.parametrize("is_slippery", [True, False])
def test_perfect_play_and_criticality_are_those_of_brute_force(slippery, dry, options, is_slippery):
    ts, o, critical = copies(slippery if is_slippery else dry), options[is_slippery], set()
    add_optimal(ts, o)
    every = [list(a) for n in range(1, o["actions_per_turn"] + 1) for a in product(NAMES, repeat=n)]
    for t in ts:
        lake = Lake(t.turn_records[0].state, o)

        def value(cell, turn, left, lake=lake):
            return lake.v((cell, turn, left), lambda *place: max(lake.turn(*place, a, value) for a in every))

        for k, turn in enumerate(t.turn_records):
            at = here(turn)
            firsts = [max(lake.turn(*at, a, value) for a in every if a[0] == name) for name in NAMES]
            assert of_turn(t, k, "oracle_v") == pytest.approx(value(*at), abs=1e-6)
            assert of_turn(t, k, "oracle_q") == pytest.approx(lake.turn(*at, given(t, k), value), abs=1e-6)
            assert of_turn(t, k, "criticality") == pytest.approx(np.std(firsts), abs=1e-6)
            critical.add(round(float(np.std(firsts)), 4))
    assert len(critical) > (3 if is_slippery else 1)


def test_where_nothing_is_left_to_chance_q_is_reward_plus_the_next_value(dry):
    for t in dry:
        last = len(t.turn_records) - 1
        for k, turn in enumerate(t.turn_records):
            got = turn.reward + turn.penalty
            for end in ("", "_replica"):
                after = of_turn(t, k + 1, f"policy_v{end}") if k < last else 0.0
                assert of_turn(t, k, f"policy_q{end}") == pytest.approx(got + after, abs=1e-6)
            assert of_turn(t, k, "policy_v_n") == K and of_turn(t, k, "policy_q_n") == (K if k < last else 0)
        assert np.isnan(t.signals["policy_v"][~t.response_mask]).all()
    first = {}
    for t in dry:
        first.setdefault(t.group, set()).add(of_turn(t, 0, "policy_v"))
    assert all(len(values) == 1 for values in first.values()), "a group begins alike: one value"


def test_the_models_values_are_those_of_other_rollouts(tiny, slippery, options, tmp_path):
    """V and Q of a turn against the branches of the stored trajectory, rollouts of another seed."""
    o, n = options[True], 20
    t = next(t for t in slippery if len(t.turn_records) > 2 and t.turn_records[-2].valid)
    k = len(t.turn_records) - 2
    run = Run.create(tmp_path / "run", {"env": "frozen_lake", "env_options": o})
    run.add_trajectories(0, slippery)
    said = " || ".join(t.turn_records[k].actions)
    v, q = position_values([(t, k, False), (t, k, True)], tiny, n, env_options=o)
    for one, action in ((v, None), (q, said)):
        others = np.array([b.ret for b in branch(run, t.id, tiny, k, rollouts=n, action=action, seed=9).trajectories])
        others -= sum(r.reward + r.penalty for r in t.turn_records[:k])
        spread = max(others.std(ddof=1), 0.2)
        assert abs(others.mean() - (one.value + one.replica) / 2) < 3.5 * spread * math.sqrt(1 / n + 1 / (2 * n))
        assert one.n == n and one.low <= one.value <= one.high


def test_values_do_not_depend_on_what_else_is_asked(tiny, slippery, options):
    asked = [(t, 0, given) for t in slippery[:2] for given in (False, True)]
    together = position_values(asked, tiny, 2, env_options=options[True])
    assert together[2] == position_values(asked[2:3], tiny, 2, env_options=options[True])[0]
    turnless = Trajectory(**{**vars(slippery[0]), "kinds": np.where(slippery[0].response_mask, 2, slippery[0].kinds)})
    with pytest.raises(ActFocusError, match="no sampled tokens"):
        position_values([(turnless, 0, False)], tiny, 2, env_options=options[True])


def test_log_probs_of_the_solution_are_the_models_own(dry, tiny, options):
    t = max(dry, key=lambda t: len(t.turn_records))
    env = make_env("frozen_lake", **options[False])
    for k in range(len(t.turn_records)):
        best = -math.inf
        for actions in solutions(restore_turn(env, t, k)):
            first = int(np.flatnonzero((t.turns == k) & t.response_mask)[0])
            before = "<think></think><answer>"
            whole = tiny.tokenizer(
                before + " || ".join(actions) + "</answer>", add_special_tokens=False, return_offsets_mapping=True
            )
            ids = torch.tensor([*t.token_ids[:first].tolist(), *whole["input_ids"]])[None]
            logp = tiny.model(input_ids=ids).logits[0].log_softmax(-1)
            stop = len(before) + len(" || ".join(actions))
            own = [first + i for i, (a, _) in enumerate(whole["offset_mapping"]) if len(before) <= a < stop]
            best = max(best, float(np.mean([float(logp[i - 1, ids[0, i]]) for i in own])))
        assert of_turn(t, k, "answer_logprob_before") == pytest.approx(best, abs=1e-4)
        if k:
            assert of_turn(t, k - 1, "answer_logprob_after") == of_turn(t, k, "answer_logprob_before")
    ends = {t.success: of_turn(t, len(t.turn_records) - 1, "answer_logprob_after") for t in dry}
    assert ends == {True: 0.0, False: UNSOLVED}


@pytest.mark.parametrize(
    ("name", "more"),
    [("frozen_lake", {}), ("sokoban", {}), ("sudoku", {"blanks": 4}), ("webshop", {"departments": ["fashion"]})],
)
def test_solutions_are_optimal_and_no_longer_than_need_be(name, more):
    env = make_env(name, **more)
    for seed in range(3):
        env.reset(seed)
        oracle, found = get_oracle(env), solutions(env)
        assert 1 <= len(found) <= 4 and len(set(found)) == len(found)
        for turn in found:
            assert oracle.turn_value(env, turn) == pytest.approx(oracle.value(env), abs=1e-9)
            for n in range(1, len(turn)):
                assert oracle.turn_value(env, turn[:n]) < oracle.value(env) - 1e-9


# --- in the run ------------------------------------------------------------------------------


def test_every_scheme_gives_the_same_credit_on_the_stored_run(dry, stored):
    opened = Run.open(stored.path)
    assert opened.references() == ["tiny"] and opened.annotations(0) == sorted(ANNOTATIONS)
    read = opened.trajectories(0)
    mine, theirs = Batch.of(dry), Batch.of(read)
    computed = []
    for name in SCHEMES:
        a, b = get_scheme(name).compute(mine), get_scheme(name).compute(theirs)
        assert a.missing == b.missing
        np.testing.assert_array_equal(a.effective(), b.effective())
        computed += [] if a.missing else [name]
    assert {"oracle", "oracle_optimal", "vineppo", "carl", "a2tgpo"} <= set(computed)
    for signals in ("policy", "oracle"):
        for x, y in zip(vars(Truth.of(mine, signals)).values(), vars(Truth.of(theirs, signals)).values()):
            np.testing.assert_array_equal(x, y)
    alone, streamed = opened.trajectory(dry[-1].id), list(opened.stream())
    for t, others in zip([dry[-1], *dry], [[alone, read[-1]], *([s] for s in streamed)]):
        for other in others:
            assert other.signals.keys() == t.signals.keys()
            for name in t.signals:
                np.testing.assert_array_equal(other.signals[name], t.signals[name])
    assert opened.made(0, "oracle-policy")["rollouts"] == K


def test_annotations_leave_facts_alone_and_are_whole(dry, stored, tmp_path):
    facts = stored.path / "trajectories" / "step-00000.parquet"
    before = facts.read_bytes()
    stored.annotate(0, "oracle-optimal", dry[::-1], {"exact": True})
    assert facts.read_bytes() == before and stored.made(0, "oracle-optimal") == {"exact": True}
    assert sorted(p.name for p in (stored.path / "signals").iterdir()) == sorted(
        f"step-00000.{name}.parquet" for name in (*ANNOTATIONS, "tiny")
    )
    bare = [Trajectory(**{**vars(t), "signals": {}}) for t in dry]
    for name in ("oracle-policy", "oracle policy"):
        with pytest.raises(ActFocusError, match="has no policy_q, which oracle-policy holds"):
            stored.annotate(0, name, bare)
    with pytest.raises(ActFocusError, match="covers all 6"):
        stored.annotate(0, "oracle-optimal", dry[:2])


def doctor(file, change):
    table = pq.read_table(file)
    pq.write_table(change(table), file)


def column(table, name, values):
    return table.set_column(table.column_names.index(name), name, values)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.drop_columns(["signal:policy_v"]), "no column 'signal:policy_v'.*oracle --again"),
        (lambda t: t.drop_columns(["id"]), "no column 'id'"),
        (
            lambda t: column(t, "id", pa.array([f"x{i}" for i in range(len(t))])),
            "is not annotated here.*oracle --again",
        ),
        (lambda t: t.slice(0, 3), "is not annotated here|has 3 rows"),
        (
            lambda t: column(t, "signal:policy_q", pa.array([[1.0]] * len(t), pa.list_(pa.float32()))),
            "policy_q of .* has 1 values for",
        ),
        (
            lambda t: column(t, "signal:policy_q", pa.array(["much"] * len(t))),
            "'signal:policy_q' is string; a signal is a list of float",
        ),
        (
            lambda t: t.append_column("signal:entropy", t["signal:policy_q"]),
            "holds 'entropy', which is no part of oracle-policy",
        ),
        (None, "not readable as Parquet"),
    ],
)
def test_a_broken_annotation_is_one_clear_line(stored, tmp_path, change, says):
    path = shutil.copytree(stored.path, tmp_path / "run")
    file = path / "signals" / "step-00000.oracle-policy.parquet"
    doctor(file, change) if change else file.write_bytes(b"PAR1 and no more")
    run, last = Run.open(path), stored.index()["id"].iloc[-1]
    for read in (run.trajectories, lambda: list(run.stream()), lambda: run.trajectory(last)):
        with pytest.raises(ActFocusError, match=says) as error:
            read()
        assert "\n" not in str(error.value) and str(file) in str(error.value)


def test_how_it_was_made_must_be_json(stored, tmp_path):
    path = shutil.copytree(stored.path, tmp_path / "run")
    doctor(
        path / "signals" / "step-00000.oracle-policy.parquet", lambda t: t.replace_schema_metadata({b"actfocus": b"[1"})
    )
    with pytest.raises(ActFocusError, match="not readable JSON"):
        Run.open(path).made(0, "oracle-policy")


def test_other_rules_than_those_played_are_noticed(slippery, options):
    with pytest.raises(ActFocusError, match="leads elsewhere"):
        add_optimal(copies(slippery), {**options[True], "success_rate": 0.1})
    t = copies(slippery)[0]
    t.turn_records = [Turn(**{**vars(r), "state": {}}) for r in t.turn_records]
    for add in (lambda: add_optimal([t], options[True]), lambda: add_policy([t], table, env_options=options[True])):
        with pytest.raises(ActFocusError, match="without a state"):
            add()


# --- the command -----------------------------------------------------------------------------


def actfocus(capsys, *arguments):
    app([*map(str, arguments)], standalone_mode=False)
    return capsys.readouterr()


@pytest.fixture
def bare(stored, tmp_path):
    """The run without its oracle's annotations."""
    path = shutil.copytree(stored.path, tmp_path / "bare")
    for name in ANNOTATIONS:
        (path / "signals" / f"step-00000.{name}.parquet").unlink()
    return path


def test_the_command_makes_stores_and_scores(bare, dry, capsys):
    command = ("oracle", bare, "--rollouts", K, "--answers", "--bootstrap", 10)
    said = actfocus(capsys, *command, "--progress", "jsonl", "--json")
    [step] = json.loads(said.out)["steps"]
    assert {"optimum 0", "policy 0", "answers 0", "score 0"} <= {
        json.loads(line)["phase"] for line in said.err.splitlines()
    }
    assert step["policy"]["rollouts"] == K and set(step["unscored"]) == {"ppo_gae", "turn_gae"}
    for t, mine in zip(Run.open(bare).trajectories(0), dry):
        for names in ANNOTATIONS.values():
            for name in names:
                np.testing.assert_allclose(t.signals[name], mine.signals[name], atol=1e-5)
    for board in step["boards"].values():
        rows = {row["name"]: row["scores"] for row in board["rows"]}
        assert {*SCHEMES, "shuffle:actfocus", "random:oracle", "reversed:a2tgpo"} - {"ppo_gae", "turn_gae"} <= set(rows)
        assert rows["uniform"]["where_advantage_tau"] == {
            "value": None,
            "low": None,
            "high": None,
            "n": 0,
            "why": "no ranking",
        }
        assert board["ceiling"]["scores"].keys() == rows["oracle"].keys()
    exact = {row["name"]: row["scores"] for row in step["boards"]["optimal"]["rows"]}
    assert exact["oracle_optimal"]["where_advantage"]["value"] == pytest.approx(1)
    # Again: nothing is made, the numbers are the same; as a table too.
    stamps = {p: p.stat().st_mtime_ns for p in (bare / "signals").iterdir()}
    [again] = json.loads(actfocus(capsys, *command, "--json", "--progress", "none").out)["steps"]
    assert again == step and stamps == {p: p.stat().st_mtime_ns for p in stamps}
    _show(json.loads(json.dumps(step)))
    text = capsys.readouterr().out
    assert (
        "Where:" in text
        and "Right:" in text
        and "no ranking" in text
        and "ceiling" in text
        and "unavailable: ppo_gae" in text
    )
    with pytest.raises(ActFocusError, match=f"values of {K} rollouts, not of 7; --again"):
        actfocus(capsys, "oracle", bare, "--rollouts", 7)


def test_without_the_policy_no_model_is_asked_for(bare, capsys):
    info = json.loads((bare / "run.json").read_text())
    info["config"]["policy"], info["model"] = "no-such-model", {}
    (bare / "run.json").write_text(json.dumps(info))
    printed = json.loads(actfocus(capsys, "oracle", bare, "--no-policy", "--bootstrap", 10, "--all", "--json").out)
    assert (
        list(printed["steps"][0]["boards"]) == ["optimal"] and "policy_v" in printed["steps"][0]["unscored"]["vineppo"]
    )
    assert Run.open(bare).annotations(0) == ["oracle-optimal"]
    with pytest.raises(ActFocusError, match="no such policy"):
        actfocus(capsys, "oracle", bare)


def test_weights_that_did_not_sample_the_run_are_refused(bare, tiny, capsys, tmp_path):
    info = json.loads((bare / "run.json").read_text())
    info["model"]["fingerprint"] = "0123456789abcdef"
    (bare / "run.json").write_text(json.dumps(info))
    with pytest.raises(ActFocusError, match=f"fingerprint 0123456789abcdef; tiny is now {tiny.fingerprint}"):
        actfocus(capsys, "oracle", bare)
    run = Run.open(bare)
    run.info = {
        "config": {"command": "train", "model": "tiny", "env": "frozen_lake", "env_options": {"max_turns": 4}},
        "model": {"fingerprint": tiny.fingerprint},
    }
    own = stored_truth.env_options(run)
    assert own["max_turns"] == 4 and own["observation"] == "compact", (
        "training stores what differs from the model's options"
    )
    stored_truth.require_unchanged_policy(run, 1, tiny)
    with pytest.raises(ActFocusError, match="step 3 was sampled by weights that differ from tiny by 2 training steps"):
        stored_truth.require_unchanged_policy(run, 3, tiny)
    # Named outright it is taken at its log-probs: the embedded policy's own fit, others do not.
    noisy = tmp_path / "noisy"
    tiny.model.save_pretrained(noisy)
    tiny.tokenizer.save_pretrained(noisy)
    from safetensors.torch import load_file, save_file

    weights = load_file(noisy / "model.safetensors")
    torch.manual_seed(0)
    save_file(
        {k: v + 0.05 * torch.randn_like(v) for k, v in weights.items()}, noisy / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(ActFocusError, match="step 0 was not sampled by .*noisy: its log-probs differ by"):
        actfocus(capsys, "oracle", bare, "--policy", noisy)
    assert Run.open(bare).annotations(0) == ["oracle-optimal"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--step", "3"], "no trajectories of step 3"),
        (["--step", "0", "--all"], "give one of them"),
        (["--reference", "other"], "no signals of 'other'"),
        (["--policy", "no-such"], "no such policy"),
    ],
)
def test_bad_options_of_the_command(bare, capsys, arguments, says):
    with pytest.raises(ActFocusError, match=says) as error:
        actfocus(capsys, "oracle", bare, *arguments)
    assert "\n" not in str(error.value)


def test_a_run_of_another_trainer_is_refused_in_one_line(bare, capsys):
    info = json.loads((bare / "run.json").read_text())
    del info["config"]["env_options"]
    (bare / "run.json").write_text(json.dumps(info))
    with pytest.raises(ActFocusError, match="does not state its environment"):
        actfocus(capsys, "oracle", bare)
