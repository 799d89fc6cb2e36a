"""What made a run: one answer to each question, for every kind of run.json that is written."""

import json
from itertools import product
from types import SimpleNamespace

import pytest

from actfocus_core.counterfactual.branch import env_of
from actfocus_core.counterfactual.history import policy_before
from actfocus_core.errors import ActFocusError
from actfocus_core.interop import import_run
from actfocus_core.oracle import stored
from actfocus_core.paths import assets
from actfocus_core.runs import Run
from actfocus_core.runs.info import Evaluation, External, Import, Other, Rollouts, RunInfo, Training
from actfocus_core.train import TrainConfig, config_of
from actfocus_studio.pages.trace.api import run_facts
from actfocus_studio.panels.import_export.job import _tokenizer
from actfocus_studio.panels.whatif import requests as asking

OPTIONS = {"max_turns": 4}
TRAINED = {"command": "train", **TrainConfig.of(model="/models/own", env_options=OPTIONS).as_stored()}
RECORDED = {"name": "own", "fingerprint": "0123456789abcdef"}
"""Training in the folder /models was given the model as it was typed there."""
EXTERNAL = {"env": "frozen_lake", "env_options": OPTIONS, "model": "Qwen/Qwen2.5-0.5B", "algorithm": "grpo"} | {
    "scheme": "actfocus",
    "scheme_params": {"alpha": 0.2},
}


def metadata(tmp_path, config: dict, model: dict | None = None) -> RunInfo:
    """As it is read from a file."""
    return Run.open(Run.create(tmp_path / "run", config, model).path).metadata


@pytest.mark.parametrize("name", sorted(file.parent.name for file in (assets() / "runs").glob("*/run.json")))
def test_the_runs_that_come_with_the_package(name):
    run = Run.open(assets() / "runs" / name)
    told, config = run.metadata, json.loads((run.path / "run.json").read_text())["config"]
    assert type(told.config) is Other and told.config.command.startswith("demos/")
    assert told.model_name == told.reference == told.tokenizer == config["policy"] and len(told.fingerprint) == 16
    assert told.env == config["env"] and told.env_options == config["env_options"]
    assert told.env_options.items() <= stored.env_options(run).items()
    assert not told.weights_move and told.updates_before(7) == 0 and told.temperature == 1.0 and told.created
    assert (told.scheme, told.scheme_params, told.algorithm, told.spans) == (None, {}, None, "think_answer")
    assert told.config_as_written == config, "entries that are unknown here, such as prompts, are kept"


def test_rollouts(tmp_path):
    config = {"command": "rollout", "policy": "tiny", "env": "sokoban", "env_options": {}, "temperature": 0, "seed": 3}
    told = metadata(tmp_path, config, {"name": "tiny", "fingerprint": "ab"})
    assert type(told.config) is Rollouts and not told.weights_move and told.updates_before(9) == 0
    assert (told.model_name, told.fingerprint, told.env, told.env_options) == ("tiny", "ab", "sokoban", {})
    assert told.temperature == 0 and told.config.seed == 3, "0 is stated"


def test_training(tmp_path):
    told = metadata(tmp_path, TRAINED, RECORDED)
    assert type(told.config) is Training and told.weights_move and told.config.adds_to_model_options
    assert [told.updates_before(step) for step in (0, 1, 2, 9)] == [0, 0, 1, 8]
    assert (told.scheme, told.scheme_params, told.algorithm) == ("uniform", {}, "grpo")
    assert told.fingerprint == RECORDED["fingerprint"] and told.config.filter_share == 1.0
    assert config_of(Run.open(tmp_path / "run")) == TrainConfig.of(model="/models/own", env_options=OPTIONS)


@pytest.mark.parametrize("command", ["trl", "verl"])
def test_another_trainer(tmp_path, command):
    told = metadata(tmp_path, {"command": command, **EXTERNAL, "steps": 9}, {"name": EXTERNAL["model"]})
    assert type(told.config) is External and told.weights_move and not told.config.adds_to_model_options
    assert told.model_name == told.reference == told.tokenizer == "Qwen/Qwen2.5-0.5B" and told.fingerprint is None
    assert (told.scheme, told.scheme_params, told.algorithm) == ("actfocus", {"alpha": 0.2}, "grpo")
    assert told.updates_before(1) == 0 and told.updates_before(3) == 2
    with pytest.raises(ActFocusError, match=rf"step 3 .* another trainer \({command}\) had updated"):
        policy_before(Run.open(tmp_path / "run"), 3)


def test_a_trainer_that_knows_no_environment(tmp_path):
    told = metadata(tmp_path, {"command": "trl", "env": "", "env_options": {}, "model": "m"})
    assert told.env is None
    with pytest.raises(ActFocusError, match="does not state its environment"):
        stored.env_options(Run.open(tmp_path / "run"))


def test_evaluations_are_of_the_weights_of_their_step(tmp_path):
    """They were taken for rollouts of the model that training began with."""
    config = {"command": "evaluate", "env": "frozen_lake", "env_options": OPTIONS, "temperature": 0.5}
    told = metadata(tmp_path, config, {"name": "tiny", "fingerprint": "ab"})
    assert type(told.config) is Evaluation and told.weights_move and told.temperature == 0.5
    assert [told.updates_before(step) for step in (0, 1, 20)] == [0, 1, 20], "step 0 is before the first update"
    run = Run.open(tmp_path / "run")
    stored.require_unchanged_policy(run, 0, SimpleNamespace(name="tiny", fingerprint="ab"))
    with pytest.raises(ActFocusError, match="weights that differ from tiny by 20 training steps"):
        stored.require_unchanged_policy(run, 20, SimpleNamespace(name="tiny", fingerprint="ab"))
    with pytest.raises(ActFocusError, match="step 20 was sampled by weights that training had updated"):
        policy_before(run, 20)


def test_an_import(tmp_path):
    file = tmp_path / "rollouts.jsonl"
    rows = [{"prompt": "2 + 2?", "completion": f"<answer>{k}</answer>", "reward": k / 4} for k in range(2)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = import_run(file, tmp_path / "run", tokenizer="tiny", spans="boxed")
    for run in (made, Run.open(made.path)):
        told = run.metadata
        assert type(told.config) is Import and told.approximate is True, "what is learnt during the import is in it"
        assert told.config.source == str(file) and told.config.format and told.config.stamp and told.spans == "boxed"
        assert told.tokenizer == told.model_name == "tiny" and told.fingerprint is None
        assert told.env is None and told.env_options is None and not told.weights_move and told.config.left_out is None
    made.info["config"]["left_out"] = {"traces": 2}
    assert made.metadata.config.left_out == {"traces": 2}, "Run.info stays what writers write"


@pytest.mark.parametrize("config", [{}, {"command": None}, {"command": "my-script", "left_out": 5}])
def test_anything_else(tmp_path, config):
    told = metadata(tmp_path, config)
    assert type(told.config) is Other and told.config_as_written == config
    assert {told.model_name, told.reference, told.tokenizer, told.fingerprint, told.env, told.env_options} == {None}
    assert not told.weights_move and told.temperature == 1.0 and not told.approximate


# --- questions that were answered in several orders --------------------------------------------


@pytest.mark.parametrize("has", list(product((True, False), repeat=3)))
def test_the_policy_comes_first_and_the_recorded_name_last(tmp_path, has):
    stated = {key: value for key, value, there in zip(("policy", "model"), ("p", "m"), has) if there}
    told = metadata(tmp_path, {"command": "mine", **stated}, {"name": "n"} if has[2] else {})
    known = [name for name, there in zip("pmn", has) if there]
    assert told.model_name == told.tokenizer == next(iter(known), None)
    assert told.reference == ("m" if has[1] else told.model_name)


def test_a_tokenizer_that_is_named_goes_before_the_policy_s(tmp_path):
    told = metadata(tmp_path, {"command": "import", "tokenizer": "t"}, {"name": "n"})
    assert told.tokenizer == "t" and told.model_name == "n"


def test_a_model_folder_is_found_from_any_working_folder(tmp_path, monkeypatch):
    """The recorded name is the folder as it was typed; config["model"] is where it is."""
    folder = tmp_path / "own"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_text("{}")
    Run.create(tmp_path / "run", TRAINED | {"model": str(folder)}, RECORDED)
    monkeypatch.chdir("/")
    run = Run.open(tmp_path / "run")
    assert _tokenizer(run.path) == asking.model_of(run) == asking.reference_of(run) == str(folder)
    assert run_facts(run, "run", None, []).policy == str(folder)
    assert stored.policy_name(run) == str(folder)


@pytest.mark.parametrize(
    ("command", "added"), [("train", True), ("rollout", False), ("verl", False), ("evaluate", False)]
)
def test_only_training_adds_to_the_options_of_its_model(tmp_path, command, added):
    """A branch added the policy's options to any run's; another policy's to those of a training run."""
    run = Run.create(tmp_path / "run", {"command": command, "model": "tiny", "env": "frozen_lake"})
    run.info["config"]["env_options"] = OPTIONS
    t = SimpleNamespace(env="frozen_lake")
    foreign = SimpleNamespace(env_options={"frozen_lake": {"observation": "full", "max_actions": 3}})
    options = stored.env_options(run)
    assert env_of(run, t, foreign).options.model_dump(mode="json") == options and options["max_turns"] == 4
    assert (options["observation"] == "compact") == added, "the embedded policy was trained on compact observations"


def test_a_branch_of_a_run_without_options_takes_the_policy_s(tmp_path):
    run = Run.create(tmp_path / "run", {"command": "import", "tokenizer": "tiny"}, {"name": "tiny"})
    policy = SimpleNamespace(env_options={"frozen_lake": {"max_turns": 3}})
    assert env_of(run, SimpleNamespace(env="frozen_lake"), policy).options.max_turns == 3


# --- entries of a wrong type -------------------------------------------------------------------

CHECKED = ("command", "env", "policy", "model", "scheme", "tokenizer", "spans", "stamp", "algorithm")


@pytest.mark.parametrize("command", ["rollout", "train", "trl", "evaluate", "import", "mine"])
@pytest.mark.parametrize(
    ("part", "name", "kind"),
    [
        *(("config", name, "text") for name in CHECKED),
        ("config", "env_options", "an object"),
        ("config", "scheme_params", "an object"),
        ("model", "name", "text"),
        ("model", "fingerprint", "text"),
    ],
)
def test_a_wrong_type_is_one_line(tmp_path, command, part, name, kind):
    run = Run.create(tmp_path / "run", {"command": command})
    for value in (5, 1.5, True, [], "" if kind == "an object" else {}):
        run.info[part][name] = value
        (run.path / "run.json").write_text(json.dumps(run.info))
        for read in (lambda: Run.open(run.path), lambda: run.metadata):
            with pytest.raises(ActFocusError) as error:
                read()
            assert str(error.value) == f'{run.path / "run.json"}: "{name}" in "{part}" must be {kind}'


def test_a_part_of_a_wrong_type_is_one_line(tmp_path):
    run = Run.create(tmp_path / "run", {})
    for part in ("config", "model"):
        run.info = {"config": {}, "model": {}, part: []}
        with pytest.raises(ActFocusError, match=f'run.json: "{part}" must be an object'):
            _ = run.metadata


@pytest.mark.parametrize("value", [5, -1, 1.5, True, None, "x", [], ["x", 5], {}, {"x": []}, float("nan"), 10**400])
def test_what_version_1_never_checked_is_not_stated_where_it_is_of_a_wrong_type(tmp_path, value):
    loose = ("temperature", "seed", "filter_share", "approximate", "format", "source", "left_out", "reward_columns")
    told = metadata(tmp_path, {"command": "import", **dict.fromkeys(loose, value)})
    assert told.approximate is (value is True) and isinstance(told.temperature, float)
    assert told.config.left_out in (None, value) and told.config.format in (None, value)
    assert told.config.reward_columns in ((), ("x",))


def test_text_that_is_not_unicode_is_read(tmp_path):
    odd = "\ud800"
    told = metadata(tmp_path, {"policy": odd, odd: odd, "env_options": {odd: odd}, "": 1, "model_dump": 2, "self": 3})
    assert told.model_name == odd and told.env_options == {odd: odd}
    assert told.config_as_written[odd] == odd and told.config_as_written[""] == 1
