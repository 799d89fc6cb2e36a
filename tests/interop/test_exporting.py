"""What is exported reads back, in ours and in other programs' hands."""

import csv
import html.parser
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actfocus_core.advantages import grpo_advantages
from actfocus_core.credit import Batch, get_scheme
from actfocus_core.errors import ActFocusError
from actfocus_core.interop import import_run
from actfocus_core.interop.exporting import Selection, export_run
from actfocus_core.interop.formats.native import to_record, trajectories
from actfocus_core.interop.omissions import Omissions
from actfocus_core.interop.reading import DataFile, Record
from actfocus_core.runs import Run
from actfocus_core.trajectory import RECORDED, TokenKind, Trajectory, Turn
from tests.core.test_cli import actfocus
from tests.interop.files import same


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_our_own_formats_read_back_exactly(format, run, rollouts, tmp_path):
    path, count = export_run(run, tmp_path / f"out.{format}", format)
    assert count == len(rollouts)
    again = import_run(path, tmp_path / "again")
    assert again.info["config"]["format"] == format and not again.info["config"]["approximate"]
    for a, b in zip(rollouts, again.trajectories(), strict=True):
        same(a, b)


floats = st.floats(width=32, allow_infinity=False)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)


@st.composite
def some_trajectory(draw) -> Trajectory:
    length = draw(st.integers(1, 8))

    def column(items):
        return draw(st.lists(items, min_size=length, max_size=length))

    return Trajectory(
        id=draw(st.text("abc/é ", min_size=1, max_size=8)),
        token_ids=column(st.integers(0, 2**31 - 1)),
        kinds=column(st.integers(0, 5)),
        turns=sorted(column(st.integers(-1, 3))),
        logprobs=column(floats),
        texts=column(words),
        signals={"entropy": column(floats), "ref_energy": column(floats)},
        turn_records=[
            Turn(
                draw(words),
                draw(words),
                [draw(words)],
                draw(st.booleans()),
                0.5,
                -0.1,
                draw(words),
                {"k": [draw(words), 1]},
                messages=draw(st.none() | st.lists(st.dictionaries(words, words))),
                tools=draw(st.none() | words),
                calls=draw(st.none() | st.lists(words)),
            )
        ],
        group=draw(words),
        env=draw(words),
        seed=draw(st.integers(-(2**40), 2**40)),
        rollout=draw(st.integers(0, 99)),
        step=draw(st.integers(0, 9)),
        reward=draw(st.floats(allow_infinity=False)),
        success=draw(st.sampled_from([True, False, None])),
        rollout_id=draw(words),
        segment=(segment := draw(st.integers(0, 9))),
        parent=(segment - 1, draw(st.integers(0, length))) if segment and draw(st.booleans()) else None,
        agent=draw(words),
        trainable=draw(st.booleans()),
        in_loss=draw(st.none() | st.just(column(st.booleans()))),
        recorded={name: column(floats) for name in draw(st.sets(st.sampled_from([*RECORDED]), max_size=2))},
        policy_version=draw(st.none() | st.just(column(st.integers(-1, 2**31 - 1)))),
        rewards={draw(words): (draw(floats), float("nan")) for _ in range(draw(st.integers(0, 2)))},
        error=draw(words),
        stop_reason=draw(words),
    )


@given(some_trajectory())
def test_any_trajectory_survives_json(t):
    line = json.dumps(to_record(t), allow_nan=False)
    same(t, next(trajectories(Record(json.loads(line), "here"), None)))


@given(some_trajectory())
def test_any_trajectory_survives_parquet(tmp_path_factory, t):
    from actfocus_core.interop.formats import FORMATS
    from actfocus_core.runs import write_trajectories

    path = tmp_path_factory.mktemp("p") / "one.parquet"
    write_trajectories([t], path)
    same(t, next(FORMATS["parquet"].read(DataFile(path), Omissions(strict=True))))


def test_an_unknown_success_is_exported_as_null_and_selected_by_neither(rollouts, tmp_path):
    some = [replace(t, success=known) for t, known in zip(rollouts, [True, False, None])]
    run = Run.create(tmp_path / "r", {})
    run.add_trajectories(0, some)
    for success, t in ((True, some[0]), (False, some[1])):
        assert Selection(success=success).of(run.index()) == [t.id]
    path, _ = export_run(run, tmp_path / "x.jsonl", "jsonl")
    assert [json.loads(line)["success"] for line in path.read_text().splitlines()] == [True, False, None]
    assert [t.success for t in import_run(path, tmp_path / "again").trajectories()] == [True, False, None]


def test_weighted_advantages_name_the_tokens_in_the_loss(rollouts, tmp_path):
    """Another trainer's loss mask is kept, and an agent that is not trained has none."""
    some = [replace(t, in_loss=np.arange(len(t)) % 2 == 0) for t in rollouts]
    some.append(replace(rollouts[0], id="judge", trainable=False, reward=float("nan")))
    run = Run.create(tmp_path / "r", {})
    run.add_trajectories(0, some)
    path, _ = export_run(run, tmp_path / "a.jsonl", "advantages", scheme="uniform")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for t, row in zip(some, rows, strict=True):
        assert row["response_mask"] == t.loss_mask.astype(int).tolist()
        assert not np.array(row["advantages"])[~t.loss_mask].any()
    assert not any(rows[-1]["response_mask"]) and rows[-1]["return"] is None


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("in_loss", [1], "'in_loss' has 1 values"),
        ("policy_version", ["x"], "'policy_version'.0. is"),
        ("recorded", {"value": "x"}, "'value' is"),
        ("recorded", {"worth": None}, None),
        ("rewards", {"a": 1}, "'a' is 1; it must be an object"),
        ("parent", [0, 1], "'parent' is a list"),
        ("segment", -1, "'segment' is -1"),
        ("trainable", "no", "'trainable' is"),
        ("error", 5, "'error' is 5"),
    ],
)
def test_a_wrong_field_of_a_line_is_named(field, value, says, rollouts, tmp_path):
    file = tmp_path / "x.jsonl"
    file.write_text(json.dumps(to_record(rollouts[0]) | {field: value}) + "\n")
    if says is None:
        assert import_run(file, tmp_path / "r").trajectories()[0].recorded == {}
        return
    with pytest.raises(ActFocusError, match=says) as error:
        import_run(file, tmp_path / "r")
    assert "x.jsonl, line 1" in str(error.value)


def test_a_selection_is_all_of_its_conditions(run, rollouts, tmp_path):
    winners = [t.id for t in rollouts if t.success]
    group = rollouts[5].group
    both = [t.id for t in rollouts if t.group == group and t.success]
    for selection, wanted in (
        (Selection(success=True), winners),
        (Selection(groups=(group,), success=True), both),
        (Selection(ids=(rollouts[3].id, rollouts[1].id)), [rollouts[1].id, rollouts[3].id]),
        (Selection(step=0, limit=2), [t.id for t in rollouts[:2]]),
    ):
        assert selection.of(run.index()) == wanted
    for selection, says in (
        (Selection(ids=("no",)), "no trajectory 'no'"),
        (Selection(groups=("no",)), "no group 'no'"),
        (Selection(step=9), "selection is empty"),
    ):
        with pytest.raises(ActFocusError, match=says):
            export_run(run, tmp_path / "x.jsonl", "jsonl", selection)
    assert list(tmp_path.iterdir()) == []


def test_tokens_as_csv(run, rollouts, tmp_path):
    path, _ = export_run(run, tmp_path / "t.csv", "csv", Selection(limit=3))
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(map(len, rollouts[:3]))
    for t in rollouts[:3]:
        own = [r for r in rows if r["trajectory"] == t.id]
        assert "".join(r["text"] for r in own) == "".join(t.texts)
        assert [int(r["token_id"]) for r in own] == t.token_ids.tolist()
        assert [TokenKind[r["kind"].upper()] for r in own] == t.kinds.tolist()
        np.testing.assert_array_equal(
            np.array([float(r["ref_energy"] or "nan") for r in own], np.float32), t.signals["ref_energy"]
        )


def test_weighted_advantages_make_a_token_mean_loss_the_scheme_s_own(run, rollouts, tmp_path):
    """method.md section 4: sum of w A / sum of w, against the mean over tokens of what is exported."""
    path, _ = export_run(run, tmp_path / "a.jsonl", "advantages", scheme="actfocus")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    mask = np.concatenate([r["response_mask"] for r in rows]).astype(bool)
    exported = np.concatenate([r["advantages"] for r in rows])
    weights = get_scheme("actfocus").compute(Batch.of(rollouts)).weight
    per_rollout = grpo_advantages(np.array([t.ret for t in rollouts]), [t.group for t in rollouts])
    plain = np.repeat(per_rollout, [len(t) for t in rollouts])
    logp = np.random.default_rng(0).normal(size=len(mask))
    assert (exported[mask] * logp[mask]).mean() == pytest.approx(
        (weights * plain * logp)[mask].sum() / weights[mask].sum(), rel=1e-5
    )
    assert (exported[~mask] == 0).all()


def test_the_batch_of_a_selection_is_the_whole_step(run, rollouts, tmp_path):
    whole, _ = export_run(run, tmp_path / "a.jsonl", "advantages")
    part, _ = export_run(run, tmp_path / "b.jsonl", "advantages", Selection(ids=(rollouts[7].id,)))
    assert part.read_text() == whole.read_text().splitlines(keepends=True)[7]


def test_a_scheme_without_its_signal_is_one_line(rollouts, tmp_path):
    run = Run.create(tmp_path / "r", {})
    run.add_trajectories(0, rollouts)
    with pytest.raises(ActFocusError, match="no energy, which actfocus needs"):
        export_run(run, tmp_path / "a.jsonl", "advantages")
    assert export_run(run, tmp_path / "a.jsonl", "advantages", scheme="uniform")[1] == len(rollouts)


def test_a_setting_in_place_of_the_scheme_s_own(run, rollouts, tmp_path):
    path, _ = export_run(run, tmp_path / "a.jsonl", "advantages", params={"alpha": 0.7, "beta": 0.0})
    weights = np.concatenate([json.loads(line)["weights"] for line in path.read_text().splitlines()])
    kinds = np.concatenate([t.kinds for t in rollouts])
    assert set(weights[kinds == TokenKind.ACTION]) == {1.0} and weights[kinds == TokenKind.REASONING] == pytest.approx(
        0.7
    )
    with pytest.raises(ActFocusError, match="alpha"):
        export_run(run, tmp_path / "b.jsonl", "advantages", params={"alpha": 7})
    assert [p.name for p in tmp_path.iterdir()] == ["a.jsonl"]


def test_a_rollout_that_was_never_scored_has_no_advantages(rollouts, tmp_path):
    run = Run.create(tmp_path / "r", {})
    run.add_trajectories(0, [replace(rollouts[0], reward=float("nan")), *rollouts[1:]])
    with pytest.raises(ActFocusError, match=f"'{rollouts[0].id}' was never scored"):
        export_run(run, tmp_path / "a.jsonl", "advantages", scheme="uniform")
    # The page shows it all the same, and others' steps are whole.
    assert export_run(run, tmp_path / "p.html", "html", Selection(limit=2), scheme="uniform")[1] == 2
    run.add_trajectories(1, [replace(t, step=1, id=f"1-{t.id}") for t in rollouts])
    assert export_run(run, tmp_path / "b.jsonl", "advantages", Selection(step=1), scheme="uniform")[1] == len(rollouts)


def test_weighted_advantages_hold_no_text_of_a_step_in_memory(run, tmp_path, monkeypatch):
    """Of a whole step there are numbers alone; of a page's, texts of what is on it."""
    seen = []
    of = Batch.of
    monkeypatch.setattr("actfocus_core.interop.exporting.Batch.of", lambda batch: seen.append(batch) or of(batch))
    export_run(run, tmp_path / "a.jsonl", "advantages", Selection(limit=1))
    export_run(run, tmp_path / "p.html", "html", Selection(limit=1))
    told = [[any(t.texts) or any(r.response for r in t.turn_records) for t in batch] for batch in seen]
    assert told == [[False] * 24, [True] + [False] * 23] and all(t.alternatives is None for t in seen[0])


def test_a_page_of_too_many_is_one_line(run, tmp_path, monkeypatch):
    monkeypatch.setattr("actfocus_core.interop.exporting.PAGE_LIMIT", 5)
    with pytest.raises(ActFocusError, match="24 trajectories are more than a page shows \\(5\\); select fewer"):
        export_run(run, tmp_path / "p.html", "html")
    assert list(tmp_path.iterdir()) == []


class Page(html.parser.HTMLParser):
    """The tags of a page and the text of its tokens."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.text, self.inside, self.classes = [], "", False, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.inside = tag == "i" and "title" in dict(attributes)
        if self.inside:
            self.classes.append(dict(attributes)["class"])
        assert not [name for name, _ in attributes if name.startswith("on") or name in ("src", "href")]

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        self.text += data if self.inside else ""


def test_the_page_shows_every_token_and_runs_nothing(run, rollouts, tmp_path):
    path, _ = export_run(run, tmp_path / "p.html", "html", Selection(limit=2))
    page = Page(path.read_text(encoding="utf-8"))
    assert page.text == "".join("".join(t.texts) for t in rollouts[:2])
    assert "script" not in page.tags and "link" not in page.tags and "img" not in page.tags
    kinds = [int(re.match(r"k(\d)", c)[1]) for c in page.classes]
    assert kinds == [k for t in rollouts[:2] for k, text in zip(t.kinds, t.texts) if text]
    # Nothing that was not sampled is shaded; actions are shaded most.
    shades = [int(c.split("w")[1]) for c in page.classes]
    assert all(s == 0 for k, s in zip(kinds, shades) if k < 3) and all(s >= 6 for k, s in zip(kinds, shades) if k == 4)


@given(st.text("<>&\"'/scriptonerror= \n\x00]]>-!é", min_size=1, max_size=30))
def test_hostile_text_stays_text(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("h")
    run = Run.create(folder / "r", {})
    run.add_trajectories(
        0,
        [
            Trajectory(
                "<b>id",
                [1, 2],
                [4, 1],
                [0, 0],
                [-1, np.nan],
                [text, "</pre><script>"],
                group='"><script>',
                signals={'"><img src=x>': [1.0, 1.0]},
            )
        ],
    )
    path, _ = export_run(run, folder / "p.html", "html", scheme="uniform")
    page = Page(path.read_text(encoding="utf-8"))
    assert "script" not in page.tags and "img" not in page.tags and page.tags.count("b") == 1
    assert page.tags.count("i") == 6 + 2 and page.text == text + "</pre><script>"


def test_the_commands(run, tmp_path, rollouts):
    out = actfocus("export", run.path, "--format", "jsonl", "--success", "--out", tmp_path / "w.jsonl", "--json")
    assert json.loads(out.stdout)["trajectories"] == sum(t.success for t in rollouts), out
    back = actfocus("import", "auto", tmp_path / "w.jsonl", "--out", tmp_path / "again", "--json")
    assert json.loads(back.stdout)["format"] == "jsonl" and back.stderr == "", back
    progress = actfocus("import", "jsonl", tmp_path / "w.jsonl", "--out", tmp_path / "third", "--progress", "jsonl")
    reports = [json.loads(line) for line in progress.stderr.splitlines()]
    last = [report for report in reports if report["phase"] == "import"][-1]
    count = len(Run.open(tmp_path / "third").index())
    assert reports[-1] == {"phase": "check", "done": count, "total": count}
    assert last["done"] == last["total"] == (tmp_path / "w.jsonl").stat().st_size
    for arguments, says in (
        (["export", run.path, "--format", "pdf"], "unknown format 'pdf'"),
        (["export", run.path, "--format", "csv", "--out", tmp_path / "w.jsonl"], "already exists"),
        (["export", run.path, "--format", "html", "--scheme", "x"], "unknown scheme"),
        (["import", "pdf", tmp_path / "w.jsonl"], "unknown format"),
        (["import", "auto", tmp_path / "w.jsonl", "--out", tmp_path / "again"], "already exists"),
        (["import", "auto", tmp_path / "w.jsonl", "--spans", "x"], "unknown span rule"),
        (["import", "verl", tmp_path / "w.jsonl", "--tokenizer", "tiny"], "'input' is missing"),
    ):
        result = actfocus(*arguments, cwd=tmp_path)
        assert result.returncode == 2 and says in result.stderr and len(result.stderr.splitlines()) == 1, result
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith("runs")) == ["again", "third", "w.jsonl"]
