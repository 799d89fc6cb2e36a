"""The script for dumps on a batch that verl itself saved: `make test-verl` gives it an environment of its own."""

import json
import subprocess
import sys
from importlib.resources import files

import numpy as np
import pytest

pytest.importorskip("verl", reason="verl is not installed: `make test-verl` runs these in an environment of its own")

import torch
from verl import DataProto


def test_the_script_for_dumps_reads_a_batch_that_verl_saved(tmp_path):
    """Padded prompts on the left, responses on the right, as verl stores them."""
    prompts, responses = torch.tensor([[0, 11, 12], [13, 14, 15]]), torch.tensor([[21, 22], [23, 0]])
    mask = torch.tensor([[1, 1], [1, 0]])
    tensors = {
        "input_ids": torch.cat([prompts, responses], 1),
        "attention_mask": torch.cat([(prompts > 0).long(), mask], 1),
        "responses": responses,
        "response_mask": mask,
        "rollout_log_probs": torch.full((2, 2), -0.5),
        "old_log_probs": torch.full((2, 2), -0.25),
        "token_level_scores": torch.tensor([[0.0, 1.0], [0.5, 0.0]]),
    }
    batch = DataProto.from_dict(
        tensors, {"uid": np.array(["a", "a"], object), "data_source": np.array(["x", "x"], object)}
    )
    batch.save_to_disk(tmp_path / "batch.pkl")
    (tmp_path / "convert.py").write_text(files("actfocus_core.interop").joinpath("convert_dump.py.txt").read_text())
    out = subprocess.run(
        [sys.executable, tmp_path / "convert.py", tmp_path / "batch.pkl"], capture_output=True, text=True
    )
    first, second = map(json.loads, out.stdout.splitlines())
    assert first["token_ids"] == [11, 12, 21, 22] and first["loss_mask"] == [0, 0, 1, 1] and first["reward"] == 1.0
    assert first["trainer_logprobs"] == [None, None, -0.25, -0.25] and first["group"] == "a" and first["env"] == "x"
    assert second["token_ids"] == [13, 14, 15, 23] and second["loss_mask"] == [0, 0, 0, 1] and second["reward"] == 0.5
