"""From a URI of any kind to a directory or file on this machine."""

import atexit
import shutil
import tempfile
from pathlib import Path

from sparkml_lifecycle import uris
from sparkml_lifecycle.client.runs import LifecycleClient
from sparkml_lifecycle.errors import InvalidInput, NotFound
from sparkml_lifecycle.storage import open_storage


def resolve(uri: str, client: LifecycleClient | None = None) -> Path:
    """The local path of a model or artifact; what lies on a storage is downloaded first.

    Parameters
    ----------
    uri : str
        A path, ``file:``, ``s3://`` (and the like) or ``runs:/<run_id>/<path>``.
    client : LifecycleClient, optional
        The lake that knows the run; the current one where it is not given.

    Raises
    ------
    NotFound
        If nothing is there.
    InvalidInput
        If the URI cannot be read.
    """
    found = uris.parse(uri)
    if isinstance(found, uris.ModelUri):
        raise InvalidInput(f"{uri!r} names a registered model; this version has no registry yet. Use runs:/<run_id>/<path> or a path.")
    if isinstance(found, uris.RunUri):
        run = (client or LifecycleClient()).get_run(found.run_id)
        location = uris.join(run.info.artifact_uri, found.path) if found.path else run.info.artifact_uri
        return _fetch(location, f"{uri!r} (run {run.info.run_name!r})")
    return _fetch(found.text, repr(uri))


def _fetch(location: str, asked: str) -> Path:
    storage = open_storage(location)
    if storage.is_local:
        if not storage.local_path.exists():
            raise NotFound(f"There is nothing at {asked}: {location} does not exist.")
        return storage.local_path
    folder = Path(tempfile.mkdtemp(prefix="sparkml-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return storage.download("", folder / location.rstrip("/").rpartition("/")[2])
