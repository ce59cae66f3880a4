"""Where records live: one file a run or race, old or new but never torn, checked when read."""

from harness.store.documents import DamagedError, encode
from harness.store.files import Files
from harness.store.reading import read_any, read_race, read_record
from harness.store.store import Store, default_results, record_id

__all__ = [
    "DamagedError",
    "Files",
    "Store",
    "default_results",
    "encode",
    "read_any",
    "read_race",
    "read_record",
    "record_id",
]
