"""Policies that are an adapter's folder: the base of that name with the adapter added in."""

import json
import shutil

import pytest
import torch

from actfocus_core.errors import ActFocusError
from actfocus_core.policy import load_policy
from actfocus_core.policy.loading import load_config, load_tokenizer
from actfocus_core.train.lora import add_adapters, merged

pytest.importorskip("peft")


@pytest.fixture(scope="module")
def adapted(model_folder, tmp_path_factory):
    """(folder of an adapter with random weights, the logits of base and adapter together)."""
    folder = tmp_path_factory.mktemp("adapter")
    model = add_adapters(load_policy(str(model_folder), "cpu").model, rank=4, seed=1)
    torch.manual_seed(2)
    for name, p in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(p, std=0.2)
    model.save_pretrained(folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": str(model_folder)}))
    (folder / "actfocus.json").write_text(json.dumps({"env_options": {"frozen_lake": {"size": 5}}}))
    with torch.no_grad():
        return folder, merged(model)(torch.arange(20)[None]).logits


def test_an_adapter_is_added_into_the_weights_of_its_base(adapted, model_folder):
    folder, logits = adapted
    policy, base = load_policy(str(folder), "cpu"), load_policy(str(model_folder), "cpu")
    with torch.no_grad():
        own, without = (p.model(torch.arange(20)[None]).logits for p in (policy, base))
    assert torch.allclose(own, logits, atol=1e-5) and (own - without).abs().max() > 0.1
    assert type(policy.model) is type(base.model) and policy.fingerprint != base.fingerprint
    assert not any(p.requires_grad for p in policy.model.parameters())
    assert policy.env_options == {"frozen_lake": {"size": 5}}
    assert load_tokenizer(str(folder)).get_vocab() == base.tokenizer.get_vocab()
    assert load_config(str(folder)).hidden_size == base.model.config.hidden_size


def test_a_pickled_adapter_is_refused(adapted, tmp_path):
    folder = shutil.copytree(adapted[0], tmp_path / "pickled")
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(ActFocusError, match="has no adapter_model.safetensors"):
        load_policy(str(folder), "cpu")


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("self", "which is not a model"),
        (None, "which is not a model"),
        (7, "which is not a model"),
        ("no-such-model", "no such"),
    ],
)
def test_a_base_that_is_none_is_refused(adapted, tmp_path, base, message):
    folder = shutil.copytree(adapted[0], tmp_path / "adapter")
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = str(folder) if base == "self" else base
    (folder / "adapter_config.json").write_text(json.dumps(config))
    for load in (lambda f: load_policy(f, "cpu"), load_tokenizer, load_config):
        with pytest.raises(ActFocusError, match=message):
            load(str(folder))


def test_an_adapter_of_another_shape_is_refused(adapted, tmp_path):
    folder = shutil.copytree(adapted[0], tmp_path / "adapter")
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": "tiny"}))
    with pytest.raises(ActFocusError, match="not an adapter of tiny") as caught:
        load_policy(str(folder), "cpu")
    assert "\n" not in str(caught.value)
