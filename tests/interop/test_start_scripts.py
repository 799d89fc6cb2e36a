"""Start scripts with a stranger's text in them: Python, the shell and Hydra read it as that text and run none of it."""

import ast
import json
import os
import subprocess
import sys

import pytest

from actfocus_core.interop.recipes import Setting, command_text, trl_text, verl_text
from actfocus_core.interop.scripts import _environment, hydra_value

STRANGE = [
    'it\'s "quoted"',
    "$(touch pwned) `touch pwned` ; touch pwned & touch pwned",
    "two\nlines\n# not a comment",
    "{{ 7 * 7 }} {% raw %} {# none #}",
    "${oc.env:HOME}",
    "</script>&amp;",
    "back\\slash\\",
    "'''\"\"\" + __import__('os').system('touch pwned') + '",
    "line\u2028separator",
]
ECHO = f"""#!{sys.executable}
import json, os, sys
with open(os.environ["CALLS"], "a") as file:
    file.write(json.dumps([sys.argv[1:], os.environ.get("ACTFOCUS_PARAMS")]) + "\\n")
"""


@pytest.fixture
def executed(tmp_path):
    """What a shell calls when it executes a script: arguments and ACTFOCUS_PARAMS of each call of python or actfocus."""
    programs, folder = tmp_path / "bin", tmp_path / "folder"
    programs.mkdir(), folder.mkdir()
    for name in ("python", "actfocus"):
        (programs / name).write_text(ECHO)
        (programs / name).chmod(0o755)

    def execute(text):
        calls = tmp_path / "calls"
        env = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "CALLS": str(calls)}
        done = subprocess.run(["sh", "-e"], input=text, text=True, env=env, cwd=folder, capture_output=True)
        assert done.returncode == 0 and not done.stderr, done.stderr
        assert not list(folder.iterdir()), "something in the text was executed"
        return [json.loads(line) for line in calls.read_text().splitlines()]

    return execute


@pytest.mark.parametrize("text", STRANGE)
def test_the_shell_hands_a_strange_model_to_verl_as_one_override(text, executed):
    setting = Setting(0.3, 1.25, "entropy", "frozen_lake", {"observation": text}, text)
    (write_prompts, _), (train, params) = executed(verl_text(setting))
    assert write_prompts[0] == "-c"
    call = ast.parse(write_prompts[1]).body[-1].value
    assert [ast.literal_eval(value) for value in call.args] == ["frozen_lake", 1600, "prompts.parquet"]
    assert ast.literal_eval(call.keywords[0].value) == {"observation": text}
    assert f"actor_rollout_ref.model.path={hydra_value(text)}" in train
    assert json.loads(params) == setting.params


@pytest.mark.parametrize("text", STRANGE)
def test_a_strange_model_is_one_literal_of_trl_s_script(text):
    setting = Setting(0.3, 1.25, "entropy", "frozen_lake", {"observation": text}, text)
    module = ast.parse(trl_text(setting))
    assigned = {node.targets[0].id: node.value for node in module.body if isinstance(node, ast.Assign)}
    assert list(assigned) == ["OPTIONS", "config", "trainer"]
    assert ast.literal_eval(assigned["OPTIONS"]) == {"observation": text}
    assert ast.literal_eval(assigned["trainer"].args[0]) == text
    assert len(module.body) == 2 + 3 + 1


@pytest.mark.parametrize("text", STRANGE)
def test_the_shell_hands_a_strange_model_to_the_command_as_one_word(text, executed):
    setting = Setting(0.3, 1.25, "entropy", "frozen_lake", {"observation": text}, text)
    ((words, _),) = executed(command_text(setting))
    assert words[words.index("--model") + 1] == text
    assert words[words.index("--option") + 1] == f"observation={json.dumps(text)}"


HYDRA = {
    "Qwen/Qwen2.5-1.5B": "Qwen/Qwen2.5-1.5B",
    "a folder": "a folder",
    "~/model": "'~/model'",
    "a,b": "'a,b'",
    "it's": r"'it\'s'",
    r"b\'c": r"'b\\\'c'",
    "end\\": r"'end\\'",
    "back\\slash": r"'back\slash'",
    "${oc.env:HOME}": r"'\${oc.env:HOME}'",
    r"a\${x}": r"'a\\\${x}'",
    "null": "'null'",
    "True": "'True'",
    "1e3": "'1e3'",
    "nan": "'nan'",
    " padded ": "' padded '",
    "two\nlines\n": "'two\nlines\n'",
    "": "''",
    "modèle": "'modèle'",
}


@pytest.mark.parametrize("text, written", HYDRA.items())
def test_a_value_of_an_override_is_quoted_where_hydra_would_read_something_else(text, written):
    assert hydra_value(text) == written


@pytest.mark.parametrize("text", [*HYDRA, *STRANGE])
def test_hydra_reads_the_value_back(text):
    parser = pytest.importorskip("hydra.core.override_parser.overrides_parser", reason="Hydra comes with verl")
    from omegaconf import OmegaConf

    value = parser.OverridesParser.create().parse_override(f"path={hydra_value(text)}").value()
    assert OmegaConf.create({"path": value}).path == text


def test_a_template_inserts_no_text_that_is_not_quoted():
    for source in ("{{ name }}", "{{ name|upper }}", "{{ name|hydra }}", "{{ missing }}"):
        with pytest.raises(TypeError, match="without a filter that quotes it"):
            _environment().from_string(source).render(name="x")
    assert (
        _environment().from_string("{{ name|repr }} {{ name|hydra|sh }} {{ 3 }}").render(name="x y") == "'x y' 'x y' 3"
    )
