"""Where records live: one file a run or race, old or new but never torn, checked when read."""

from esrbench.runs.store.documents import DamagedError, encode
from esrbench.runs.store.files import Files
from esrbench.runs.store.reading import read_any, read_race, read_record
from esrbench.runs.store.store import Store, default_results, record_id

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
