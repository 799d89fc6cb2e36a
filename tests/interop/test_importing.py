"""Every trainer's files become trajectories with the right kinds, turns, rewards and scores."""

import gzip
import json
import shutil

import numpy as np
import pyarrow as pa
import pytest

from actfocus_core.errors import ActFocusError
from actfocus_core.interop import import_run, recognise
from actfocus_core.runs import Run
from actfocus_core.trajectory import TokenKind
from tests.interop.files import (
    EXACT,
    FIRST,
    FORMATS,
    REPLIES,
    SECOND,
    SYSTEM,
    records,
    same,
    stream,
    write,
)


@pytest.fixture(scope="module")
def imported(tokenizer, tokenizer_folder, tmp_path_factory):
    """name -> the trajectories of its file, and the run."""
    made = {}
    for name in FORMATS:
        folder = tmp_path_factory.mktemp(name)
        path = write(name, folder, records(name, tokenizer))
        run = import_run(path, folder / "run", tokenizer=tokenizer_folder)
        made[name] = Run.open(run.path)
    return made


@pytest.mark.parametrize("name", FORMATS)
def test_the_format_is_recognised(name, imported):
    assert imported[name].info["config"]["format"] == name.removesuffix("-v0")
    assert imported[name].info["config"]["approximate"] == (name not in EXACT)


@pytest.mark.parametrize("name", FORMATS)
def test_groups_rewards_and_success(name, imported):
    ts = imported[name].trajectories()
    if name == "trl":
        assert [t.reward for t in ts] == [1.5, 0.5, 1.5, 0.5]
    else:
        assert [t.reward for t in ts] == [1, 0, 1, 0]
    assert [t.success for t in ts] == [True, False, True, False]
    groups = [t.group for t in ts]
    # Where only the prompt names the group, all four are rollouts of one.
    assert len(set(groups)) == (1 if name in ("trl", "prime-rl", "skyrl") else 2)
    assert len({t.id for t in ts}) == 4 and all(t.ret == t.reward for t in ts)
    assert all(sum(r.reward for r in t.turn_records) == t.reward for t in ts)
    step = {"prime-rl": 3, "verl": 7, "trl": 5, "areal": 2, "verifiers": 4}.get(name, 0)
    assert imported[name].steps() == [step] and {t.step for t in ts} == {step}


@pytest.mark.parametrize("name", FORMATS)
def test_texts_kinds_and_turns(name, imported):
    t = imported[name].trajectories()[1 if name in ("areal", "skyrl") else 0]
    assert "go right" in t.text(TokenKind.REASONING, 0) or name in ("areal", "skyrl")
    if name in ("areal", "skyrl"):
        assert t.text(TokenKind.USER) == FIRST and len(t.turn_records) == 1
        assert t.text(TokenKind.ACTION) == "Down || Down" and t.turn_records[0].actions == ["Down", "Down"]
        return
    assert t.text(TokenKind.SYSTEM).strip() == SYSTEM
    assert t.text(TokenKind.USER).strip().startswith(FIRST) and t.text(TokenKind.USER).strip().endswith(SECOND)
    assert t.text(TokenKind.ACTION, 0) == "Right" and t.text(TokenKind.ACTION, 1) == "Down || Down"
    assert t.text(TokenKind.REASONING) == "go rightnow é🙂"
    assert [r.actions for r in t.turn_records] == [["Right"], ["Down", "Down"]]
    assert [r.response for r in t.turn_records] == [REPLIES[0], REPLIES[1]]
    assert t.turn_records[1].observation.strip() == SECOND
    assert t.turns.min() == -1 and t.turns.max() == 1 and (np.diff(t.turns) >= 0).all()
    assert set(t.turns[t.kinds == TokenKind.SYSTEM]) == {-1}


@pytest.mark.parametrize("name", [f for f in FORMATS if f not in ("areal", "skyrl", "verl")])
def test_every_road_leads_to_the_same_tokens_and_kinds(name, imported, tokenizer):
    """The template's own words and ids, whether they were read from the file or laid out again."""
    t = imported[name].trajectories()[0]
    blocks = stream(tokenizer)
    assert t.token_ids.tolist() == [i for ids, _ in blocks for i in ids]
    assert t.response_mask.tolist() == [sampled for ids, sampled in blocks for _ in ids]
    assert "".join(t.texts) == tokenizer.decode(t.token_ids)
    same(
        t,
        imported["chat"].trajectories()[0],
        but=(
            "id",
            "group",
            "step",
            "reward",
            "rewards",
            "env",
            "model",
            "logprobs",
            "signals",
            "turn_records",
            "columns",
            "agent",
        ),
    )


def test_scores_stand_where_they_were_sampled(imported):
    t = imported["verifiers"].trajectories()[0]
    sampled = t.response_mask
    for values, wanted in ((t.logprobs, -0.5), (t.signals["advantage"], 0.5), (t.signals["ref_logprob"], -0.75)):
        assert (values[sampled] == np.float32(wanted)).all() and np.isnan(values[~sampled]).all()
    assert imported["verifiers"].references() == ["imported"] and t.model == "some-model"
    p = imported["prime-rl"].trajectories()[0]
    assert set(p.signals) == {"advantage", "trainer_logprob", "entropy"}  # mismatch_kl was null all through
    wanted = np.array([-0.25 * (i % 7) for i in range(len(p))], np.float32)
    np.testing.assert_array_equal(p.logprobs, np.where(p.response_mask, wanted, np.float32(np.nan)))
    assert (imported["verifiers-v0"].trajectories()[2].signals["advantage"][sampled] == 0.25).all()
    assert (imported["trl"].trajectories()[0].signals["advantage"][sampled] == 0.5).all()


def test_never_scored_is_not_zero(tokenizer_folder, tokenizer, tmp_path):
    rows = records("chat", tokenizer)
    rows[0].pop("reward")
    rows[1]["reward"] = None
    run = import_run(write("chat", tmp_path, rows), tmp_path / "run", tokenizer=tokenizer_folder)
    rewards = [t.reward for t in run.trajectories()]
    assert np.isnan(rewards[:2]).all() and rewards[2:] == [1.0, 0.0]


def test_a_trace_without_ids_is_tokenised_again(tokenizer_folder, tokenizer, tmp_path, imported):
    rows = records("verifiers", tokenizer)
    for node in (node for row in rows for node in row["traces"][0]["nodes"]):
        node |= {"token_ids": [], "mask": [], "logprobs": []}
        node.pop("advantages", None), node.pop("reference_logprobs", None)
    run = import_run(write("verifiers", tmp_path, rows), tmp_path / "run", tokenizer=tokenizer_folder)
    assert run.info["config"]["approximate"]
    same(run.trajectories()[0], imported["verifiers"].trajectories()[0], but=("logprobs", "signals"))


def test_turns_that_do_not_continue_the_stream_are_segments_of_one_rollout(
    tokenizer_folder, tokenizer, tmp_path, imported
):
    rows = records("verifiers-v0", tokenizer)
    rows[0]["trajectory"][1]["tokens"]["prompt_ids"][3] += 1
    run = import_run(write("verifiers-v0", tmp_path, rows), tmp_path / "run", tokenizer=tokenizer_folder)
    assert not run.info["config"]["approximate"] and run.metadata.provenance.ids.how == "recorded"
    first, second = run.trajectories()[:2]
    whole = imported["verifiers-v0"].trajectories()[0]
    assert first.rollout_id == second.rollout_id and (first.segment, second.segment) == (0, 1)
    assert second.parent == (0, 3) and second.group == first.group == whole.group
    assert len(first) + len(second) > len(whole)
    assert first.loss_mask.sum() + second.loss_mask.sum() == whole.loss_mask.sum()
    assert [turn.response for t in (first, second) for turn in t.turn_records] == REPLIES


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_compressed_files(suffix, tokenizer_folder, tokenizer, tmp_path, imported):
    plain = write("verl", tmp_path, records("verl", tokenizer))
    packed = tmp_path / f"7.jsonl{suffix}"
    if suffix == ".gz":
        packed.write_bytes(gzip.compress(plain.read_bytes()))
    else:
        packed.write_bytes(pa.Codec("zstd").compress(plain.read_bytes(), asbytes=True))
    run = import_run(packed, tmp_path / "run", tokenizer=tokenizer_folder)
    for a, b in zip(run.trajectories(), imported["verl"].trajectories(), strict=True):
        same(a, b)


def test_what_can_be_read_of_a_cut_compressed_file_is_imported(tokenizer_folder, tokenizer, tmp_path):
    packed = tmp_path / "7.jsonl.gz"
    whole = gzip.compress(write("verl", tmp_path, records("verl", tokenizer) * 50).read_bytes())
    packed.write_bytes(whole[:-40])
    run = import_run(packed, tmp_path / "run", tokenizer=tokenizer_folder)
    assert 100 < len(run.index()) < 200
    assert run.info["config"]["left_out"] == {"files that are not complete (still being written?)": 1}
    packed.write_bytes(whole[:15])
    with pytest.raises(ActFocusError, match="is the file complete"):
        import_run(packed, tmp_path / "nothing", tokenizer=tokenizer_folder)
    assert not (tmp_path / "nothing").exists()


def test_a_bad_line_or_record_does_not_stop_an_import(tokenizer_folder, tokenizer, tmp_path):
    rows = records("chat", tokenizer)
    rows[1]["reward"] = "high"
    path = write("chat", tmp_path, rows)
    path.write_text("started\n" + path.read_text() + '{"mess')
    run = import_run(path, tmp_path / "run", tokenizer=tokenizer_folder)
    assert [t.reward for t in run.trajectories()] == [1, 1, 0]
    assert run.info["config"]["left_out"] == {
        "lines that are not JSON objects": 1,
        "records that cannot be read": 1,
        "last lines that are not complete (still being written?)": 1,
    }


def test_a_folder_is_read_in_the_order_of_its_numbers(tokenizer_folder, tokenizer, tmp_path):
    for step in (2, 10):
        rows = [{**row, "step": step} for row in records("verl", tokenizer)]
        (tmp_path / f"{step}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "notes.txt").write_text("not read")
    assert recognise(tmp_path).name == "verl"
    run = import_run(tmp_path, tmp_path / "run", tokenizer=tokenizer_folder)
    assert run.steps() == [2, 10] and len(run.index()) == 8


def test_steps_all_mixed_up(tokenizer_folder, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr("actfocus_core.runs.writer._OPEN_FILES", 3)
    monkeypatch.setattr("actfocus_core.runs.writer.ROWS_PER_GROUP", 2)
    rows = [{**records("chat", tokenizer)[0], "step": step % 7, "group": "g"} for step in range(60)]
    run = import_run(write("chat", tmp_path, rows), tmp_path / "run", tokenizer=tokenizer_folder)
    assert run.steps() == list(range(7)) and len({t.id for t in run.trajectories()}) == 60
    assert not list(run.path.rglob("*.before"))


def test_signals_that_come_late_get_their_column(tokenizer_folder, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr("actfocus_core.runs.writer.ROWS_PER_GROUP", 2)
    rows = records("prime-rl", tokenizer) * 2
    rows[0].pop("entropy"), rows[1].pop("entropy")
    run = import_run(write("prime-rl", tmp_path, rows), tmp_path / "run", tokenizer=tokenizer_folder)
    assert ["entropy" in t.signals for t in run.trajectories()] == [False, False, True, True] * 2


def test_reading_goes_on_in_pieces(tokenizer_folder, tokenizer, tmp_path):
    seen = []
    path = write("chat", tmp_path, records("chat", tokenizer) * 100)
    import_run(path, tmp_path / "run", tokenizer=tokenizer_folder, on_progress=lambda *a: seen.append(a))
    done = [d for d, _ in seen]
    assert done == sorted(done) and len(set(done)) > 10 and seen[-1] == (path.stat().st_size,) * 2


def test_tool_calls_thoughts_and_a_rule_for_them(tokenizer_folder, tmp_path):
    rows = [
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "find "}, {"type": "image_url", "image_url": {}}],
                },
                {
                    "role": "assistant",
                    "content": None,
                    "reasoning_content": "I look",
                    "tool_calls": [
                        {"id": "1", "type": "function", "function": {"name": "find", "arguments": '{"q": "é"}'}}
                    ],
                },
                {"role": "tool", "content": "found", "tool_call_id": "1"},
                {"role": "assistant", "content": "done"},
            ]
        }
    ]
    run = import_run(write("chat", tmp_path, rows), tmp_path / "run", tokenizer=tokenizer_folder, spans="tool_call")
    t = run.trajectories()[0]
    assert t.text(TokenKind.REASONING).strip() == "I look" and t.text(TokenKind.USER).startswith("find ")
    assert "image_url" not in "".join(t.texts) and run.info["config"]["left_out"] == {"image_url parts": 1}
    assert [turn.valid for turn in t.turn_records] == [True, True]
    assert json.loads(t.turn_records[0].actions[0]) == {"name": "find", "arguments": {"q": "é"}}
    assert t.text(TokenKind.ACTION, 0).strip() == t.turn_records[0].actions[0] and t.turn_records[1].actions == []


@pytest.mark.parametrize(
    ("template", "keeps"),
    [
        (
            "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
            "<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n{% endfor %}",
            True,
        ),
        (
            "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content.split('</think>')[-1] }}<|im_end|>\n{% endfor %}",
            True,
        ),
        ("{% for m in messages %}{{ raise_exception('never') }}{% endfor %}", False),
        (None, False),
    ],
)
def test_templates_that_refuse_or_rewrite(template, keeps, tokenizer, tmp_path):
    from tests.conftest import make_tokenizer

    make_tokenizer(template).save_pretrained(tmp_path / "tok")
    path = write("chat", tmp_path, records("chat", tokenizer))
    if not keeps:
        with pytest.raises(ActFocusError, match="chat template"):
            import_run(path, tmp_path / "run", tokenizer=str(tmp_path / "tok"))
        return
    t = import_run(path, tmp_path / "run", tokenizer=str(tmp_path / "tok")).trajectories()[0]
    assert t.text(TokenKind.REASONING) == "go rightnow é🙂" and SYSTEM in t.text(TokenKind.SYSTEM)


@pytest.mark.parametrize(
    ("write_it", "says"),
    [
        (lambda p: (p / "a.pkl").write_bytes(b"x"), "a pickle, which is never loaded"),
        (lambda p: (p / "a.pt").write_bytes(b"x"), "a torch pickle"),
        (lambda p: (p / "a.csv").write_text("x"), "is neither JSON nor Parquet (it begins with 'x')"),
        (lambda p: (p / "a.jsonl").write_text('{"x": 1}\n'), "not a known format (its fields: x)"),
        (lambda p: (p / "a.jsonl").write_text("\n\n"), "is empty; no rollout was written to it"),
        (lambda p: (p / "a.jsonl").write_text('{"messages": "x"\n{"mess'), "a.jsonl, line 1: not JSON"),
        (lambda p: (p / "a.jsonl").write_text("[1]"), "a.jsonl, line 1: is a list"),
        (lambda p: (p / "a.jsonl").write_bytes(b'{"messages": "\xff"}'), "line 1: not UTF-8 at byte"),
        (
            lambda p: (p / "a.jsonl").write_text('{"messages": [{"role": "king", "content": ""}]}'),
            "'messages'[0]: 'role' is 'king'",
        ),
        (
            lambda p: (p / "a.jsonl").write_text('{"messages": [{"role": "user", "content": 3}]}'),
            "'content' is 3; it must be",
        ),
        (
            lambda p: (p / "a.jsonl").write_text('{"messages": [{"role": "user", "content": "\\ud800"}]}'),
            "half of a surrogate pair",
        ),
        (
            lambda p: (p / "a.jsonl").write_text('{"messages": [], "reward": "high"}'),
            """'reward' is "high"; it must be a number""",
        ),
        (
            lambda p: (p / "a.jsonl").write_text('{"token_ids": [1], "loss_mask": [2], "inference_logprobs": [0]}'),
            "'loss_mask'[0] is 2",
        ),
        (
            lambda p: (p / "a.jsonl").write_text('{"token_ids": [1], "loss_mask": [1, 0], "inference_logprobs": [0]}'),
            "'loss_mask' has 2 values; it must have 1, one per token",
        ),
        (
            lambda p: (p / "a.jsonl").write_text(
                '{"token_ids": [999999], "loss_mask": [1], "inference_logprobs": [0]}'
            ),
            "line 1: token id 999999 is not in the vocabulary",
        ),
        (lambda p: (p / "a.parquet").write_bytes(b"PAR1"), "not readable as Parquet"),
        (lambda p: (p / "a.jsonl").write_text("[" * 100_000), "nested too deep"),
    ],
)
def test_bad_files_are_one_line_that_says_where(write_it, says, tokenizer_folder, tmp_path):
    write_it(tmp_path)
    path = next(tmp_path.iterdir())
    with pytest.raises(ActFocusError) as error:
        import_run(path, tmp_path / "run", tokenizer=tokenizer_folder)
    assert says in str(error.value) and "\n" not in str(error.value)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_tokenizer_is_asked_for_and_pickles_in_folders_are_refused(tmp_path, tokenizer):
    path = write("verl", tmp_path, records("verl", tokenizer))
    with pytest.raises(ActFocusError, match="--tokenizer"):
        import_run(path, tmp_path / "run")
    with pytest.raises(ActFocusError, match="no such tokenizer"):
        import_run(path, tmp_path / "run", tokenizer="nowhere at all")
    path.unlink()
    (tmp_path / "batch.pkl").write_bytes(b"x")
    with pytest.raises(ActFocusError, match="never loaded"):
        import_run(tmp_path, tmp_path / "run", tokenizer="tiny")
    shutil.rmtree(tmp_path)
    with pytest.raises(ActFocusError, match="no such file"):
        import_run(tmp_path, tmp_path / "run", tokenizer="tiny")
