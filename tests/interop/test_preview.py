"""A preview says what the import then does, reads the head alone, and writes nothing."""

import json

import numpy as np
import pytest

from actfocus_core.errors import ActFocusError
from actfocus_core.interop import import_run, preview
from actfocus_core.interop.importing import CHUNK_SAMPLES
from actfocus_core.policy.smollm2 import is_available
from tests.conftest import make_tokenizer
from tests.core.command import actfocus
from tests.interop.files import records, write

TOKENIZERS = ["tiny", pytest.param("smollm2", marks=pytest.mark.skipif(not is_available(), reason="not installed"))]


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("name", ["verl", "trl", "chat", "ragen", "verifiers"])
def test_it_is_what_the_import_stores(name, tokenizer, tmp_path):
    path = write(name, tmp_path, records(name, make_tokenizer()))
    found = preview(path, 2, tokenizer=tokenizer)
    assert sorted(tmp_path.iterdir()) == [path]
    run = import_run(path, tmp_path / "run", tokenizer=tokenizer)
    stored, config = run.trajectories(), run.info["config"]
    assert found.is_whole and found.read == len(stored) and len(found.trajectories) == 2
    for a, b in zip(found.trajectories, stored, strict=False):
        assert (a.id, a.group, a.texts, a.success) == (b.id, b.group, b.texts, b.success)
        np.testing.assert_array_equal(a.kinds, b.kinds)
    assert (found.tokens, found.format) == (sum(map(len, stored)), config["format"])
    assert found.by_kind["action"] == int(run.index()["n_action"].sum())
    assert sum(found.success.values()) == len(stored) and found.groups == run.index()["group"].nunique()
    for entry in ("spans", "spans_by", "action_tokens_by_rule", "approximate", "success_by", "environment_text"):
        assert found.config[entry] == config[entry], entry
    assert found.provenance.model_dump(exclude_none=True) == run.info["provenance"]
    assert "kinds" in found.unstated and ("ids" in found.unstated) == found.config["approximate"]


def test_only_the_head_is_read_and_the_rest_is_not_promised(tmp_path):
    rows = records("chat", make_tokenizer())
    path = tmp_path / "rows.jsonl"
    count = 4 * CHUNK_SAMPLES
    lines = [json.dumps(rows[n % len(rows)]) for n in range(count)]
    path.write_text("\n".join([*lines[:-1], '{"mess']))
    found = preview(path, tokenizer="tiny")
    assert not found.is_whole and found.read <= CHUNK_SAMPLES and "left_out" not in found.config
    run = import_run(path, tmp_path / "run", tokenizer="tiny")
    # What the file says at its end is said by the import.
    assert sum(run.info["config"]["left_out"].values()) == 1
    assert run.info["config"]["action_tokens_by_rule"] == found.config["action_tokens_by_rule"]


def test_a_given_rule_and_outcome_are_applied(tmp_path, tokenizer_folder):
    path = write("chat", tmp_path, records("chat", make_tokenizer()))
    auto = preview(path, tokenizer=tokenizer_folder)
    other = preview(path, tokenizer=tokenizer_folder, spans="tool_call", success_at=1e9)
    assert (auto.config["spans_by"], other.config["spans_by"]) == ("content", "given")
    assert auto.by_kind["action"] > 0 == other.by_kind["action"] and other.success["success"] == 0
    assert other.config["action_tokens_by_rule"] == auto.config["action_tokens_by_rule"]


@pytest.mark.parametrize(
    ("content", "how", "says"),
    [
        ('{"x": 1}', {}, "not a known format"),
        ("", {}, "is empty"),
        ('{"messages": []}', {}, "needs the tokenizer"),
        (
            '{"messages": [{"role": "assistant", "content": "a"}]}',
            {"tokenizer": "tiny", "spans": "pattern:("},
            "not a regular",
        ),
        (
            '{"messages": [{"role": "assistant", "content": "a"}]}',
            {"tokenizer": "tiny", "max_tokens": 1},
            "the maximum is 1",
        ),
        ('{"messages": 7}\n', {"tokenizer": "tiny", "strict": True}, "line 1"),
    ],
)
def test_bad_input_is_one_line(content, how, says, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(content)
    with pytest.raises(ActFocusError, match=says) as error:
        preview(path, **how)
    assert "\n" not in str(error.value) and sorted(tmp_path.iterdir()) == [path]


def test_the_command_prints_tokens_and_writes_nothing(tmp_path):
    path = write("verl", tmp_path, records("verl", make_tokenizer()))
    found = actfocus("import", "auto", path, "--tokenizer", "tiny", "--preview", 2, "--json", cwd=tmp_path)
    answer = json.loads(found.stdout)
    first = answer["rollouts"][0]
    assert len(answer["rollouts"]) == 2 and len(first["texts"]) == len(first["kinds"]) == first["tokens"]
    text = actfocus("import", "auto", path, "--tokenizer", "tiny", "--preview", 1, cwd=tmp_path)
    assert "action tokens by rule: " in text.stdout and first["id"] in text.stdout
    assert sorted(tmp_path.iterdir()) == [path]
