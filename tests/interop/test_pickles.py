"""No pickle is ever loaded: neither by our code, as it is written, nor by any door a file can come in through."""

import ast
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actfocus_core.analysis.validate import diagnose
from actfocus_core.errors import ActFocusError
from actfocus_core.interop import import_run
from actfocus_core.interop.opening import open_paths
from actfocus_core.paths import assets
from actfocus_core.policy import load_policy, load_tokenizer
from actfocus_core.policy.loading import load_config
from actfocus_core.runs import Run
from actfocus_core.train.checkpoint import load_checkpoint
from tests.core.command import actfocus

HOUSE = Path(__file__).parents[2]
MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}


def unsafe(tree: ast.AST):
    """Line and name of every way in that a file's bytes could have to run."""
    safe_loaders = {
        "yaml.SafeLoader",
        *(
            node.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef) and [ast.unparse(base) for base in node.bases] == ["yaml.SafeLoader"]
        ),
    }
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from ((node.lineno, name) for name in names if name.split(".")[0] in MODULES)
        if isinstance(node, ast.Call):
            called, given = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
            owner, _, name = called.rpartition(".")
            safe = {
                "torch.load": ("weights_only", "True"),
                "np.load": ("allow_pickle", "False"),
                "numpy.load": ("allow_pickle", "False"),
            }
            if (
                called in safe
                and given.get(safe[called][0], "False" if "np" in called or "numpy" in called else "")
                != safe[called][1]
            ):
                yield node.lineno, called
            if name in ("read_pickle", "unsafe_load", "full_load") or called in (
                "eval",
                "exec",
                "os.system",
                "yaml.load",
                "yaml.load_all",
            ):
                yield node.lineno, called
            if (
                given.get("shell") == "True"
                or given.get("trust_remote_code", "False") != "False"
                or given.get("allow_pickle") == "True"
            ):
                yield node.lineno, called
            if (
                name == "from_pretrained"
                and "AutoModel" in owner
                and given.get("use_safetensors") != "True"
                and "gguf_file" not in given
            ):
                yield node.lineno, called
            # vLLM takes a .bin where there is one: its weights are handed over, and a folder is for the shape alone.
            if called.split(".")[-1] == "LLM" and given.get("load_format") != "'dummy'":
                yield node.lineno, called
            if called in ("yaml.compose", "yaml.parse") and given.get("Loader") not in safe_loaders:
                yield node.lineno, called


def test_our_code_has_no_way_to_load_one():
    files = [f for folder in ("actfocus_core", "app", "demos", "benchmarks") for f in (HOUSE / folder).rglob("*.py")]
    found = [(str(f.relative_to(HOUSE)), *at) for f in files for at in unsafe(ast.parse(f.read_text(encoding="utf-8")))]
    assert len(files) > 150 and found == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from cloudpickle import loads",
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "np.load(f, allow_pickle=True)",
        "pd.read_pickle(f)",
        "eval(x)",
        "yaml.load(f)",
        "yaml.compose(t, Loader=yaml.Loader)",
        "class L(yaml.Loader): pass\nyaml.compose(t, Loader=L)",
        "run(c, shell=True)",
        "from_pretrained(x, trust_remote_code=True)",
        "AutoModelForCausalLM.from_pretrained(x)",
        "vllm.LLM(x)",
        "LLM(x, load_format='auto')",
    ],
)
def test_what_is_looked_for_would_be_found(code):
    assert list(unsafe(ast.parse(code)))


# --- from outside --------------------------------------------------------------------------


def wrapped(suffix: str, content: bytes) -> bytes:
    """The pickle as a file of that kind would carry it."""
    if suffix == ".npy":
        # An array of objects: its header is plain, its body a pickle.
        header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n"
        return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + content
    return content


@pytest.mark.parametrize(
    "suffix",
    [
        ".pkl",
        ".pt",
        ".npy",
        ".npz",
        ".bin",
        ".safetensors",
        ".parquet",
        ".jsonl",
        ".jsonl.gz",
        ".parquet.zst",
        ".PKL",
        "",
    ],
)
def test_a_pickle_under_any_name_is_refused_and_does_not_run(suffix, evil, marker, tmp_path):
    folder = tmp_path / "given"
    folder.mkdir()
    file = folder / f"batch{suffix}"
    file.write_bytes(wrapped(suffix, evil))
    for path in (file, folder):
        for work in (
            lambda p: import_run(p, tmp_path / "out", tokenizer="tiny"),
            lambda p: open_paths([p], tmp_path / "runs"),
        ):
            with pytest.raises(ActFocusError) as error:
                work(path)
            assert "\n" not in str(error.value)
        told = actfocus("doctor", path)
        assert told.returncode == 2 and told.stderr.count("\n") == 1 and "Traceback" not in told.stderr
    for load in (load_policy, load_tokenizer, load_config):
        for path in (file, folder):
            with pytest.raises(ActFocusError):
                load(str(path))
    assert not marker.exists() and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "name",
    [
        "pytorch_model.bin",
        "model.safetensors",
        "model.pt",
        "tokenizer.json",
        "tokenizer_config.json",
        "config.json",
        "adapter_model.bin",
        "adapter_model.safetensors",
        "vocab.pkl",
    ],
)
def test_a_model_folder_with_one_does_not_run_it(name, evil, marker, model_folder, tmp_path):
    folder = shutil.copytree(model_folder, tmp_path / "model")
    if name.startswith("adapter"):
        (folder / "config.json").unlink()
        (folder / "adapter_config.json").write_text(
            json.dumps({"base_model_name_or_path": "tiny", "peft_type": "LORA"})
        )
    if name in ("pytorch_model.bin", "model.pt"):
        (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(evil)
    if name == "vocab.pkl":
        load_policy(str(folder), "cpu")
    else:
        with pytest.raises(ActFocusError) as error:
            load_policy(str(folder), "cpu")
        assert "\n" not in str(error.value)
    assert not marker.exists()


def test_a_run_of_pickles_does_not_run(evil, marker, tmp_path):
    source = assets() / "runs/frozen-lake"
    for file in sorted(p.relative_to(source) for p in source.rglob("*") if p.is_file()):
        path = shutil.copytree(source, tmp_path / "run")
        (path / file).write_bytes(evil)
        try:
            run = Run.open(path)
            for t in run.trajectories(0, next(iter(run.references(0)), None)):
                assert t.texts
            diagnose(run)
        except ActFocusError as error:
            assert "\n" not in str(error)
        else:
            raise AssertionError(f"{file} was taken for what it is not")
        shutil.rmtree(path)
    assert not marker.exists()


def test_a_checkpoint_of_pickles_does_not_run(evil, marker, tmp_path):
    (tmp_path / "step-00001").mkdir()
    for file in ("policy.safetensors", "policy-adam.safetensors", "state.json"):
        (tmp_path / "step-00001" / file).write_bytes(evil)
    with pytest.raises(ActFocusError, match="not a whole checkpoint"):
        load_checkpoint(tmp_path, 1, ["policy"])
    assert not marker.exists()


def test_types_that_a_parquet_file_brings_are_not_made(evil, marker, tmp_path):
    """Arrow once loaded a pickle out of a file's schema (CVE-2023-47248)."""
    field = pa.field(
        "messages",
        pa.string(),
        metadata={b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": evil},
    )
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table([pa.array(["x"])], schema=pa.schema([field], metadata={b"pandas": evil})), file)
    with pytest.raises(ActFocusError):
        import_run(file, tmp_path / "out", tokenizer="tiny")
    assert not marker.exists()


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [MARKER]]",
        "- !!python/name:os.system",
        "!!python/module:os x",
    ],
)
def test_a_lesson_makes_no_objects(text, marker, tmp_path):
    from actfocus_studio.pages.learn.lessons import load_lessons

    (tmp_path / "a.yaml").write_text(text.replace("MARKER", str(marker)))
    with pytest.raises(ActFocusError) as error:
        load_lessons([tmp_path / "a.yaml"])
    assert "\n" not in str(error.value) and not marker.exists()
