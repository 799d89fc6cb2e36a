"""Child processes are started in one place, import nothing from the working folder, and end with what they began."""

import ast
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from actfocus_core import processes

ROOT = Path(__file__).parents[2]
HELPER = ROOT / "actfocus_core/processes.py"
STARTERS = {
    "subprocess": {"Popen", "run", "call", "check_call", "check_output", "getoutput", "getstatusoutput"},
    "os": {
        "system",
        "popen",
        "fork",
        "forkpty",
        "posix_spawn",
        "posix_spawnp",
        "startfile",
        *(f"{kind}{end}" for kind in ("exec", "spawn") for end in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")),
    },
    "pty": {"spawn", "fork"},
    "asyncio": {"create_subprocess_exec", "create_subprocess_shell"},
    "concurrent.futures": {"ProcessPoolExecutor"},
}
WHOLE = {"multiprocessing", "torch.multiprocessing", "concurrent.futures.process", "commands", "popen2"}
"""Modules that are for starting processes alone."""


def starts(source: str) -> list[int]:
    """The lines of a module that start a process, or take hold of what starts one."""
    tree = ast.parse(source)
    names, found = {}, []
    hints = {
        id(node)
        for one in ast.walk(tree)
        for hint in (getattr(one, "annotation", None), getattr(one, "returns", None))
        if hint
        for node in ast.walk(hint)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
                if alias.name in WHOLE:
                    found.append(node.lineno)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                names[alias.asname or alias.name] = whole
                if node.module in WHOLE or whole in WHOLE or alias.name in STARTERS.get(node.module or "", ()):
                    found.append(node.lineno)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and id(node) not in hints:
            module, _, name = dotted(node, names).rpartition(".")
            if name in STARTERS.get(module, ()) or module in WHOLE:
                found.append(node.lineno)
        elif (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("__import__", "getattr")
        ):
            said = [one.value for one in node.args if isinstance(one, ast.Constant)]
            if {"subprocess", "multiprocessing"} & set(said) or any(
                word in some for word in said for some in STARTERS.values()
            ):
                found.append(node.lineno)
    return sorted(set(found))


def dotted(node: ast.expr, names: dict[str, str]) -> str:
    """``a.b.c`` as it was imported; empty where it begins with something else than a name."""
    if isinstance(node, ast.Attribute):
        before = dotted(node.value, names)
        return before and f"{before}.{node.attr}"
    return names.get(node.id, "") if isinstance(node, ast.Name) else ""


def test_every_process_of_the_product_is_started_by_the_helper():
    files = [
        file
        for folder in ("actfocus_core", "app", "demos", "benchmarks")
        for file in sorted((ROOT / folder).rglob("*.py"))
    ]
    assert len(files) > 200 and HELPER in files
    assert starts(HELPER.read_text(encoding="utf-8")), "the search finds nothing at all"
    assert {
        str(file.relative_to(ROOT)): found
        for file in files
        if file != HELPER and (found := starts(file.read_text(encoding="utf-8")))
    } == {}


@pytest.mark.parametrize(
    "source",
    [
        "import subprocess\nsubprocess.run(['x'])",
        "import subprocess as s\ns.Popen(['x'])",
        "from subprocess import Popen",
        "import os\nos.fork()",
        "from os import system",
        "import os\ngo = os.execvp",
        "import multiprocessing",
        "from torch import multiprocessing",
        "import torch.multiprocessing as mp",
        "from concurrent.futures import ProcessPoolExecutor",
        "import concurrent.futures as f\nf.ProcessPoolExecutor()",
        "import asyncio\nasyncio.create_subprocess_exec('x')",
        "import subprocess\nmap(subprocess.check_output, [])",
        "import os\ngetattr(os, 'system')('x')",
        "__import__('subprocess')",
        "import torch\ntorch.multiprocessing.spawn(f)",
    ],
)
def test_the_search_knows_the_ways_to_start_a_process(source):
    assert starts(source)


def test_a_type_or_a_constant_of_subprocess_starts_nothing():
    assert not starts(
        "import subprocess\nx: dict[str, subprocess.Popen] = {}\ndef f(p: subprocess.Popen): return subprocess.PIPE"
    )


@pytest.fixture
def stranger(tmp_path, monkeypatch) -> Path:
    """The working folder holds modules by the names of ours and of our dependencies; what is imported of them leaves a line."""
    folder, marker = tmp_path / "stranger", tmp_path / "imported"
    folder.mkdir()
    for name in (
        "typer",
        "rich",
        "numpy",
        "json",
        "torch",
        "pydantic",
        "app",
        "actfocus_core",
        "sitecustomize",
        "usercustomize",
    ):
        (folder / f"{name}.py").write_text(
            f"open({str(marker)!r}, 'a').write({name!r} + chr(10))\nraise SystemExit(0)\n"
        )
    monkeypatch.chdir(folder)
    return marker


@pytest.mark.parametrize("path", [None, "", ".empty:", ":"])
def test_a_child_imports_nothing_from_the_working_folder(stranger, monkeypatch, path):
    """Neither does a child of its own, nor where PYTHONPATH has an empty entry, which stands for the working folder."""
    if path is None:
        monkeypatch.delenv("PYTHONPATH", raising=False)
    else:
        monkeypatch.setenv("PYTHONPATH", path)
    done = processes.run(processes.python("actfocus_core.cli", "--version"))
    assert done.returncode == 0 and done.stdout.strip()
    grandchild = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import typer; print(typer.__file__)'])"
    done = processes.run([sys.executable, "-P", "-c", grandchild])
    assert "site-packages" in done.stdout and not stranger.exists()


def test_the_way_it_was_done_before_would_have_run_them(stranger):
    subprocess.run(
        [sys.executable, "-m", "actfocus_core.cli", "--version"],
        capture_output=True,
        env={k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"},
    )
    assert stranger.exists()


def test_a_child_leads_a_group_that_is_ended_with_it():
    """A grandchild that takes no notice of SIGTERM is gone as well."""
    grandchild = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    child = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {grandchild!r}]); time.sleep(600)"
    process = processes.start([sys.executable, "-c", child], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "up\n" and os.getpgid(process.pid) == process.pid != os.getpgid(0)
    family = [process.pid, *(one.pid for one in psutil.Process(process.pid).children(recursive=True))]
    processes.end(process, 0.5)
    assert len(family) == 2 and process.returncode == -signal.SIGTERM and ended(family[1])
    processes.end(process, 0.5)


def ended(pid: int, seconds: float = 20) -> bool:
    """Whether a process ends soon; one that nobody waits for is a zombie then."""
    until = time.monotonic() + seconds
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_told_to_end_leaves_nothing_half_made(tmp_path, number):
    """An import is made in a hidden folder, which goes with the command."""
    line = json.dumps(
        {
            "messages": [
                {"role": "user", "content": "door? " * 200},
                {"role": "assistant", "content": "<answer>left</answer>"},
            ],
            "reward": 1,
        }
    )
    source, out = tmp_path / "chat.jsonl", tmp_path / "made"
    source.write_text(f"{line}\n" * 30_000)
    out.mkdir()
    command = processes.python(
        "actfocus_core.cli",
        "import",
        "chat",
        source,
        "--tokenizer",
        "tiny",
        "--progress",
        "jsonl",
        "--out",
        out / "run",
    )
    process = processes.start(command, stderr=subprocess.PIPE, text=True)
    process.stderr.readline()
    assert [file.name for file in out.iterdir()] == [f".run.{process.pid}.part"]
    process.send_signal(number)
    process.stderr.read()
    assert process.wait() == 130 and list(out.iterdir()) == []


def test_a_command_under_nohup_outlives_its_terminal():
    code = (
        "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); from actfocus_core.processes import interrupt_on_termination_signals as f; "
        "f(); import os; os.kill(os.getpid(), signal.SIGHUP); print('alive')"
    )
    assert processes.run([sys.executable, "-c", code]).stdout == "alive\n"
