"""Inspect's logs: archives that Inspect wrote, archives that are none, and JSON."""

import io
import json
import zipfile
import zlib

import numpy as np
import pyarrow as pa
import pytest

from actfocus_core.errors import ActFocusError
from actfocus_core.interop import recognise
from actfocus_core.interop.formats.inspect_ai import NO_NUMBERS, SEVERAL_SCORES, WITHOUT_MESSAGES
from actfocus_core.interop.omissions import Omissions
from actfocus_core.interop.reading import archives, read_records
from actfocus_core.interop.reading.content import sniff
from tests.interop.conftest import FIXTURES
from tests.interop.files import REPLIES, SYSTEM, messages
from tests.interop.rows_logs import CALL, inspect, pieces
from tests.interop.test_logged_calls import scored
from tests.interop.test_traces import left_out

EVAL = FIXTURES / "inspect_ai" / "arithmetic.eval"


def rewritten(change=None, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """The archive that Inspect wrote, with other members; ``change(members)`` edits name -> content."""
    with EVAL.open("rb") as file:
        found = archives._members(file)
        members = {name: archives._content(file, info, 1 << 20) for name, info in found.items()}
    if change:
        change(members)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


# --- archives ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["arithmetic.eval", "arithmetic.json"])
def test_inspect_wrote_logs(name, written_by):
    run, found = written_by(f"inspect_ai/{name}", reward_columns=["match"])
    assert run.info["config"]["format"] == "inspect" and run.metadata.spans == "tool_call"
    assert [t.columns["epoch"] for t in found] == [1, 1, 2, 2] and len({t.group for t in found}) == 2
    assert [t.reward for t in found] == [1, 0, 1, 0] and [t.success for t in found] == [True, False, True, False]
    assert found[0].rewards["match"] == (1, 1) and found[0].rewards["length"].score == 9
    assert {t.env for t in found} == {"arithmetic"} and {t.model for t in found} == {"mockllm/model"}
    assert (found[3].truncated, found[3].stop_reason) == (True, "token")
    assert [turn.response for turn in found[0].turn_records][1] == "It is 51."
    assert run.info["provenance"]["mask"]["how"] == "recorded" and run.info["config"]["reward_columns"] == ["match"]


def test_several_scores_are_no_reward_until_one_is_named(written_by):
    run, found = written_by("inspect_ai/arithmetic.eval")
    assert all(np.isnan(t.reward) for t in found) and left_out(run)[SEVERAL_SCORES] == 4
    with pytest.raises(
        ActFocusError, match="no score 'style' that is a number; choose reward columns from match, length"
    ):
        written_by("inspect_ai/arithmetic.eval", reward_columns=["style"])


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_log_by_any_name_and_with_other_compressions(method, file):
    path = file(rewritten(method=method), "download.zip")
    assert sniff(path) == "inspect" and recognise(path).name == "inspect"
    assert [r.value["samples"][0]["id"] for r in read_records(path, Omissions())] == [1, 2, 1, 2]


def test_a_log_that_was_not_finished_is_read_by_its_start(file, imported, tmp_path):
    def unfinished(members: dict) -> None:
        del members["header.json"], members["summaries.json"]

    records = list(read_records(file(rewritten(unfinished), "a.eval"), Omissions()))
    assert len(records) == 4 and records[0].value["status"] == "started"


def test_the_last_of_members_with_one_name_counts(file):
    newer = json.dumps({"id": 1, "epoch": 1, "messages": [], "note": "again"})
    content = io.BytesIO(rewritten())
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(content, "a") as archive:
        archive.writestr("samples/1_epoch_1.json", newer)
    records = list(read_records(file(content.getvalue(), "a.eval"), Omissions()))
    assert len(records) == 4 and records[0].value["samples"][0]["note"] == "again"


def test_archives_that_are_no_log_are_refused(file, evil, marker):
    def zipped(**members) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for name, content in members.items():
                archive.writestr(name.replace("__", "/"), content)
        return out.getvalue()

    npz = io.BytesIO()
    np.savez(npz, header=np.arange(3))
    others = [
        zipped(archive__data_pkl=evil, archive__version=b"3"),
        npz.getvalue(),
        zipped(x=evil),
        zipped(header_json=b"{}"),
        rewritten(lambda members: members.update({"header.json": b'{"version": 2}'})),
        rewritten(lambda members: members.update({"header.json": b'{"version": 2, "eval": []}'})),
        rewritten(lambda members: members.update({"header.json": evil})),
        rewritten()[:-30],
        b"PK\x03\x04" + b"\x00" * 100,
    ]
    for number, content in enumerate(others):
        with pytest.raises(
            ActFocusError, match="zip archive, as torch.save and NumPy write them, which is never loaded"
        ):
            recognise(file(content, f"{number}.eval"))
    assert not marker.exists()


def test_sizes_are_bounded_whatever_the_archive_states(file, monkeypatch):
    monkeypatch.setattr(archives, "LARGEST_MEMBER", 5000)
    bomb = json.dumps({"id": 9, "note": "x" * 100_000}).encode()

    def with_bomb(members: dict) -> None:
        members["samples/9_epoch_1.json"] = bomb

    path, omissions = file(rewritten(with_bomb), "a.eval"), Omissions()
    assert len(list(read_records(path, omissions))) == 4
    assert omissions.counts == {archives.MEMBERS_REFUSED: 1} and "sample 5" in str(omissions.error)
    monkeypatch.setattr(archives, "LARGEST_DIRECTORY", 100)
    assert not archives.is_inspect(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, archives._ZSTD])
def test_no_more_is_decompressed_than_is_allowed(method):
    content = b"x" * 100_000
    raw = (
        zlib.compress(content, wbits=-15)
        if method == zipfile.ZIP_DEFLATED
        else pa.compress(content, "zstd", asbytes=True)
    )
    assert archives._decompressed(raw, method, 200_000) == content
    assert (
        len(archives._decompressed(raw, method, 10)) < 2 * archives._BLOCK
        and len(archives._decompressed(raw, method, 10)) > 10
    )


def test_a_damaged_sample_is_counted_and_the_others_are_read(file, imported):
    def damaged(members: dict) -> None:
        members["samples/2_epoch_1.json"] = b"[1]"
        members["samples/1_epoch_2.json"] = b'{"id": '

    omissions = Omissions()
    assert len(list(read_records(file(rewritten(damaged), "a.eval"), omissions))) == 2
    assert omissions.counts == {archives.MEMBERS_REFUSED: 2} and "it is a list and no object" in str(omissions.error)
    whole = bytearray(rewritten(method=zipfile.ZIP_STORED))
    whole[whole.index(b"It is 54")] ^= 1
    omissions = Omissions()
    assert len(list(read_records(file(bytes(whole), "b.eval"), omissions))) == 3 and "is damaged" in str(
        omissions.error
    )
    with pytest.raises(ActFocusError, match="is damaged"):
        list(read_records(file(bytes(whole), "b.eval"), Omissions(strict=True)))


def test_any_byte_of_an_archive_may_be_wrong(file):
    whole = EVAL.read_bytes()
    for at in range(0, len(whole), 37):
        path = file(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :], "a.eval")
        omissions = Omissions()
        try:
            assert len(list(read_records(path, omissions))) + omissions.counts.total() <= 4
        except ActFocusError as error:
            assert "\n" not in str(error)


# --- samples -----------------------------------------------------------------------------------


def test_epochs_of_a_sample_are_a_group(imported):
    run, (a, b) = imported(inspect(3), "log.json")
    assert a.group == b.group and (a.reward, b.reward, a.success, b.success) == (1, 0, True, False)
    assert a.columns == {"level": "easy", "epoch": 1} and a.turn_records[1].response == REPLIES[1]
    other = inspect(3) | {"eval": {"eval_id": "e2", "task": "lake"}}
    _, found = imported([inspect(3), other], "logs.jsonl")
    assert len({t.group for t in found}) == 2


@pytest.mark.parametrize(
    ("scores", "reward", "success", "unread"),
    [
        ({"a": {"value": "P"}}, 0.5, False, None),
        ({"a": {"value": "N"}}, 0.0, False, None),
        ({"a": {"value": "yes"}}, 1.0, True, None),
        ({"a": {"value": 0.25}}, 0.25, False, None),
        ({"a": {"value": True}}, 1.0, True, None),
        ({"a": {"value": float("nan")}}, float("nan"), None, None),
        ({"a": {"value": {"x": 1}}}, 1.0, True, None),
        ({"a": {"value": "essay"}}, float("nan"), None, NO_NUMBERS),
        ({"a": {"value": [1, 2]}}, float("nan"), None, NO_NUMBERS),
        ({}, float("nan"), None, None),
        (None, float("nan"), None, None),
    ],
)
def test_scores(scores, reward, success, unread, imported):
    log = inspect(0)
    for sample in log["samples"]:
        sample["scores"] = scores
    run, (t, _) = imported(log, "log.json")
    assert t.reward == pytest.approx(reward, nan_ok=True) and t.success is success
    assert left_out(run) == ({unread: 2} if unread else {})


def test_messages_of_the_input_are_context_and_calls_have_names(imported):
    log = inspect(0)
    said = log["samples"][0]["messages"]
    said[2]["source"] = "input"
    said[4] |= {"tool_calls": [{"id": "c", "function": "look", "arguments": {"id": 0}, "type": "function"}]}
    said[3]["content"] = [{"type": "text", "text": "attachment://abc"}, {"type": "image", "image": "attachment://i"}]
    said[4]["content"] = [
        {"type": "reasoning", "reasoning": "c2VjcmV0", "redacted": True},
        {"type": "text", "text": "Done"},
    ]
    log["samples"] = [log["samples"][0] | {"attachments": {"abc": "long text"}}]
    run, (t,) = imported(log, "log.json")
    assert len(t.turn_records) == 1 and '{"name": "look", "arguments": {"id": 0}}' in t.turn_records[0].response
    text = "".join(t.texts)
    assert "long text" in text and "c2VjcmV0" not in text and CALL["function"]["name"] in text
    assert left_out(run) == {"image parts": 1, "encrypted reasoning parts": 1}


def test_log_probs_of_outputs_belong_to_their_messages(imported, tokenizer):
    log = inspect(0)
    log["samples"] = log["samples"][:1]
    sample = log["samples"][0]
    sample["output"]["choices"][0]["logprobs"] = {"content": pieces(tokenizer, REPLIES[1])}
    earlier = {"message": {"id": "m2"}, "logprobs": {"content": pieces(tokenizer, REPLIES[0])}}
    sample["events"] = [{"event": "model", "output": {"choices": [earlier]}}, {"event": "tool"}]
    run, (t,) = imported(log, "log.json")
    assert (
        scored(t) == "".join(REPLIES) and not left_out(run) and run.info["provenance"]["logprobs"]["how"] == "recorded"
    )


def test_limits_errors_and_samples_without_messages(imported):
    log = inspect(0)
    a, b = log["samples"]
    a["limit"] = {"type": "message", "limit": 3}
    b |= {"error": {"message": "it broke", "traceback": ""}, "scores": None}
    log["samples"].append({"id": 1, "epoch": 1, "messages": [], "scores": {}})
    run, (cut, failed) = imported(log, "log.json")
    assert (cut.truncated, cut.terminated, cut.stop_reason, cut.success) == (True, False, "message", True)
    assert (failed.error, failed.success) == ("it broke", None) and np.isnan(failed.reward)
    assert left_out(run) == {WITHOUT_MESSAGES: 1}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"samples": None}, "1 logs without samples"),
        ({"eval": "x"}, "'eval' is \"x\"; it must be an object"),
        ({"samples": [{"id": 1, "epoch": "x", "messages": [{"role": "user", "content": SYSTEM}]}]}, "'epoch' is \"x\""),
        ({"samples": [{"id": None, "epoch": 1, "messages": messages()}]}, "'id' is missing"),
    ],
)
def test_a_log_with_a_wrong_field_is_one_line(change, told, imported):
    with pytest.raises(ActFocusError) as error:
        imported(inspect(0) | change, "log.json")
    assert told in str(error.value) and "log.json" in str(error.value) and "\n" not in str(error.value)


def test_an_upload_is_limited_by_the_sizes_that_bound_what_is_unpacked(file, monkeypatch):
    from actfocus_studio.server import uploads

    assert uploads.check(EVAL) == 4
    samples, size = archives.stated_size(EVAL)
    with EVAL.open("rb") as log:
        found = {name: info for name, info in archives._members(log).items() if name.startswith("samples/")}
        assert (samples, size) == (4, sum(len(archives._content(log, info, 1 << 20)) for info in found.values()))
        # A member that states less than it holds is damaged, and is not unpacked as a whole.
        info = next(iter(found.values()))
        info.file_size -= 1
        with pytest.raises(ValueError, match="is damaged"):
            archives._content(log, info, 1 << 20)
    monkeypatch.setattr(uploads, "UNPACKED_MAX", size - 1)
    with pytest.raises(ActFocusError, match="the most a page takes"):
        uploads.check(EVAL)
    with pytest.raises(ActFocusError, match="not readable as an Inspect log"):
        archives.stated_size(file(b"PK\x03\x04", "a.eval"))
