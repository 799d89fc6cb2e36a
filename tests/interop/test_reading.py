"""Files of any layout and compression are read as records; what cannot be read is counted and named."""

import gzip
import json
import math
import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actfocus_core.errors import ActFocusError
from actfocus_core.interop.formats import FORMATS, data_files, recognise
from actfocus_core.interop.omissions import Omissions
from actfocus_core.interop.reading import json_text, read_records

ROW = {"messages": [{"role": "user", "content": "é\u2028🙂"}], "reward": 1.0}
LINE = json.dumps(ROW) + "\n"
LINES, LAST = "lines that are not JSON objects", "last lines that are not complete (still being written?)"
ITEMS, RESTS = "items that are not JSON objects", "files of which the rest is not JSON"
ENDS = "files that are not complete (still being written?)"


def packed(data: bytes) -> bytes:
    """The data as gzip, without the time at which they were compressed, which would change the names of the tests."""
    return gzip.compress(data, mtime=0)


COMPRESSED = {
    "plain": lambda data: data,
    "gzip": packed,
    "zstd": lambda data: pa.Codec("zstd").compress(data, asbytes=True),
    "members": lambda data: packed(data[: len(data) // 2]) + packed(data[len(data) // 2 :]),
    # A skippable frame, as parallel compressors write.
    "frames": lambda data: b"\x50\x2a\x4d\x18\x02\x00\x00\x00ab" + pa.Codec("zstd").compress(data, asbytes=True),
}


def read(path, strict: bool = False) -> tuple[list, Omissions]:
    """The values of the records, and what was left out."""
    omissions = Omissions(strict)
    return [record.value for record in read_records(path, omissions)], omissions


# --- layouts and compressions ---------------------------------------------------------------

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
objects = st.lists(st.dictionaries(st.text(), values, min_size=1), min_size=1, max_size=5)
LAYOUTS = {
    "lines": lambda rows, **how: "".join(json.dumps(row, **how) + "\n" for row in rows),
    "lines without an end": lambda rows, **how: "\r\n\r\n".join(json.dumps(row, **how) for row in rows),
    "array": json.dumps,
    "pretty array": lambda rows, **how: json.dumps(rows, indent=2, **how),
    "array of lines": lambda rows, **how: "[\n" + ",\n".join(json.dumps(row, **how) for row in rows) + "\n]\n",
    "pretty objects": lambda rows, **how: "\n".join(json.dumps(row, indent=1, **how) for row in rows),
    "flush objects": lambda rows, **how: "".join(json.dumps(row, indent=0, **how) + "\n" for row in rows),
    "objects in a row": lambda rows, **how: "".join(json.dumps(row, **how) for row in rows),
}


@settings(max_examples=60, deadline=None)
@given(
    objects,
    st.sampled_from([*LAYOUTS]),
    st.sampled_from([*COMPRESSED]),
    st.sampled_from([1, 2, 7, 1 << 16]),
    st.booleans(),
    st.sampled_from(["", "\ufeff"]),
)
def test_any_objects_come_back_from_any_layout(tmp_path_factory, rows, layout, compression, block, ascii_only, mark):
    path = tmp_path_factory.mktemp("any") / "file"
    path.write_bytes(COMPRESSED[compression]((mark + LAYOUTS[layout](rows, ensure_ascii=ascii_only)).encode()))
    with pytest.MonkeyPatch.context() as patch:
        # The text is decoded in pieces of any size.
        patch.setattr(json_text, "CHUNK", block)
        patch.setattr(json_text, "BLOCK", block)
        found, omissions = read(path, strict=True)
    assert found == rows and not omissions.counts


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (LINE * 2, ["a.jsonl, line 1", "a.jsonl, line 2"]),
        ("\n\n" + LINE, ["a.jsonl, line 3"]),
        (json.dumps([ROW, ROW]), ["a.jsonl, item 1", "a.jsonl, item 2"]),
        (json.dumps(ROW, indent=2), ["a.jsonl"]),
        (json.dumps(ROW, indent=2) * 2, ["a.jsonl, item 1", "a.jsonl, item 2"]),
    ],
)
def test_records_say_where_they_are(content, where, file):
    path = file(content)
    assert [record.where for record in read_records(path, Omissions())] == [f"{path.parent}/{name}" for name in where]


def test_the_content_decides_and_not_the_name(file, tmp_path):
    for compression in COMPRESSED.values():
        for name in ("a", "a.gz", "a.jsonl", "a.traj", "a.parquet", "a.csv"):
            assert read(file(compression(LINE.encode()), name), strict=True)[0] == [ROW]
    pq.write_table(pa.Table.from_pylist([ROW]), tmp_path / "table.jsonl")
    assert read(tmp_path / "table.jsonl", strict=True)[0] == [ROW]
    assert recognise(tmp_path / "table.jsonl").name == "chat"
    with pytest.raises(ActFocusError, match=r"TRL completions is read from Parquet"):
        data_files(file(LINE), FORMATS["trl"])


def test_numbers_that_are_not_finite_are_read(file):
    for content in ('{"a": NaN, "b": -Infinity}\n', '[{"a": NaN, "b": -Infinity}]'):
        ((row,), _) = read(file(content), strict=True)
        assert math.isnan(row["a"]) and row["b"] == -math.inf


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl", b"", "is empty; no rollout was written to it"),
        ("a.json", b"\xef\xbb\xbf" + b" \n\r\n" * 4000, "is empty; no rollout was written to it"),
        ("a.json", b"[ ]", "is empty; no rollout was written to it"),
        ("a.gz", packed(b""), "is empty; no rollout was written to it"),
        ("a.txt", b"a,b\n", r"is neither JSON nor Parquet \(it begins with 'a,b\\n'\)"),
        ("a.parquet", b"a,b\n", "not readable as Parquet"),
        ("a.parquet", packed(b"PAR1"), "is compressed Parquet; decompress it"),
        ("a.jsonl", packed(packed(b"{}")), "is compressed twice"),
        ("a.jsonl", LINE.encode("utf-16"), "is UTF-16 text; it must be UTF-8"),
        ("a.jsonl", LINE.encode("utf-16-be"), "is UTF-16 text; it must be UTF-8"),
        ("a.jsonl", b"\x80\x05K\x01.", "a pickle, which is never loaded"),
        ("a.gz", packed(b"\x80\x02K\x01."), "a pickle, which is never loaded"),
        ("a.eval", b"PK\x03\x04", "a zip archive, as torch.save and NumPy write them, which is never loaded"),
        ("a.json", b"\x93NUMPY", "a NumPy dump, which is never loaded"),
        ("a.bin", LINE.encode(), "a binary dump, which is never loaded"),
    ],
)
def test_files_without_records_are_refused(name, content, says, file):
    path = file(content, name)
    for work in (
        recognise,
        lambda path: [*read_records(path, Omissions(strict=True)), data_files(path, FORMATS["chat"])],
    ):
        if says.startswith("is empty") and b"[" in content and work is not recognise:
            continue
        with pytest.raises(ActFocusError, match=says):
            work(path)


@settings(max_examples=80, deadline=None)
@given(
    objects,
    st.sampled_from([*LAYOUTS]),
    st.lists(
        st.tuples(
            st.floats(0, 1),
            st.sampled_from([b"", b"\n", b'"', b"[", b"}", b"\xff", b"7", b"\\", b"{}\n"]),
            st.integers(0, 3),
        )
    ),
    st.sampled_from([1, 3, 16]),
)
def test_damage_is_read_alike_in_pieces_of_any_size(tmp_path_factory, rows, layout, damage, block):
    content = LAYOUTS[layout](rows).encode()
    for place, put, removed in damage:
        at = round(place * len(content))
        content = content[:at] + put + content[at + removed :]
    path = tmp_path_factory.mktemp("any") / "file.jsonl"
    path.write_bytes(content)

    def result() -> tuple:
        try:
            found, omissions = read(path)
        except ActFocusError as error:
            return (str(error),)
        return repr(found), omissions.counts, omissions.examples

    whole = result()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "CHUNK", block)
        patch.setattr(json_text, "BLOCK", block)
        assert result() == whole


# --- damage ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "count", "left_out", "says"),
    [
        (LINE * 2 + LINE[:20], 2, {LAST: 1}, "line 3: not JSON"),
        (LINE[:20] + "\n" + LINE * 2, 2, {LINES: 1}, "line 1: not JSON"),
        ('{"a": [\n' + LINE, 1, {LINES: 1}, "line 1: not JSON"),
        ('{"a": 1,\n' + LINE * 2, 2, {LINES: 1}, "line 1: not JSON"),
        ("[12:01] started\n" + LINE * 2, 2, {LINES: 1}, "line 1: not JSON"),
        (LINE + "[1]\nnull\n" + LINE + "7", 2, {LINES: 3}, "line 2: is a list; every line must be one JSON object"),
        (LINE + '{"a": "\\ud800"}\n{"a": "\udcff"}\n', 2, {LINES: 1}, "line 3: not UTF-8 at byte 7"),
        (LINE + '{"a": ' + "[" * 100_000 + "\n" + LINE, 2, {LINES: 1}, "line 2: is nested too deep"),
        (LINE + '{"a": ' + "9" * 5000 + "}\n" + LINE, 2, {LINES: 1}, "line 2: not JSON .*4300 digits"),
        ("[" + LINE + "," + LINE, 2, {ENDS: 1}, "after 2 complete items .*line 3"),
        ("[" + LINE + "," + LINE[:30], 1, {ENDS: 1}, "after 1 complete items .*line 2"),
        ("[" + LINE + LINE + "]", 1, {RESTS: 1}, "item 2: not JSON .*line 2"),
        ("[" + LINE + ",]", 1, {RESTS: 1}, "item 2: not JSON .*line 2"),
        (f"[1, {LINE}, [{LINE}]]", 0, {LINES: 3}, "line 1: not JSON"),
        (f"[\n1, {LINE}, [{LINE}]]", 1, {ITEMS: 2}, "item 1: is 1; it must be an object"),
        (f'[{LINE}, {{"a": "\udcff"}}, {LINE}]', 2, {ITEMS: 1}, "item 2: not UTF-8"),
        (f'[{LINE}, {{"a": {"9" * 5000}}}, {LINE}]', 2, {ITEMS: 1}, "item 2: not JSON .*4300 digits"),
        (f'[{LINE}, {{"a": {"[" * 101 + "]" * 101}}}, {LINE}]', 2, {ITEMS: 1}, "item 2: is nested too deep"),
        (f'[{LINE}, {{"a": {"[" * 100_000}', 1, {RESTS: 1}, "item 2: is nested too deep"),
        (json.dumps(ROW, indent=1)[:-3], 0, {ENDS: 1}, "after 0 complete items"),
        (json.dumps(ROW, indent=1) + "\n{\n 'a'}", 1, {RESTS: 1}, "item 2: not JSON .*line 11"),
        ("{\n 'a': 1,\n 'b': 2\n}\n", 0, {RESTS: 1}, "item 1: not JSON .*line 2"),
    ],
)
def test_damage_is_counted_and_the_first_named(content, count, left_out, says, file):
    path = file(content.encode("utf-8", "surrogateescape"))
    found, omissions = read(path)
    assert len(found) == count and omissions.counts == left_out
    with pytest.raises(ActFocusError, match=says) as error:
        read(path, strict=True)
    assert str(error.value) == str(omissions.error) and str(error.value) in omissions.examples.values()
    if count:
        assert recognise(path).name == "chat" or "ud800" in content
    else:
        with pytest.raises(ActFocusError, match=says):
            recognise(path)


def test_lines_and_items_that_are_too_long_are_left_out(file, monkeypatch):
    monkeypatch.setattr("actfocus_core.interop.reading.json_files.LONGEST_LINE", 1 << 20)
    monkeypatch.setattr("actfocus_core.interop.reading.json_files.layout.__defaults__", (1 << 20,))
    long = json.dumps({"a": "x" * 3_000_000})
    for content, count, left_out, says in (
        (LINE + long + "\n" + LINE, 2, {LINES: 1}, "line 2: is longer than 1 MiB"),
        (long + "\n" + LINE, 1, {LINES: 1}, "line 1: is longer than 1 MiB"),
        (f"[{LINE}, {long}, {LINE}]", 1, {RESTS: 1}, "item 2: is longer than 1 MiB"),
        (json.dumps({"a": "x" * 3_000_000}, indent=1), 0, {RESTS: 1}, "item 1: is longer than 1 MiB"),
    ):
        found, omissions = read(file(content))
        assert len(found) == count and omissions.counts == left_out and says in str(omissions.error)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("layout", ["lines", "array", "pretty objects"])
def test_a_cut_compressed_file_is_read_to_its_last_byte(layout, compression, file):
    rows = [{"a": os.urandom(300).hex(), "n": n} for n in range(2000)]
    text = LAYOUTS[layout](rows).encode()
    content = COMPRESSED[compression](text)
    path = file(content[: len(content) * 2 // 3])
    found, omissions = read(path)
    # zstd decompresses blocks of 128 KiB.
    assert len(text) * 2 / 3 - (1 << 17) < len(LAYOUTS[layout](found)) < len(text) and found == rows[: len(found)]
    assert omissions.counts == {ENDS: 1} and "Truncated" in str(omissions.error)
    with pytest.raises(ActFocusError, match="is the file complete"):
        read(path, strict=True)


def test_a_damaged_compressed_file_says_that_what_was_read_may_be_wrong(file):
    rows = [{"a": os.urandom(1000).hex()} for _ in range(500)]
    content = bytearray(packed(LAYOUTS["lines"](rows).encode()))
    content[-6] ^= 1  # a bit of the checksum
    found, omissions = read(file(bytes(content)))
    assert 400 < len(found) < 500 and found == rows[: len(found)]
    assert omissions.counts == {"damaged files, of which what was read may be wrong": 1}


def test_damaged_row_groups_are_counted(tmp_path):
    path = tmp_path / "a.parquet"
    rows = [{"text": f"{n}" * 50, "n": n} for n in range(300)]
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=100, compression="zstd", use_dictionary=False)
    column = pq.ParquetFile(path).metadata.row_group(1).column(0)
    content = bytearray(path.read_bytes())
    content[column.data_page_offset : column.data_page_offset + 40] = b"\xff" * 40
    path.write_bytes(bytes(content))
    found, omissions = read(path)
    assert found == rows[:100] + rows[200:] and omissions.counts == {
        "row groups of Parquet files that cannot be read": 1
    }
    assert "rows 101 to 200 are not readable" in str(omissions.error)
    assert [record.where[-8:] for record in read_records(path, Omissions())][99:101] == [
        ", row 100"[-8:],
        ", row 201"[-8:],
    ]


def test_progress_counts_the_bytes_on_disk(file):
    for compression in COMPRESSED.values():
        for layout in ("lines", "pretty array"):
            path, seen = file(compression(LAYOUTS[layout]([ROW] * 3000).encode())), []
            assert len(list(read_records(path, Omissions(), seen.append))) == 3000
            assert sum(seen) == path.stat().st_size and min(seen) > 0


# --- memory ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("indent", [None, 2])
def test_memory_does_not_depend_on_the_size_of_an_array(indent, tmp_path):
    path, row = tmp_path / "large.json", json.dumps({"messages": ["é" * 50] * 40, "reward": 1}, indent=indent)
    with open(path, "w", encoding="utf-8") as stream:
        stream.write("[")
        while stream.tell() < 200_000_000:
            stream.write(f"{row}, " * 100)
        stream.write(f"{row}]")
    code = f"""
import resource
from pathlib import Path
from actfocus_core.interop.omissions import Omissions
from actfocus_core.interop.reading import read_records
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
count = sum(1 for _ in read_records(Path({str(path)!r}), Omissions(strict=True)))
print(count, peak() - before)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count, megabytes = map(float, told.stdout.split())
    assert count > 10_000 and megabytes < 60
