"""The doctor reads every trainer's files: each finding has its count, severity and an example."""

import json

import pytest
from typer.testing import CliRunner

from actfocus_core.analysis.validate import SEVERITIES
from actfocus_core.cli import app as command
from actfocus_core.errors import ActFocusError
from tests.interop.files import EXACT, FORMATS, records, write


def doctor(path, tokenizer: str):
    result = CliRunner().invoke(
        command, ["doctor", str(path), "--tokenizer", tokenizer, "--progress", "none", "--json"]
    )
    if isinstance(result.exception, ActFocusError):
        raise result.exception
    return result.exit_code, json.loads(result.stdout)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_looked_at(name, tokenizer, tokenizer_folder, tmp_path):
    rows = records(name, tokenizer)
    code, report = doctor(write(name, tmp_path, [*rows, rows[0]]), tokenizer_folder)
    found = {f["check"]: f for f in report["findings"]}
    assert code == 0 and report["healthy"] and report["trajectories"] == 5
    assert found["duplicate"]["count"] >= 1 and found["duplicate"]["severity"] == "warning"
    assert ("approximate" in found) == (name not in EXACT) and ("no-logprobs" in found) == (name not in EXACT)
    for finding in found.values():
        assert 1 <= finding["count"] <= finding["of"] and finding["severity"] in SEVERITIES
        assert finding["examples"] and finding["message"]


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (lambda row: row.update(inference_logprobs=[0.5] * len(row["token_ids"])), "logprob-value"),
        (lambda row: row.update(loss_mask=[False] * len(row["token_ids"])), "nothing-sampled"),
        (lambda row: row.update(loss_mask=[True] * len(row["token_ids"])), "template-in-loss"),
        (
            lambda row: row.update(
                inference_logprobs=[None] + row["inference_logprobs"][:-1], loss_mask=[True] + row["loss_mask"][1:]
            ),
            "kinds-mask",
        ),
    ],
)
def test_errors_of_a_token_export_give_exit_code_1(change, check, tokenizer, tokenizer_folder, tmp_path):
    rows = records("prime-rl", tokenizer)
    change(rows[2])
    code, report = doctor(write("prime-rl", tmp_path, rows), tokenizer_folder)
    found = {f["check"]: f for f in report["findings"]}
    assert (
        code == 1
        and not report["healthy"]
        and (found[check]["count"], found[check]["of"], found[check]["severity"]) == (1, 4, "error")
    )
    assert len(found[check]["examples"]) == 1


def test_lengths_that_differ_are_counted_or_named_with_their_line(tokenizer, tokenizer_folder, tmp_path):
    rows = records("prime-rl", tokenizer)
    rows[2]["loss_mask"].pop()
    code, report = doctor(write("prime-rl", tmp_path, rows), tokenizer_folder)
    (left_out,) = [f for f in report["findings"] if f["check"] == "left-out"]
    assert code == 0 and report["trajectories"] == 3 and "1 records that cannot be read" in left_out["message"]
    with pytest.raises(ActFocusError, match=r"rank_0.jsonl, line 1: 'loss_mask' has \d+ values; it must have"):
        doctor(write("prime-rl", tmp_path, rows[2:3]), tokenizer_folder)
