"""One filesystem for every kind of URI, and each library's options for it."""

from sparkml_lifecycle.storage.options import redacted, said
from sparkml_lifecycle.storage.storage import Storage, StoredFile, open_storage

__all__ = ["Storage", "StoredFile", "open_storage", "redacted", "said"]
