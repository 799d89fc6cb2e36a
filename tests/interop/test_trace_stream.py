"""prime-rl's trace stream: episodes and the annotations that are written about them later."""

import json
import random
import tracemalloc

import numpy as np
import pytest

from actfocus_core.errors import ActFocusError
from actfocus_core.interop import import_run, recognise
from actfocus_core.interop.formats.annotation_store import AnnotationStore
from actfocus_core.interop.formats.trace_graph import parents_of, rejected_attempts
from actfocus_core.interop.formats.trace_stream import (
    CUT,
    LIVE,
    MISALIGNED,
    NO_BRANCH,
    REFUSED,
    REPEATED,
    UNKNOWN,
)
from actfocus_core.interop.opening import open_paths
from actfocus_core.interop.reading import Record
from actfocus_core.interop.reading.folders import COPIES
from actfocus_core.runs import Run
from tests.interop.files import records
from tests.interop.rows_traces import TRACES, annotation, episodes, masks, streams, write_lines, write_run
from tests.interop.test_branches import branched
from tests.interop.test_mutations import mutate_bytes, mutate_rows


@pytest.fixture
def imported(tmp_path, tokenizer_folder):
    """Import a path; returns its trajectories by their trace's order, and what was left out."""

    def imported(path, **options):
        run = Run.open(import_run(path, tmp_path / "run", tokenizer=tokenizer_folder, **options).path)
        assert run.info["config"]["format"] == "verifiers" and not run.info["config"]["approximate"]
        return run.trajectories(), run.info["config"].get("left_out", {})

    return imported


def traces_of(rows):
    return [trace for row in rows for trace in row["traces"]]


@pytest.fixture
def rows(tokenizer):
    return episodes(tokenizer)


@pytest.fixture
def annotated(rows):
    """What two producers wrote about the first three of the four traces."""
    traces = traces_of(rows)[:3]
    trainer = [
        annotation(t, **streams(t, trainer_logprobs=-0.1 * n, entropies=0.5 + n, is_masked=n == 1))
        for n, t in enumerate(traces)
    ]
    orchestrator = [annotation(t, {"advantage": 0.25 * n, "cohort": {"step": 5}}) for n, t in enumerate(traces)]
    return {"orchestrator": orchestrator, "trainer": trainer}


PLACES = ("", "monitors", TRACES, f"{TRACES}/stream", f"{TRACES}/stream/00000.jsonl")


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_annotations_are_merged_wherever_the_import_begins(place, sealed, rows, annotated, imported, tmp_path):
    write_run(tmp_path / "out", rows, annotated, sealed)
    name = place + ".zst" if sealed and place.endswith(".jsonl") else place
    found, left_out = imported(tmp_path / "out" / name)
    assert left_out == {} and len(found) == 4
    for n, (t, trace) in enumerate(zip(found[:3], traces_of(rows))):
        mask = np.array(masks(trace))
        assert t.response_mask.tolist() == mask.tolist()
        for stream, value in (("trainer_logprob", -0.1 * n), ("entropy", 0.5 + n), ("masked", float(n == 1))):
            np.testing.assert_array_equal(t.signals[stream][mask], np.float32(value))
            assert np.isnan(t.signals[stream][~mask]).all()
        np.testing.assert_array_equal(t.signals["advantage"][mask], np.float32(0.25 * n))
    assert found[3].signals == {}
    expected = {"split": "train", "dispatch_time": 10.5, "arrival_time": 12.0, "policy_start": 3, "policy_end": 4}
    assert all(t.columns == expected for t in found)
    assert {t.env for t in found} == {"lake-easy"} and {t.agent for t in found} == {"agent"}
    assert len({t.group for t in found}) == 2 and {t.step for t in found} == {4}


def test_the_layout_before_chunks(rows, annotated, imported, tmp_path):
    traces = tmp_path / "traces"
    write_lines(traces / "stream.jsonl", rows)
    for producer, updates in annotated.items():
        write_lines(traces / "annotations" / f"{producer}.jsonl", updates)
        write_lines(traces / "annotations" / f"{producer}.index.jsonl", [{"trace_id": "x", "offset": 0, "info": {}}])
    found, left_out = imported(traces)
    assert left_out == {} and [t.signals["entropy"][t.response_mask][0] for t in found[:3]] == [0.5, 1.5, 2.5]


def test_the_newest_wins_and_gaps_are_not_taken(rows, imported, tmp_path):
    traces = traces_of(rows)
    first = traces[0]
    mask = masks(first)
    old = streams(first, entropies=1.0, trainer_logprobs=-1.0)
    # The last reply has no value for its last token; is_masked may have such gaps.
    gap = streams(first, entropies=2.0, is_masked=True)
    gap["entropies"][-1] = gap["is_masked"][-1] = None
    padded = {"mismatch_kl": [*streams(traces[1], mismatch_kl=0.125)["mismatch_kl"], None, None]}
    path = write_run(
        tmp_path / "out",
        rows,
        {"a": [annotation(first, **old), annotation(first, **gap)], "b": [annotation(traces[1], **padded)]},
    )
    (t, other, *_), left_out = imported(path)
    assert left_out == {}
    last = max(n for n, m in enumerate(mask) if not m)
    replies = np.flatnonzero(mask)
    assert (t.signals["entropy"][replies[replies < last]] == 2).all() and (
        t.signals["entropy"][replies[replies > last]] == 1
    ).all()
    assert (t.signals["trainer_logprob"][replies] == -1).all()
    assert (t.signals["masked"][replies[:-1]] == 1).all() and np.isnan(t.signals["masked"][-1])
    assert (other.signals["mismatch_kl"][other.response_mask] == 0.125).all()


def test_what_does_not_fit_is_counted_and_not_applied(rows, imported, tmp_path):
    traces = traces_of(rows)
    long = streams(traces[0], entropies=1.0)
    long["entropies"].append(1.0)
    cut = {"entropies": streams(traces[1], entropies=1.0)["entropies"][:-1]}
    updates = [
        annotation(traces[0], **long),
        annotation(traces[1], **cut),
        annotation(traces[2], index=1, **streams(traces[2], entropies=1.0)),
        annotation({"id": "nowhere"}, **cut),
        {"version": 1, "trace_id": traces[3]["id"], "branches": [{"index": 0, "entropies": ["high"]}]},
        {"version": 1, "branches": []},
    ]
    path = write_run(tmp_path / "out", rows, {"trainer": updates})
    found, left_out = imported(path)
    assert left_out == {MISALIGNED: 1, CUT: 1, NO_BRANCH: 1, UNKNOWN: 1, REFUSED: 2} and len(found) == 4
    # The first reply is covered, the last is not.
    known = np.isfinite(found[1].signals["entropy"][found[1].response_mask])
    assert known[0] and not known[-1] and all("entropy" not in found[n].signals for n in (0, 2, 3))
    with pytest.raises(ActFocusError, match="00000.jsonl, line 5: 'branches'.0.: 'entropies'.0. is \"high\""):
        import_run(path, tmp_path / "strict", tokenizer="tiny", strict=True)


def test_live_files_copies_and_repeated_traces_are_counted_and_not_doubled(rows, annotated, imported, tmp_path):
    path = write_run(tmp_path / "out", rows, annotated)
    traces = traces_of(rows)
    live = {
        "trace": traces[0]["id"],
        "open": {"id": traces[0]["id"]},
        "nodes": traces[0]["nodes"],
        "dispatch": {"env": "e"},
    }
    write_lines(path / TRACES / "live" / f"{traces[0]['id']}.jsonl", [live])
    pending = {"id": "e9", "kind": "train", "env": "e", "group": "g", "task": 3, "started": 1.0}
    write_lines(path / TRACES / "live" / "pending" / "e9.json", [pending])
    write_lines(path / TRACES / "stream" / "00000.jsonl", rows, sealed=True)
    write_lines(path / TRACES / "annotations" / "trainer" / "00000.jsonl", annotated["trainer"], sealed=True)
    (path / TRACES / "stream" / "00001.jsonl.zst.tmp").write_bytes(b"\x28\xb5\x2f\xfd")
    write_lines(path / TRACES / "stream" / "00001.jsonl", rows[:1])
    found, left_out = imported(path)
    assert len(found) == 4 and left_out == {LIVE: 2, COPIES: 2, REPEATED: 1}


def test_a_stream_without_annotations_is_not_doubled_either(rows, imported, tmp_path):
    write_lines(tmp_path / "stream" / "00000.jsonl", rows)
    write_lines(tmp_path / "stream" / "00001.jsonl", rows[2:])
    found, left_out = imported(tmp_path)
    assert len(found) == 4 and left_out == {REPEATED: 2}


def test_annotations_of_branches(tokenizer, imported, tmp_path):
    row = branched(tokenizer, [2], exact=True)
    (trace,) = row["traces"]
    nodes = trace["nodes"]
    for node in nodes:
        node.pop("advantages", None), node.pop("reference_logprobs", None)
    paths = [[0, 1, 2, 3, 4], [0, 1, 2, 5, 6]]
    values = [[n if m else None for n in path for m in nodes[n]["mask"]] for path in paths]
    updates = [annotation(trace, index=1, entropies=values[1]), annotation(trace, index=0, entropies=values[0])]
    (first, second), left_out = imported(write_run(tmp_path / "out", [row], {"trainer": updates}))
    assert left_out == {}
    for t, path in ((first, paths[0]), (second, paths[1])):
        expected = [n if m else np.nan for n in path for m in nodes[n]["mask"]]
        np.testing.assert_array_equal(t.signals["entropy"][t.response_mask], np.array(expected)[t.response_mask])
    shared = sum(len(nodes[n]["mask"]) for n in (0, 1, 2))
    assert (second.segment, second.parent) == (1, (0, shared)) and not second.response_mask[:shared].any()
    assert first.token_ids[:shared].tolist() == second.token_ids[:shared].tolist() and first.parent is None


def test_annotation_and_index_files_are_no_rollouts(rows, annotated, tmp_path, tokenizer_folder):
    path = write_run(tmp_path / "out", rows, annotated)
    with pytest.raises(ActFocusError, match="is written beside verifiers.*import the folder above it"):
        recognise(path / TRACES / "annotations/trainer/00000.jsonl")
    with pytest.raises(ActFocusError, match="is written beside verifiers"):
        recognise(path / TRACES / "annotations")
    (path / TRACES / "stream" / "00000.jsonl").rename(path / "00000.jsonl")
    run = import_run(path, tmp_path / "run", tokenizer=tokenizer_folder)
    assert run.info["config"]["left_out"] == {
        "files that are merged into rollouts, of which there are none beside them": 2
    }


def test_new_annotations_are_a_new_import(rows, annotated, tmp_path, tokenizer_folder):
    path = write_run(tmp_path / "out", rows, {"trainer": annotated["trainer"][:1]})

    def opened():
        (run,) = open_paths([path], tmp_path / "runs", tokenizer=tokenizer_folder)
        return run

    first = opened()
    assert opened().path == first.path
    write_lines(path / TRACES / "annotations/trainer/00000.jsonl", annotated["trainer"])
    again = opened()
    assert again.path != first.path
    assert sum("entropy" in t.signals for t in again.trajectories()) == 3


def test_the_token_export_says_which_tokens_were_masked(tokenizer, tmp_path, tokenizer_folder):
    rows = records("prime-rl", tokenizer)[:2]
    length = len(rows[0]["token_ids"])
    rows[0]["is_masked"] = [None, *([True, False] * length)][:length]
    path = write_lines(tmp_path / "rank_0.jsonl", rows)
    t, other = import_run(path, tmp_path / "run", tokenizer=tokenizer_folder).trajectories()
    expected = np.where(t.response_mask, np.array(rows[0]["is_masked"], float), np.nan)
    np.testing.assert_array_equal(t.signals["masked"], expected)
    assert "masked" not in other.signals
    rows[0]["is_masked"][0] = 1
    with pytest.raises(
        ActFocusError, match=r"line 1: 'is_masked'\[0\] is 1; the list must contain true, false or null"
    ):
        import_run(write_lines(path, rows[:1]), tmp_path / "again", tokenizer=tokenizer_folder)


def test_links_to_annotations_are_not_followed(rows, annotated, imported, tmp_path):
    path = write_run(tmp_path / "out", rows, {})
    write_lines(tmp_path / "elsewhere" / "trainer.jsonl", annotated["trainer"])
    (path / TRACES / "annotations").symlink_to(tmp_path / "elsewhere")
    found, _ = imported(path / TRACES / "stream")
    assert all(t.signals == {} for t in found)


def test_the_memory_of_the_store_does_not_grow_with_the_streams(tmp_path):
    store = AnnotationStore()
    branch = {"index": 0, "entropies": [0.5] * 20_000, "trainer_logprobs": [None] + [-0.25] * 19_999}
    tracemalloc.start()
    for number in range(60):
        store.add(Record({"trace_id": f"t{number % 30}", "branches": [branch]}, "x"))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 500_000  # the values are 10 MB
    (one, two) = store.take("t7")
    assert one.branches[0][1]["trainer_logprobs"][1] == two.branches[0][1]["trainer_logprobs"][-1] == np.float32(-0.25)
    assert list(store.take("nowhere")) == [] and store.unused() == 29


def nodes(*values: dict) -> list[Record]:
    return [Record(value, f"node {number}") for number, value in enumerate(values)]


def test_nodes_without_any_parent_are_one_path(rows, imported, tmp_path):
    for trace in traces_of(rows):
        for node in trace["nodes"]:
            node.pop("parent")
    found, left_out = imported(write_lines(tmp_path / "traces.jsonl", rows))
    assert left_out == {} and [len(t.turn_records) for t in found] == [2] * 4
    # Prompts whose requests failed are several roots.
    assert parents_of(nodes({"mask": [False]}, {})) == [None, None]
    assert parents_of(nodes({}, {"mask": [True]}, {"sampled": True})) == [None, 0, 1]


def test_a_compaction_from_which_the_harness_did_not_go_on_is_out_of_the_loss(rows, imported, tmp_path):
    first, second = traces_of(rows)[:2]
    first["nodes"][4]["semantic_parents"] = [{"node": 2, "type": "compaction_attempt"}]
    second["nodes"][4]["semantic_parents"] = [{"node": 2, "type": "compaction_attempt"}]
    second["nodes"][0]["semantic_parents"] = [{"node": 4, "type": "compaction"}]
    found, _ = imported(write_lines(tmp_path / "traces.jsonl", rows))
    assert [bool(t.loss_mask.any()) for t in found] == [False, True, True, True]
    assert rejected_attempts(nodes({}, {}), [1]) == set()


def test_metrics_and_notes_of_a_trace_are_columns(rows, imported, tmp_path):
    (trace,) = rows[0]["traces"]
    trace["metrics"] = {"turns": 2.0, "late": None}
    trace["info"] = {"advantage": "high", "note": "kept", "nested": {"x": 1}, "turns": 9}
    rows[1]["traces"][0]["info"] = {"advantage": float("inf")}
    found, _ = imported(write_lines(tmp_path / "traces.jsonl", rows))
    policy = {"policy_start": 3, "policy_end": 4, "split": "train"}
    assert found[0].columns == {"turns": 2.0, "note": "kept", **policy}
    assert all("advantage" not in t.signals for t in found)


@pytest.mark.parametrize("info", [[], 3, "x"])
def test_a_wrong_note_is_one_line(info, rows, tmp_path, tokenizer_folder):
    rows[0]["traces"][0]["info"] = info
    path = write_lines(tmp_path / "traces.jsonl", rows[:1])
    with pytest.raises(ActFocusError, match=r"traces.jsonl, line 1: 'traces'\[0\]: 'info' is .*; it must be an object"):
        import_run(path, tmp_path / "run", tokenizer=tokenizer_folder)
    assert json.loads(path.read_text())["traces"]


@pytest.mark.parametrize("count", [10, pytest.param(200, marks=pytest.mark.slow)])
def test_damaged_annotations_leave_the_rollouts_as_they_are(count, rows, annotated, tmp_path, tokenizer_folder):
    path = write_run(tmp_path / "out", rows, annotated)
    file = path / TRACES / "annotations" / "trainer" / "00000.jsonl"
    whole, dice = file.read_bytes(), random.Random(count)
    changed = 0
    for number in range(count):
        if number % 3:
            write_lines(file, mutate_rows(annotated["trainer"], dice))
        else:
            file.write_bytes(mutate_bytes(whole, dice))
        run = Run.open(import_run(path, tmp_path / f"run{number}", tokenizer=tokenizer_folder).path)
        found = run.trajectories()
        assert [t.token_ids.tolist() for t in found] == [
            [i for node in trace["nodes"] for i in node["token_ids"]] for trace in traces_of(rows)
        ]
        for t in found:
            # A value is on a sampled token, and whole replies have one or none, except for is_masked.
            for name in ("trainer_logprob", "entropy"):
                known = np.isfinite(t.signals.get(name, np.full(len(t), np.nan)))
                assert not known[~t.response_mask].any()
                replies = [known[t.response_mask & (t.turns == turn)] for turn in (0, 1)]
                assert all(reply.all() or not reply.any() for reply in replies)
        changed += bool(run.info["config"].get("left_out"))
    assert changed
