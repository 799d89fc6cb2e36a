"""Reading of files from other programs as records: JSON and Parquet, possibly compressed, alone or in folders."""

from actfocus_core.interop.reading.folders import DataFile
from actfocus_core.interop.reading.record import Record, check_text, is_deep
from actfocus_core.interop.reading.records import read_records
from actfocus_core.interop.reading.tables import open_parquet, read_rows

__all__ = ["DataFile", "Record", "check_text", "is_deep", "open_parquet", "read_records", "read_rows"]
