"""Each check finds what it is for and nothing in healthy rollouts."""

import dataclasses
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actfocus_core.analysis.validate import diagnose
from actfocus_core.runs import Run
from actfocus_core.trajectory import TokenKind
from tests.core.test_cli import actfocus


def run_of(tmp_path, trajectories) -> Run:
    run = Run.create(tmp_path / "r", {})
    run.add_trajectories(0, trajectories)
    return run


def found(report) -> dict:
    return {f.check: f for f in report.findings}


def changed(rollouts, **how) -> list:
    """Copies of the rollouts; the first with other fields."""
    copies = [
        dataclasses.replace(
            t,
            **{n: np.array(getattr(t, n)) for n in ("token_ids", "kinds", "turns", "logprobs")},
            texts=list(t.texts),
            turn_records=[dataclasses.replace(r) for r in t.turn_records],
            signals={n: np.array(v) for n, v in t.signals.items()},
        )
        for t in rollouts
    ]
    for name, value in how.items():
        setattr(copies[0], name, value(copies[0]) if callable(value) else value)
    return copies


def test_healthy_rollouts_have_no_error(run, tiny, rollouts):
    report = diagnose(run, tokenizer=tiny.tokenizer, reference=tiny)
    assert report.healthy and report.trajectories == len(rollouts) and report.tokens == sum(map(len, rollouts))
    assert set(found(report)) <= {"duplicate", "zero-spread", "drift", "no-action", "truncated-answer"}


def _edit(name, where, value):
    """Set one array of a trajectory at the first token that ``where`` holds for."""

    def edit(t):
        array = np.array(getattr(t, name))
        array[np.flatnonzero(where(t))[0]] = value
        return array

    return edit


def _one_text(t):
    texts = list(t.texts)
    texts[np.flatnonzero(t.kinds == TokenKind.USER)[0]] += "!"
    return texts


SICK = {
    "template-in-loss": dict(kinds=lambda t: np.where(np.arange(len(t)) < 3, TokenKind.FORMAT, t.kinds)),
    "kinds-mask": dict(logprobs=lambda t: np.roll(t.logprobs, 3)),
    "kinds-spans": dict(kinds=lambda t: np.where(t.kinds == TokenKind.ACTION, TokenKind.FORMAT, t.kinds)),
    "no-action": dict(kinds=lambda t: np.where(t.kinds == TokenKind.ACTION, TokenKind.FORMAT, t.kinds)),
    "nothing-sampled": dict(kinds=lambda t: np.where(t.response_mask, TokenKind.TEMPLATE, t.kinds)),
    "turn-order": dict(turns=lambda t: np.array(t.turns)[::-1]),
    "logprob-value": dict(logprobs=_edit("logprobs", lambda t: t.response_mask, 0.5)),
    "signal-value": dict(signals=lambda t: {"x": _edit("logprobs", lambda t: t.response_mask, np.nan)(t)}),
    "reward-nan": dict(reward=float("nan")),
    "return-turns": dict(reward=lambda t: t.reward + 2),
    "ids-text": dict(texts=_one_text),
    "token-ids": dict(token_ids=_edit("token_ids", lambda t: ~t.response_mask, 900_000)),
    "duplicate": {},
}


@pytest.mark.parametrize("check", SICK)
def test_what_is_wrong_is_found_once_and_named(check, rollouts, tiny, tmp_path):
    unlike = list({t.token_ids.tobytes(): t for t in rollouts}.values())
    sick = changed(unlike, **SICK[check])
    if check == "duplicate":
        sick.append(dataclasses.replace(unlike[0], id="twin"))
    before = found(diagnose(run_of(tmp_path / "a", unlike), tokenizer=tiny.tokenizer))
    report = diagnose(run_of(tmp_path / "b", sick), tokenizer=tiny.tokenizer)
    finding = found(report)[check]
    assert finding.count == 1 + (before[check].count if check in before else 0)
    assert finding.of == len(sick) and ("twin" if check == "duplicate" else unlike[0].id) in finding.examples
    assert report.healthy == (finding.severity != "error" and not any(f.severity == "error" for f in report.findings))


def test_logprobs_of_another_policy_or_shifted_by_one(rollouts, tiny, tmp_path):
    shifted = changed(
        rollouts, logprobs=lambda t: np.where(t.response_mask, np.roll(np.nan_to_num(t.logprobs), 1), np.nan)
    )
    finding = found(diagnose(run_of(tmp_path, shifted), reference=tiny))["logprob-reference"]
    assert (finding.count, finding.severity, finding.examples) == (1, "error", [rollouts[0].id])


def test_groups_without_spread_and_rollouts_alone(rollouts, tmp_path):
    equal = [dataclasses.replace(t, reward=1.0, penalty=0.0, group="a" if i else "b") for i, t in enumerate(rollouts)]
    report = found(diagnose(run_of(tmp_path, equal)))
    assert (report["zero-spread"].count, report["zero-spread"].of, report["zero-spread"].examples) == (1, 2, ["a"])
    assert report["single-rollout"].examples == ["b"] and report["no-tokenizer"].severity == "info"


def test_an_answer_that_was_cut(rollouts, tmp_path):
    whole = next(t for t in rollouts if (t.kinds == TokenKind.ACTION).any())
    end = np.flatnonzero(whole.kinds == TokenKind.ACTION)[0] + 1
    cut = {name: getattr(whole, name)[:end] for name in ("token_ids", "kinds", "turns", "logprobs", "texts")}
    cut["kinds"] = np.where(cut["kinds"] == TokenKind.ACTION, TokenKind.FORMAT, cut["kinds"])
    t = dataclasses.replace(whole, **cut, signals={}, alternatives=None)
    assert found(diagnose(run_of(tmp_path, [t])))["truncated-answer"].count == 1


def test_lengths_that_differ_are_a_finding_and_the_rest_is_checked(rollouts, tmp_path):
    run = run_of(tmp_path, rollouts)
    file = run.path / "trajectories/step-00000.parquet"
    table = pq.read_table(file)
    kinds = table["kinds"].to_pylist()
    kinds[2] = kinds[2][:-1]
    pq.write_table(
        table.set_column(
            table.column_names.index("kinds"), table.schema.field("kinds"), pa.array(kinds, pa.list_(pa.uint8()))
        ),
        file,
        row_group_size=8,
    )
    report = diagnose(run)
    finding = found(report)["unreadable"]
    assert finding.count == 1 and finding.examples == [rollouts[2].id] and "kinds has" in finding.message
    assert report.trajectories == len(rollouts) and not report.healthy


def test_comparing_with_a_policy_leaves_the_run_as_it_is(rollouts, tiny, tmp_path):
    run = run_of(tmp_path, [dataclasses.replace(t, signals={}, alternatives=None) for t in rollouts])
    assert diagnose(run, reference=tiny).healthy and run.references() == []


def test_the_command(run, tmp_path, rollouts):
    good = actfocus("doctor", run.path, "--tokenizer", "tiny", "--json", "--progress", "none")
    assert good.returncode == 0 and json.loads(good.stdout)["healthy"]
    sick = run_of(tmp_path, changed(rollouts, **SICK["nothing-sampled"]))
    bad = actfocus("doctor", sick.path, "--progress", "none")
    assert bad.returncode == 1 and "nothing-sampled: 1 of 24" in bad.stdout and bad.stderr == ""
    none = actfocus("doctor", tmp_path / "nowhere")
    assert none.returncode == 2 and len(none.stderr.splitlines()) == 1
