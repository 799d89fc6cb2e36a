"""Every rule of the registry is complete, documented, and tried."""

import json
from pathlib import Path

from actfocus_core.analysis.validate import RULES
from tests.core.command import actfocus
from tests.doctor import test_groups, test_masks, test_runs, test_scores
from tests.doctor.dialogues import group, rollout

ELSEWHERE = {"unreadable", "token-ids", "ids-text", "drift", "other-tokenizer", "logprob-reference"}
"""Tried by tests of their own, below and in tests/core/test_doctor.py"""
DOCS = Path(__file__).parents[2] / "docs/doctor.md"


def test_every_rule_is_tried_with_one_that_it_finds_and_three_that_it_must_not():
    cases = {**test_masks.CASES, **test_scores.CASES, **test_groups.CASES, **test_runs.CASES}
    assert set(cases) | ELSEWHERE == set(RULES)
    assert {name for name, (_, others) in cases.items() if len(others) < 3} == {"no-tokenizer"}


def test_every_rule_has_a_sentence_and_its_threshold_a_unit():
    for rule in RULES.values():
        assert rule.message("x")[:1] != ":" and (rule.threshold is None) == (not rule.unit)
        assert rule.severity == "info" or rule.consequence or "{detail}" in rule.found


def test_the_page_lists_them_as_they_are():
    text = DOCS.read_text()
    for rule in RULES.values():
        limit = f"{rule.threshold:g} {rule.unit}" if rule.threshold is not None else ""
        row = f"| `{rule.name}` | {rule.severity} | {rule.found.format(detail='…')} | {rule.consequence} | {limit} |"
        assert row in text, row


def test_the_command_lists_them():
    listed = json.loads(actfocus("doctor", "--rules", "--json").stdout)["rules"]
    assert [rule["name"] for rule in listed] == list(RULES)
    assert len(actfocus("doctor", "--rules").stdout.splitlines()) == len(RULES)
    assert actfocus("doctor").returncode == 2


def test_a_report_fits_on_a_screen_and_all_of_it_can_be_had(tmp_path):
    from actfocus_core.runs import Run

    run = Run.create(tmp_path / "run", {"command": "import", "approximate": True, "left_out": {"x" * 300: 1}})
    sick = [
        *group([1.0, 0.0], [-1.0, 1.0]),
        rollout("s", shift=1, error="e" * 200, group="h"),
        rollout("t", end="none", replies=("a",), reward=float("nan"), group="h"),
        rollout("u", replies=("go",) * 9, observations=("a",) * 9, versions=tuple(range(9)), agent="b", group="h"),
    ]
    run.add_trajectories(0, sick)
    short = actfocus("doctor", run.path, "--progress", "none")
    whole = actfocus("doctor", run.path, "--progress", "none", "--all")
    lines = short.stdout.splitlines()
    assert short.returncode == whole.returncode == 1 and len(lines) <= 24 and max(map(len, lines[:-1])) <= 100
    assert "--all" in lines[-1] and "mask-shifted: 1 of 5, for example s" in short.stdout
    assert (
        whole.stdout.count("\nwarning ") + whole.stdout.count("\ninfo ") + whole.stdout.count("\nerror ")
        > len(lines) / 3
    )
    assert "(threshold: 0.1 of the pairs" in " ".join(whole.stdout.split())
