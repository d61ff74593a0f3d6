"""One filesystem for every kind of URI, and each library's options for it."""

from sparkml_lifecycle.storage.filesystem import is_part
from sparkml_lifecycle.storage.options import redacted, said
from sparkml_lifecycle.storage.storage import Storage, StoredFile, open_storage
from sparkml_lifecycle.storage.tree import check_name, files_below

__all__ = ["Storage", "StoredFile", "check_name", "files_below", "is_part", "open_storage", "redacted", "said"]
