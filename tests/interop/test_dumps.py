"""Dumps that are never loaded: the script that is printed for them, and what it writes."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from actfocus_core.interop import import_run
from actfocus_core.runs import Run
from tests.core.command import actfocus
from tests.interop.more_rows import flat, token_ids


@pytest.fixture
def converted(tmp_path, tokenizer_folder):
    """Refuse a dump, run the script that is printed for it, and import what that writes."""

    def converted(file) -> list:
        told = actfocus("import", "auto", file, "--tokenizer", tokenizer_folder)
        assert told.returncode == 2 and told.stderr.count("\n") == 1 and "never loaded" in told.stderr
        (tmp_path / "convert.py").write_text(told.stdout)
        out = subprocess.run(
            [sys.executable, tmp_path / "convert.py", file], capture_output=True, text=True, cwd=tmp_path
        )
        assert not out.stderr and out.returncode == 0
        (tmp_path / "rollouts.jsonl").write_text(out.stdout)
        path = import_run(tmp_path / "rollouts.jsonl", tmp_path / "run", tokenizer=tokenizer_folder).path
        run = Run.open(path)
        assert run.info["config"]["format"] == "tokens"
        return run.trajectories()

    return converted


def test_lines_of_token_ids(tmp_path, tokenizer, tokenizer_folder):
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps(token_ids(tokenizer, number)) + "\n" for number in (0, 1)))
    t, other = import_run(path, tmp_path / "run", tokenizer=tokenizer_folder).trajectories()
    ids, mask = flat(tokenizer)
    assert t.token_ids.tolist() == ids and t.response_mask.tolist() == [bool(entry) for entry in mask]
    assert (t.logprobs[t.response_mask] == -0.5).all() and (
        t.signals["trainer_logprob"][t.response_mask] == -0.75
    ).all()
    assert np.isnan(t.signals["trainer_logprob"][~t.response_mask]).all()
    assert (t.step, t.reward, t.columns, t.group) == (4, 1.0, {"difficulty": 3}, other.group)
    assert other.truncated and not other.terminated and (other.signals["advantage"][other.response_mask] == -0.5).all()


def test_a_dump_of_slime(converted, tokenizer, tmp_path):
    ids, mask = flat(tokenizer)
    first = mask.index(1)
    response = len(ids) - first

    def sample(number: int, status: str) -> dict:
        scored = {"rollout_log_probs": [-0.5] * response, "loss_mask": mask[first:], "reward": {"score": float(number)}}
        about = {"group_index": 3, "index": number, "status": status, "prompt": "x", "weight_versions": ["1"]}
        return {"tokens": ids, "response_length": response, **scored, **about}

    whole = {**sample(2, "completed"), "loss_mask": None, "reward": None, "rollout_log_probs": None}
    samples = [sample(0, "completed"), sample(1, "truncated"), whole, sample(3, "aborted")]
    torch.save({"rollout_id": 5, "samples": samples}, tmp_path / "5.pt")
    found = converted(tmp_path / "5.pt")
    assert [t.reward for t in found if np.isfinite(t.reward)] == [0, 1, 3] and len({t.group for t in found}) == 1
    assert found[0].token_ids.tolist() == ids and found[0].response_mask.tolist() == [bool(entry) for entry in mask]
    assert (found[0].logprobs[found[0].response_mask] == -0.5).all() and found[0].step == 5
    assert [t.truncated for t in found] == [False, True, False, False] and [t.error for t in found][3] == "aborted"
    # Without a mask the whole response was trained on.
    assert found[2].response_mask.sum() == response and np.isnan(found[2].logprobs).all()


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_training_batch_of_skyrl(side, converted, tokenizer, tmp_path):
    """Padded on the left; in earlier versions the response was padded on the right."""
    ids, mask = flat(tokenizer)
    first = mask.index(1)
    rows = [(ids, mask), (ids[:-4], mask[:-4])]
    width = len(ids) - first

    def padded(values, prompt):
        blank = [0] * (len(ids) - len(values))
        return [*blank, *values] if side == "left" else [*values[:prompt], *values[prompt:], *blank]

    def response(values):
        values = values[first:]
        blank = [0] * (width - len(values))
        return [*blank, *values] if side == "left" else [*values, *blank]

    batch = {
        "sequences": torch.tensor([padded(row, first) for row, _ in rows]),
        "attention_mask": torch.tensor([padded([1] * len(row), first) for row, _ in rows]),
        "loss_mask": torch.tensor([response(flags) for _, flags in rows], dtype=torch.float32),
        "rollout_logprobs": torch.tensor([response([-0.5] * len(row)) for row, _ in rows]),
        "advantages": torch.tensor([response([0.25] * len(row)) for row, _ in rows]),
        "rewards": torch.tensor([response([0.0] * (len(row) - 1) + [1.0]) for row, _ in rows]),
        "values": None,
    }
    with open(tmp_path / "global_step_3_training_input.pkl", "wb") as file:
        pickle.dump(batch, file)
    found = converted(tmp_path / "global_step_3_training_input.pkl")
    for t, (row, flags) in zip(found, rows):
        assert t.token_ids.tolist() == row and t.response_mask.tolist() == [bool(entry) for entry in flags]
        assert (t.logprobs[t.response_mask] == -0.5).all() and (t.signals["advantage"][t.response_mask] == 0.25).all()
        assert t.reward == 1.0


def test_another_pickle_is_named(tmp_path):
    file = tmp_path / "x.pkl"
    file.write_bytes(pickle.dumps({"something": 1}))
    (tmp_path / "convert.py").write_text(actfocus("doctor", file).stdout)
    out = subprocess.run([sys.executable, tmp_path / "convert.py", file], capture_output=True, text=True)
    assert out.returncode == 1 and "not a dump of slime, SkyRL or verl" in out.stderr and not out.stdout
