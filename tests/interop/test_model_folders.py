"""Model folders and the hub's cache may be a stranger's: weights are safetensors of the folder itself, or refused in one line."""

import json
import os
import shutil
import socket
from pathlib import Path

import huggingface_hub
import peft
import pytest
import torch
from safetensors.torch import load_file, save_file

from actfocus_core.errors import ActFocusError
from actfocus_core.policy import load_policy, load_tokenizer
from actfocus_core.policy.loading import load_config
from tests.interop.evil import Evil

HUB_ID = "somebody/model"


PARTS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]


@pytest.fixture
def in_shards(model_folder, tmp_path):
    """A model folder whose weights are in two files that an index names."""
    folder = shutil.copytree(model_folder, tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    for part, file in enumerate(PARTS):
        save_file({name: weights[name] for name in names[part::2]}, folder / file, metadata={"format": "pt"})
    write_index(folder, {name: PARTS[i % 2] for i, name in enumerate(names)})
    return folder


def write_index(folder: Path, weight_map: dict, name: str = "model.safetensors.index.json"):
    (folder / name).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))


def in_the_cache(folder: Path, cache: Path, monkeypatch) -> str:
    """The folder as the hub's cache has it: every file of a snapshot is a link to a blob. The id it is found by."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    model, snapshot = cache / "models--somebody--model", cache / "models--somebody--model/snapshots" / ("a" * 40)
    for made in (model / "refs", model / "blobs", snapshot):
        made.mkdir(parents=True)
    (model / "refs/main").write_text("a" * 40)
    for number, file in enumerate(p for p in folder.rglob("*") if p.is_file()):
        shutil.copy(file, model / f"blobs/{number}")
        link = snapshot / file.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(model / f"blobs/{number}", link.parent))
    return HUB_ID


@pytest.fixture
def torch_pickle(marker, tmp_path):
    """The bytes of a checkpoint of torch that would leave a file behind."""
    torch.save(Evil(marker), tmp_path / "made.pt")
    return (tmp_path / "made.pt").read_bytes()


@pytest.mark.parametrize("hub", [False, True])
def test_weights_in_several_files_are_loaded(hub, in_shards, model_folder, tmp_path, monkeypatch):
    name = in_the_cache(in_shards, tmp_path / "cache", monkeypatch) if hub else str(in_shards)
    assert load_policy(name, "cpu").fingerprint == load_policy(str(model_folder), "cpu").fingerprint
    assert load_config(name).hidden_size == load_config(str(model_folder)).hidden_size and load_tokenizer(name)


@pytest.mark.parametrize("hub", [False, True])
@pytest.mark.parametrize(
    "named",
    [
        "weights.bin",
        "weights.BIN",
        "weights.SAFETENSORS",
        "weights.safetensors.bin",
        "weights.pt",
        "inner/weights.bin",
        "inner/weights.safetensors",
        "../weights.safetensors",
        "ABSOLUTE/weights.bin",
        "ABSOLUTE/weights.safetensors",
        ".safetensors",
        "",
        "weights.bin\n.safetensors",
        7,
        None,
    ],
)
def test_an_index_that_names_anything_but_safetensors_of_its_folder_is_refused(
    hub, named, in_shards, torch_pickle, marker, tmp_path, monkeypatch
):
    named = named.replace("ABSOLUTE", str(tmp_path)) if isinstance(named, str) else named
    index = json.loads((in_shards / "model.safetensors.index.json").read_text())
    write_index(in_shards, {**index["weight_map"], "lm_head.weight": named})
    (in_shards / "inner").mkdir()
    for place in (in_shards / str(named), in_shards / "inner/weights.safetensors", tmp_path / "weights.safetensors"):
        if named and not place.is_dir():
            place.write_bytes(torch_pickle)
    name = in_the_cache(in_shards, tmp_path / "cache", monkeypatch) if hub else str(in_shards)
    with pytest.raises(
        ActFocusError, match="model.safetensors.index.json: names .*only .safetensors files in this folder"
    ) as error:
        load_policy(name, "cpu")
    assert "\n" not in str(error.value) and not marker.exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"weight_map": {"a": "gone.safetensors"}}', "names 'gone.safetensors', which is not a file in this folder"),
        ("[]", "holds list; it must hold a JSON object"),
        ("{}", "has no weight_map"),
        ('{"weight_map": ["a"]}', "has no weight_map"),
        ("[" * 100_000, "cannot be read as JSON"),
        ("\0", "cannot be read as JSON"),
    ],
)
def test_an_index_that_is_none_is_refused(content, said, in_shards):
    (in_shards / "model.safetensors.index.json").write_text(content)
    with pytest.raises(ActFocusError, match=f"model.safetensors.index.json: {said}") as error:
        load_policy(str(in_shards), "cpu")
    assert "\n" not in str(error.value)


def test_an_index_beside_whole_weights_may_name_files_that_are_gone_and_no_others(model_folder, tmp_path):
    folder = shutil.copytree(model_folder, tmp_path / "model")
    write_index(folder, {"lm_head.weight": "gone.safetensors"})
    assert load_policy(str(folder), "cpu").fingerprint == load_policy(str(model_folder), "cpu").fingerprint
    write_index(folder, {"lm_head.weight": "weights.bin"})
    with pytest.raises(ActFocusError, match="only .safetensors files in this folder"):
        load_policy(str(folder), "cpu")


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("adapter_model.bin", "names 'adapter_model.bin' as weights"),
        ("other.safetensors.index.json", "names 'weights.bin' as weights"),
        ("../other.safetensors.index.json", "as weights"),
        ("gone.safetensors", "which is not a file"),
        ("gone.safetensors.index.json", "cannot be read"),
        (5, "names '5' as weights"),
    ],
)
def test_weights_that_the_config_names_are_held_to_the_same(named, said, model_folder, torch_pickle, marker, tmp_path):
    folder = shutil.copytree(model_folder, tmp_path / "model")
    for file in ("adapter_model.bin", "weights.bin"):
        (folder / file).write_bytes(torch_pickle)
    for place in (folder, tmp_path):
        write_index(place, {"lm_head.weight": "weights.bin"}, "other.safetensors.index.json")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "transformers_weights": named}))
    with pytest.raises(ActFocusError, match=said) as error:
        load_policy(str(folder), "cpu")
    assert "\n" not in str(error.value) and not marker.exists()
    # By its name, and under an alias that transformers would follow as well.
    (folder / "config.json").write_text(
        json.dumps({**config, "attribute_map": {"transformers_weights": "x"}, "x": named})
    )
    with pytest.raises(ActFocusError):
        load_policy(str(folder), "cpu")
    assert not marker.exists()
    (folder / "model.safetensors").rename(folder / "mine.safetensors")
    (folder / "config.json").write_text(json.dumps({**config, "transformers_weights": "mine.safetensors"}))
    assert load_policy(str(folder), "cpu").fingerprint == load_policy(str(model_folder), "cpu").fingerprint


ADAPTER = {"base_model_name_or_path": "tiny", "peft_type": "LORA", "target_modules": ["q_proj"], "r": 2}


@pytest.mark.parametrize(
    ("beside", "config", "said"),
    [
        (False, {}, "has no adapter_model.safetensors"),
        (True, {}, "has no adapter_model.safetensors"),
        (False, {"peft_type": "XLORA", "adapters": {"0": "."}}, "peft_type 'XLORA' is not supported"),
        (True, {"peft_type": "PROMPT_TUNING"}, "is not supported"),
        (False, {"megatron_config": {"a": 1}, "megatron_core": "it_ran"}, "import a module"),
        (True, {"megatron_config": {"a": 1}}, "import a module"),
    ],
)
def test_an_adapter_alone_or_beside_a_model_is_in_safetensors_or_refused(
    beside, config, said, model_folder, torch_pickle, marker, tmp_path, monkeypatch
):
    folder = shutil.copytree(model_folder, tmp_path / "model")
    if not beside:
        (folder / "config.json").unlink()
    (folder / "adapter_config.json").write_text(json.dumps(ADAPTER | config))
    (folder / "adapter_model.bin").write_bytes(torch_pickle)
    if config:
        (folder / "adapter_model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    (tmp_path / "it_ran.py").write_text(f"from pathlib import Path\nPath({str(marker)!r}).touch()\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in (str(folder), in_the_cache(folder, tmp_path / "cache", monkeypatch)):
        with pytest.raises(ActFocusError, match=said) as error:
            load_policy(name, "cpu")
        assert "\n" not in str(error.value) and not marker.exists()


def test_an_adapter_of_the_hub_is_added_into_its_base_and_never_one_upon_another(model_folder, tmp_path, monkeypatch):
    folder = tmp_path / "adapter"
    base = load_policy(str(model_folder), "cpu")
    made = peft.get_peft_model(
        load_policy(str(model_folder), "cpu").model,
        peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False),
    )
    made.save_pretrained(folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": str(model_folder)}))
    name = in_the_cache(folder, tmp_path / "cache", monkeypatch)
    policy = load_policy(name, "cpu")
    assert policy.fingerprint == load_policy(str(folder), "cpu").fingerprint != base.fingerprint
    assert type(policy.model) is type(base.model) and policy.env_options == {}
    assert (
        load_tokenizer(name).get_vocab() == base.tokenizer.get_vocab()
        and load_config(name).hidden_size == base.model.config.hidden_size
    )
    # An adapter that names itself by its id would be looked for without end.
    link = tmp_path / "cache/models--somebody--model/snapshots" / ("a" * 40) / "adapter_config.json"
    link.write_text(json.dumps({**config, "base_model_name_or_path": HUB_ID}))
    for load in (load_policy, load_tokenizer, load_config):
        with pytest.raises(ActFocusError, match="which is not a model"):
            load(name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
@pytest.mark.parametrize("kind", ["fifo", "socket", "device"])
@pytest.mark.parametrize(
    "file",
    [
        "model.safetensors",
        "tokenizer.json",
        "generation_config.json",
        "adapter_model.safetensors",
        "vocab.txt",
        "additional_chat_templates/a.jinja",
        "tokenizer_config.json",
    ],
)
def test_a_model_folder_with_a_file_that_is_none_is_refused_and_not_waited_for(
    kind, file, model_folder, tmp_path, monkeypatch
):
    folder = shutil.copytree(model_folder, tmp_path / "model")
    if file.startswith("adapter"):
        (folder / "config.json").unlink()
        (folder / "adapter_config.json").write_text(json.dumps(ADAPTER))
    path = folder / file
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX) as sock:
        if kind == "fifo":
            os.mkfifo(tmp_path / "fifo")
            path.symlink_to(tmp_path / "fifo")
        elif kind == "socket":
            monkeypatch.chdir(path.parent)  # A socket's address is at most 107 characters long.
            sock.bind(path.name)
        else:
            path.symlink_to("/dev/zero")
        for load in (load_policy, load_tokenizer, load_config):
            with pytest.raises(ActFocusError, match=f"{file}: is not a regular file") as error:
                load(str(folder))
            assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "named", ["evil/kernel", "kernels-community/flash-attn2@main", {"": "evil/kernel"}, "paged|evil/kernel"]
)
def test_code_of_the_hub_that_a_config_names_is_not_run(named, model_folder, tmp_path):
    folder = shutil.copytree(model_folder, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "attn_implementation": named}))
    with pytest.raises(ActFocusError, match="is code on the model hub, which is not run"):
        load_policy(str(folder), "cpu")


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("config.json", {"hidden_size": "x"}),
        ("config.json", {"hidden_size": -1}),
        ("config.json", {"get_text_config": "x"}),
        ("config.json", {"attn_implementation": 5}),
        ("config.json", {"rope_parameters": 5}),
        ("config.json", {"vocab_size": 3}),
        ("config.json", None),
        ("tokenizer_config.json", None),
        ("tokenizer.json", None),
        ("generation_config.json", None),
        ("actfocus.json", None),
    ],
)
def test_a_model_folder_with_nonsense_is_one_line(file, change, model_folder, tmp_path):
    folder = shutil.copytree(model_folder, tmp_path / "model")
    (folder / file).write_text(
        "[" * 100_000 if change is None else json.dumps(json.loads((folder / file).read_text()) | change)
    )
    with pytest.raises(ActFocusError) as error:
        load_policy(str(folder), "cpu")
    assert str(folder) in str(error.value) and "\n" not in str(error.value)
    if file == "config.json" and not {"vocab_size", "attn_implementation"} & set(change or ()):
        with pytest.raises(ActFocusError, match=f"{folder}: not a policy that can be loaded"):
            load_config(str(folder))


def test_code_that_a_model_brings_is_not_run(marker, model_folder, tmp_path):
    folder = shutil.copytree(model_folder, tmp_path / "model")
    code = f"from pathlib import Path\nPath({str(marker)!r}).touch()\nclass C: pass\n"
    (folder / "evil.py").write_text(code)
    for file, table in (
        ("config.json", {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.C"}),
        ("tokenizer_config.json", {"AutoTokenizer": ["evil.C", "evil.C"]}),
    ):
        config = json.loads((folder / file).read_text())
        config |= (
            {"auto_map": table, "model_type": "evil"}
            if file == "config.json"
            else {"auto_map": table, "tokenizer_class": "Evil"}
        )
        (folder / file).write_text(json.dumps(config))
    for load in (load_policy, load_tokenizer, load_config):
        try:
            load(str(folder))
        except ActFocusError as error:
            assert "\n" not in str(error)
    assert not marker.exists()
