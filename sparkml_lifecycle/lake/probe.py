"""Whether a storage can hold a lake that several processes write: of two rival commits it must refuse one."""

import re
import threading
import uuid
from contextlib import suppress
from typing import Any

from sparkml_lifecycle.errors import StorageError
from sparkml_lifecycle.storage import Storage, redacted

# two commits that start together nearly always both look before either writes; if one round was too slow for that, the next is not
_ROUNDS = 4


def one_winner(storage: Storage) -> bool:
    """Whether two commits of the same version of a table leave one winner, tried on a small table that is removed again.

    It goes through delta-rs, so it tests what commits rely on, with the credentials that they use (a role of the machine
    included), on every kind of storage. An old S3 look-alike ignores ``If-None-Match`` and accepts both.

    Raises
    ------
    StorageError
        If the storage cannot be written at all.
    InvalidInput
        If delta-rs cannot take its path.
    """
    import pyarrow as pa
    from deltalake import DeltaTable

    name = f"_probe-{uuid.uuid4().hex}"
    place = storage.child(name)
    uri = place.delta_uri
    try:
        if storage.is_local:
            place.local_path.mkdir(parents=True, exist_ok=True)
        schema = pa.schema([pa.field("x", pa.int64())])
        DeltaTable.create(uri, schema, storage_options=place.delta_options())
        return all(_winners(place) < 2 for _ in range(_ROUNDS))
    except Exception as error:  # delta-rs raises many kinds
        if isinstance(error, StorageError):
            raise
        raise StorageError(_cannot(storage, error)) from None
    finally:
        # what could not be written cannot be removed either, and the error that counts is the one above
        with suppress(StorageError):
            storage.delete(name)


def _winners(place: Storage) -> int:
    from deltalake import DeltaTable
    from deltalake.exceptions import CommitFailedError
    from deltalake.transaction import CommitProperties

    rivals = [DeltaTable(place.delta_uri, storage_options=place.delta_options()) for _ in range(2)]
    start = threading.Barrier(len(rivals))
    won: list[Any] = []
    failed: list[Exception] = []

    def commit(rival: Any) -> None:
        properties = CommitProperties(max_commit_retries=0)
        start.wait()
        try:
            rival.create_write_transaction([], "append", rival.schema(), commit_properties=properties)
            won.append(rival)
        except CommitFailedError:
            return
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=commit, args=(rival,)) for rival in rivals]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return len(won)


def _cannot(storage: Storage, error: Exception) -> str:
    text = redacted(" ".join(str(error).split()))
    # a port or an identifier in the text may hold these digits too
    if re.search(r"not ?implemented|status(?: code)?:? 501\b", text, re.IGNORECASE):
        return (
            f"The storage of {storage.uri!r} does not know conditional writes (If-None-Match), without which delta-rs cannot commit. "
            "Upgrade it, or keep the lake elsewhere."
        )
    return f"Cannot write to {storage.uri!r}: {type(error).__name__}: {text[:300]}"
