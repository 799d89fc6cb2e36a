"""The policies a page may choose."""

import json

import pytest

from actfocus_core.errors import ActFocusError
from actfocus_studio.data import models
from actfocus_studio.jobs.rollouts import RolloutRequest, Rollouts

ASKED = ("Sokoban", 1, 2, 0, 1.0)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub's cache with a small and a large language model, one without safetensors and one that is no language model."""
    import huggingface_hub

    def put(name, size, architecture="Qwen2ForCausalLM", file="model.safetensors"):
        snapshot = tmp_path / "hub" / f"models--{name.replace('/', '--')}" / "snapshots" / ("0" * 40)
        snapshot.mkdir(parents=True)
        (snapshot.parent.parent / "refs").mkdir()
        (snapshot / "config.json").write_text(json.dumps({"architectures": [architecture]}))
        with open(snapshot / file, "wb") as stream:
            stream.truncate(size)

    put("Qwen/small", 2_000_000)
    put("Qwen/large", 6_000_000_000)
    put("some/pickle", 2_000_000, file="pytorch_model.bin")
    put("some/encoder", 2_000_000, "BertModel")
    scan = huggingface_hub.scan_cache_dir
    monkeypatch.setattr(huggingface_hub, "scan_cache_dir", lambda: scan(tmp_path / "hub"))
    return tmp_path


def test_what_is_installed_is_offered_and_what_needs_a_gpu_says_so(hub):
    (hub / "runs" / "race" / "policy").mkdir(parents=True)
    (hub / "runs" / "race" / "policy" / "config.json").write_text("{}")
    found = {model.name: model for model in models.installed(hub / "runs")}
    assert list(found)[0] == "tiny" and found[str(hub / "runs" / "race" / "policy")].label == "race: trained here"
    assert {"Qwen/small", "Qwen/large"} <= set(found) and not {"some/pickle", "some/encoder"} & set(found)
    assert found["Qwen/large"].title == "Qwen/large (needs a GPU)" and found["Qwen/small"].title == "Qwen/small"


def test_a_large_model_is_refused_where_there_is_no_gpu(hub, monkeypatch):
    monkeypatch.setattr(models, "has_gpu", lambda: False)
    with pytest.raises(
        ActFocusError, match="Qwen/large: has about 3.0 billion parameters and needs a GPU; there is none here"
    ):
        Rollouts(hub / "runs").start(RolloutRequest(*ASKED, policy="Qwen/large"))
    monkeypatch.setattr(models, "has_gpu", lambda: True)
    assert models.chosen("Qwen/large", hub / "runs").parameters == 3_000_000_000
    assert not (hub / "runs").exists()


@pytest.mark.parametrize("name", ["--help", "../policy", "Qwen/absent", "", None, 7, ["tiny"]])
def test_only_a_policy_of_the_list_is_rolled_out(tmp_path, name):
    rollouts = Rollouts(tmp_path / "runs")
    with pytest.raises(ActFocusError, match="unknown policy"):
        rollouts.start(RolloutRequest(*ASKED, policy=name))
    assert rollouts.status().state == "idle"


@pytest.mark.parametrize("examples", [-1, 3, 0.5, True, "1", None])
def test_the_number_of_examples_is_checked(examples):
    with pytest.raises(ActFocusError, match="examples must be a whole number from 0 to 2"):
        RolloutRequest(*ASKED, examples=examples)
