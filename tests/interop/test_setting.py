"""A setting as text: what it says is the setting, and what can run does run."""

import ast
import json
import shlex

import click
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from actfocus_core.cli import app
from actfocus_core.errors import ActFocusError
from actfocus_core.interop.recipes import EXPORTS, Setting, command_text, trl_text, verl_text

TUNED = Setting(
    0.3,
    1.25,
    "entropy",
    "sokoban",
    {"max_turns": 7, "actions_per_turn": 2, "observation": "compact", "unknown": 1},
    "a folder",
)


def test_the_command_line_is_one_of_ours_and_says_the_setting():
    words = shlex.split(command_text(TUNED).replace("\\\n", " "))
    assert words[:2] == ["actfocus", "train"]
    command = get_command(app)
    train = command.get_command(click.Context(command), "train")
    given = train.make_context("train", words[2:]).params
    assert (given["scheme"], given["alpha"], given["beta"], given["signal"]) == ("actfocus", 0.3, 1.25, "entropy")
    assert (given["env"], given["model"]) == ("sokoban", "a folder")
    # Only what is not the environment's default.
    assert list(given["option"]) == ["max_turns=7", 'observation="compact"']


def test_trl_s_script_is_python_that_names_the_plug_in():
    text = trl_text(TUNED)
    calls = {
        node.func.id: {k.arg: k.value for k in node.keywords}
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert ast.literal_eval(calls["ActFocusGRPOTrainer"]["scheme_params"]) == TUNED.params
    assert ast.literal_eval(calls["GRPOConfig"]["beta"]) == 0 and "actfocus_core.plugins.trl" in text.splitlines()[0]


def test_trl_s_script_plays_the_environment_or_takes_the_user_s_rollouts():
    assert "boards('sokoban', 1600, **OPTIONS)" in trl_text(TUNED) and "'max_turns': 7" in trl_text(TUNED)
    general = trl_text(Setting(0.1, 0.5))
    ast.parse(general)
    assert "REWARD" in general and "boards" not in general


def test_verl_s_command_is_a_line_of_shell_with_the_setting_as_json():
    prompts, command = verl_text(TUNED).split("\n", 2)[1:]
    script = shlex.split(prompts)[2]
    ast.parse(script)
    assert "prompts('sokoban', 1600, 'prompts.parquet', **{'max_turns': 7" in script
    words = shlex.split(command.replace("\\\n", " "))
    environment = dict(word.split("=", 1) for word in words[:3])
    assert json.loads(environment["ACTFOCUS_PARAMS"]) == TUNED.params
    assert environment["VERL_USE_EXTERNAL_MODULES"] == "actfocus_core.plugins.verl_ray"
    overrides = dict(word.split("=", 1) for word in words[6:])
    assert overrides["actor_rollout_ref.model.path"] == "a folder"
    assert overrides["actor_rollout_ref.actor.policy_loss.loss_mode"] == "actfocus"


@pytest.mark.parametrize("format, compiles", [("trl", True), ("verl", False)])
def test_a_run_s_setting_is_exported_to_start_another_trainer_with(run, tmp_path, format, compiles):
    out = tmp_path / "start"
    made = CliRunner().invoke(
        app, ["export", str(run.path), "--format", format, "--out", str(out), "--alpha", "0.25", "--json"]
    )
    assert made.exit_code == 0 and json.loads(made.output)["file"] == str(out), made.output
    text = out.read_text()
    assert "0.25" in text
    if compiles:
        ast.parse(text)
        assert "frozen_lake" in text
    again = CliRunner().invoke(app, ["export", str(run.path), "--format", format, "--out", str(out)])
    assert again.exit_code != 0 and out.read_text() == text


def test_what_is_not_here_says_so():
    for name, text in EXPORTS.items():
        written = text.write(TUNED)
        assert text.installed == ("which this version does not have" not in written), name
    assert EXPORTS["python"].installed and EXPORTS["command"].installed


def test_another_trainer_s_environment_leaves_the_command_general():
    assert "--env" not in command_text(Setting(0.1, 0.5)) and "--model" not in command_text(Setting(0.1, 0.5))


@pytest.mark.parametrize(
    "values",
    [
        (-0.1, 0.5),
        (1.1, 0.5),
        (float("nan"), 0.5),
        (0.1, -1),
        (0.1, float("inf")),
        (0.1, 0.5, "luck"),
        (0.1, 0.5, "energy", "chess"),
    ],
)
def test_a_setting_out_of_range_is_refused(values):
    with pytest.raises(ActFocusError):
        Setting(*values)
