"""The command as a user types it; where a process of its own matters, in one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from actfocus_core.envs.webshop.synthetic import make_records
from actfocus_core.runs import Run
from tests.core.command import actfocus


def spawn(*arguments, cwd=None) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "actfocus_core.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=240,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, dict]:
    """A run made by the command, and what it printed."""
    folder = tmp_path_factory.mktemp("cli")
    result = spawn(
        "rollout", "--prompts", 3, "--rollouts", 2, "--out", folder / "mine", "--json", "--progress", "none", cwd=folder
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return folder / "mine", json.loads(result.stdout)


def test_rollout_makes_a_scored_run(made):
    path, printed = made
    run = Run.open(path)
    assert printed["trajectories"] == len(run.index()) == 6 and printed["groups"] == 3
    assert run.references() == ["tiny"] and run.info["config"]["env_options"]["observation"] == "compact"
    assert run.info["model"]["fingerprint"]


def test_the_same_command_makes_the_same_trajectories(made, tmp_path):
    path, _ = made
    assert actfocus("rollout", "--prompts", 3, "--rollouts", 2, "--out", tmp_path / "again").returncode == 0
    first, second = (Run.open(p).trajectories() for p in (path, tmp_path / "again"))
    assert [t.token_ids.tolist() for t in first] == [t.token_ids.tolist() for t in second]


def test_progress_as_json_lines(tmp_path):
    result = actfocus("rollout", "--prompts", 2, "--rollouts", 2, "--out", tmp_path / "r", "--progress", "jsonl")
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert lines[-1] == {"phase": "score", "done": 4, "total": 4}
    assert {"phase": "rollout", "done": 4, "total": 4} in lines


def test_score_adds_what_rollout_left_out(tmp_path, made):
    actfocus("rollout", "--prompts", 1, "--rollouts", 2, "--out", tmp_path / "r", "--no-score")
    missing = json.loads(actfocus("credit", tmp_path / "r", "--json").stdout)["schemes"][1]
    assert missing["scheme"] == "actfocus" and missing["missing"] == ["energy"] and "kinds" not in missing
    assert json.loads(actfocus("score", tmp_path / "r", "--json").stdout)["trajectories"] == 2
    rows = json.loads(actfocus("credit", tmp_path / "r", "--json").stdout)["schemes"]
    assert not rows[1]["missing"]


def test_credit_gives_actions_more_under_actfocus(made):
    result = json.loads(actfocus("credit", made[0], "--json").stdout)
    share = {row["scheme"]: row["kinds"]["action"]["mass_share"] for row in result["schemes"]}
    assert share["uniform"] < share["energy_only"] < share["role_only"] < share["actfocus"]
    table = actfocus("credit", made[0], "--scheme", "actfocus", "--alpha", 0.3).stdout
    assert "actfocus" in table and "%" in table


def test_credit_of_every_scheme_says_what_is_missing(made):
    result = json.loads(actfocus("credit", made[0], "--scheme", "all", "--json").stdout)
    rows = {row["scheme"]: row for row in result["schemes"]}
    assert rows["vineppo"]["missing"] == ["policy_v"] and "kinds" not in rows["vineppo"]
    assert rows["uniform"]["sign_flips"] in (0, None)
    assert set(result["spearman"]) == {name for name, row in rows.items() if not row["missing"]}
    text = actfocus("credit", made[0], "--scheme", "uniform,shuffle:actfocus,vineppo").stdout
    assert "unavailable: vineppo: no policy_v" in text and "shuffle:actfocus" in text and "…" not in text


def test_diagnose_gives_the_same_numbers_as_a_table_and_as_json(tmp_path):
    sample = Path(__file__).parents[2] / "assets" / "runs" / "frozen-lake"
    found = json.loads(actfocus("diagnose", sample, "--json", "--bootstrap", 100).stdout)
    assert len(found["groups"]) >= 8 and found["confound"]["binary"] in (True, False)
    row = next(r for r in found["correlations"] if (r["signal"], r["part"]) == ("energy", "action"))
    assert -1 <= row["low"] <= row["rho"] <= row["high"] <= 1
    text = actfocus("diagnose", sample, "--bootstrap", 100).stdout
    assert f"{row['rho']:.3f} [{row['low']:.3f}, {row['high']:.3f}]" in text and "success rate" in text


def test_report_is_one_file(made, tmp_path):
    result = actfocus("report", made[0], "--out", tmp_path / "report.html", "--bootstrap", 20, "--json")
    printed = json.loads(result.stdout)
    assert printed["bytes"] == (tmp_path / "report.html").stat().st_size and "uniform" in printed["schemes"]
    refused = actfocus("report", made[0], "--out", tmp_path / "no" / "such" / "report.html")
    assert refused.returncode == 2 and len(refused.stderr.splitlines()) == 1


def test_diagnose_under_eight_groups_says_why_there_is_no_rho(made):
    result = actfocus("diagnose", made[0])
    assert result.returncode == 0 and "3 groups are fewer than 8" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["credit", "nowhere"], "no such run"),
        (["score", "nowhere"], "no such run"),
        (["diagnose", "nowhere"], "no such run"),
        (["report", "nowhere"], "no such run"),
        (["app", "nowhere"], "no such run"),
        (["app", "--host", "0.0.0.0"], "--auth"),
        (["rollout", "--policy", "no-such-model"], "no such policy"),
        (["rollout", "--policy", "."], "no config.json"),
        (["rollout", "--env", "chess"], "unknown environment 'chess'"),
        (["rollout", "-o", "slippery=perhaps"], "slippery"),
        (["rollout", "-o", "slippery"], "KEY=VALUE"),
        (["rollout", "--prompts", "0"], "--prompts"),
        (["rollout", "--temperature", "-1"], "--temperature"),
        (["rollout", "--temperature", "nan"], "temperature"),
        (["rollout", "--device", "cuda"], "CUDA"),
        (["rollout", "--colour", "red"], "--colour"),
        (["rollout", "--env", "sokoban", "--catalogue", "shop.json"], "sokoban has no products"),
        (["rollout", "--env", "webshop", "--catalogue", "shop.json"], "shop.json"),
        (["train", "--model", "no-such-model"], "no such policy"),
        (["train", "--env", "chess"], "unknown environment 'chess'"),
        (["train", "--scheme", "magic"], "unknown scheme"),
        (["train", "--algorithm", "dpo"], "--algorithm"),
        (["train", "--preset", "slow"], "unknown preset 'slow'"),
        (["train", "--set", "lr=fast"], "lr='fast'"),
        (["train", "--set", "lr"], "--set 'lr'"),
        (["train", "--steps", "0"], "--steps"),
        (["train", "--resume", "nowhere"], "no such run"),
        (["train", "--resume", "nowhere", "--out", "there"], "omit --out or --resume"),
        (["eval", "no-such-model"], "no such policy"),
        (["eval", "--env", "chess"], "unknown environment 'chess'"),
        (["fly"], "fly"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2_and_nothing_is_written(arguments, says, tmp_path):
    result = actfocus(*arguments, cwd=tmp_path)
    assert result.returncode == 2, result
    assert len(result.stderr.strip().splitlines()) == 1 and says in result.stderr, result.stderr
    assert result.stdout == "" and list(tmp_path.iterdir()) == []


def test_a_process_of_its_own_says_the_same(tmp_path):
    result = spawn("credit", "nowhere", cwd=tmp_path)
    assert (
        result.returncode == 2
        and result.stdout == ""
        and result.stderr == actfocus("credit", "nowhere", cwd=tmp_path).stderr
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--alpha", "1.5"], "--alpha"),
        (["--alpha", "nan"], "alpha"),
        (["--beta", "-1"], "--beta"),
        (["--signal", "luck"], "unknown signal"),
        (["--scheme", "magic"], "unknown scheme"),
        (["--scheme", "mirror:actfocus"], "unknown control 'mirror'"),
        (["--step", "7"], "no trajectories of step 7"),
        (["--reference", "other"], "no signals of 'other'"),
    ],
)
def test_bad_options_of_credit(arguments, says, made):
    result = actfocus("credit", made[0], *arguments)
    assert result.returncode == 2 and says in result.stderr and len(result.stderr.splitlines()) == 1


def test_a_run_that_exists_is_not_overwritten(made):
    before = sorted(p.stat().st_mtime_ns for p in made[0].rglob("*"))
    result = actfocus("rollout", "--out", made[0])
    assert result.returncode == 2 and "already exists" in result.stderr
    assert before == sorted(p.stat().st_mtime_ns for p in made[0].rglob("*"))


def test_train_then_resume(tmp_path):
    """Two steps, then one more, and the trained policy plays."""
    small = [f"--set={pair}" for pair in ("prompts=2", "rollouts=2", "eval_prompts=2", "eval_rollouts=1")]
    result = actfocus(
        "train",
        "--out",
        tmp_path / "run",
        "--steps",
        2,
        "--beta",
        0.25,
        "-o",
        "slippery=true",
        *small,
        "--json",
        "--progress",
        "jsonl",
    )
    assert result.returncode == 0, result.stderr
    printed = json.loads(result.stdout)
    assert printed["state"] == "finished" and printed["steps"] == 2 and "eval/t1/success after" in printed
    progress = [json.loads(line) for line in result.stderr.splitlines()]
    assert {"phase": "train", "done": 2, "total": 2} in progress and {"rollout", "score", "evaluate"} <= {
        p["phase"] for p in progress
    }
    info = Run.open(tmp_path / "run").info["config"]
    assert (
        info["scheme"] == "actfocus"
        and info["scheme_params"] == {"beta": 0.25}
        and info["env_options"] == {"slippery": True}
    )
    again = actfocus("train", "--resume", tmp_path / "run")
    assert again.returncode == 2 and "is finished" in again.stderr and len(again.stderr.strip().splitlines()) == 1
    longer = actfocus("train", "--resume", tmp_path / "run", "--steps", 3, "--json", "--progress", "none")
    assert json.loads(longer.stdout)["steps"] == 3 and longer.stderr == ""
    evaluated = actfocus(
        "eval",
        tmp_path / "run/policy",
        "--prompts",
        2,
        "--rollouts",
        1,
        "--temperature",
        1,
        "--json",
        "--progress",
        "none",
    )
    assert evaluated.returncode == 0, evaluated.stderr
    scores = json.loads(evaluated.stdout)
    assert (
        scores["t1/trajectories"] == 2
        and 0 <= scores["t1/success_low"] <= scores["t1/success"]
        and "t0.5/success" not in scores
    )


def test_a_product_file_takes_the_place_of_the_embedded_catalogue(tmp_path):
    (tmp_path / "shop.json").write_text(json.dumps(make_records(3, ("fashion",))[:12]))
    result = actfocus(
        "rollout",
        "--env",
        "webshop",
        "--catalogue",
        "shop.json",
        "--prompts",
        1,
        "--rollouts",
        1,
        "-o",
        "max_turns=1",
        "--out",
        "mine",
        "--json",
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    assert Run.open(tmp_path / "mine").info["config"]["env_options"]["catalogue"] == str(tmp_path / "shop.json")


def test_broken_parquet_is_one_line(made, tmp_path):
    import shutil

    broken = shutil.copytree(made[0], tmp_path / "broken")
    next((broken / "trajectories").glob("*.parquet")).write_bytes(b"PAR1 not really")
    result = actfocus("credit", broken)
    assert result.returncode == 2 and "not readable as Parquet" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "code",
    [
        "import actfocus_core",
        "import actfocus_core.trajectory, actfocus_core.credit",
        "import actfocus_core.train",
        "import sys; sys.argv = ['actfocus', '--help']\n"
        "from actfocus_core.cli import main\ntry: main()\nexcept SystemExit: pass",
    ],
)
def test_help_and_the_package_import_neither_torch_nor_gradio(code):
    check = code + "\nimport sys; assert not {'torch', 'gradio', 'transformers'} & set(sys.modules)"
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_every_command_has_help():
    assert actfocus("--help").returncode == 0
    for command in (
        "app",
        "rollout",
        "score",
        "credit",
        "train",
        "eval",
        "import",
        "export",
        "doctor",
        "diagnose",
        "report",
    ):
        result = actfocus(command, "--help")
        assert result.returncode == 0 and "--json" in result.stdout
