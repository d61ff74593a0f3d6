"""A Spark session for tests: real Delta, two cores, its tables in a directory of the test's own."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sparkml_lifecycle.spark import get_spark


@contextmanager
def spark_session(directory: str | Path, conf: Mapping[str, str] | None = None) -> Iterator[Any]:
    """A session that is stopped at the end; meant for one fixture per test run, since its start takes seconds.

    Parameters
    ----------
    directory : path
        Where tables without a path of their own go.
    conf : mapping, optional
        Further settings of Spark.

    Examples
    --------
    ::

        @pytest.fixture(scope="session")
        def spark(tmp_path_factory):
            with spark_session(tmp_path_factory.mktemp("spark")) as session:
                yield session
    """
    wanted = {"spark.sql.warehouse.dir": Path(directory).resolve().as_uri(), **(conf or {})}
    session = get_spark(app_name="sparkml tests", master="local[2]", conf=wanted)
    try:
        yield session
    finally:
        session.stop()
