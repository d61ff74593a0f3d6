import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from typing import ClassVar

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparkml_lifecycle.errors import InvalidInput
from sparkml_lifecycle.lake import Lake, Row, rows
from sparkml_lifecycle.lake.order import now, uuid7
from sparkml_lifecycle.tracking.tables import RunRow
from tests.lake.points import Point, Tag, point


@dataclass(frozen=True, kw_only=True)
class Everything(Row):
    TABLE: ClassVar[str] = "everything"

    text: str | None
    whole: int | None
    number: float | None
    yes: bool | None
    raw: bytes | None
    moment: datetime | None


def test_a_dataclass_is_a_schema():
    schema = rows.schema(Everything)
    assert schema.field("number").type == pa.float64()
    assert schema.field("moment").type == pa.timestamp("us", "UTC")
    assert schema.field("text").nullable
    assert not schema.field("seq").nullable


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        (list[str], "Rewrite it as bad: str holding JSON"),
        (dict[str, int], "a table of"),
        (date, "datetime"),
        (int | str, "one type and None"),
    ],
)
def test_a_bad_annotation_says_how_to_rewrite_it(annotation, said):
    bad = dataclass(frozen=True, kw_only=True)(
        type("Bad", (Row,), {"__annotations__": {"bad": annotation}, "TABLE": "bad"})
    )
    with pytest.raises(InvalidInput, match=r"Bad\.bad") as caught:
        rows.columns(bad)
    assert said in str(caught.value)


def test_floats_have_no_statistics():
    assert "value" not in rows.statistics_columns(Point)
    assert {"key", "at", "seq"} <= set(rows.statistics_columns(Point))


def test_a_time_without_a_zone_and_a_missing_value_are_refused():
    with pytest.raises(InvalidInput, match="without a zone"):
        rows.to_arrow(Point, [Point(at=datetime(2026, 1, 1), key="a", value=1.0)])
    with pytest.raises(InvalidInput, match="is None"):
        rows.to_arrow(Point, [Point(at=now(), key=None, value=1.0)])
    with pytest.raises(InvalidInput, match="does not fit"):
        rows.to_arrow(
            Everything, [Everything(at=now(), text=None, whole=2**63, number=None, yes=None, raw=None, moment=None)]
        )


def test_a_flush_keeps_one_row_for_each_key():
    tags = [Tag(at=now(), key="a", value="1"), Tag(at=now(), key="b", value="2"), Tag(at=now(), key="a", value="3")]
    assert [(tag.key, tag.value) for tag in rows.one_per_key(Tag, tags)] == [("a", "3"), ("b", "2")]
    assert len(rows.one_per_key(Point, [point("a"), point("a")])) == 2


def test_run_ids_grow_and_are_version_7():
    ids = [uuid7() for _ in range(1000)]
    assert ids == sorted(set(ids))
    assert {(one[12], one[16] in "89ab") for one in ids} == {("7", True)}


moments = st.datetimes(
    datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC) | st.just(timezone(timedelta(hours=5)))
)
anything = st.builds(
    Everything,
    at=st.just(now()),
    text=st.none() | st.text(),
    whole=st.none() | st.integers(-(2**63), 2**63 - 1),
    number=st.none() | st.floats(),
    yes=st.none() | st.booleans(),
    raw=st.none() | st.binary(),
    moment=st.none() | moments,
)


def _same(a, b):
    if isinstance(a, float) and isinstance(b, float):
        return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    return a == b


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(written=st.lists(anything, min_size=1, max_size=4))
def test_rows_come_back_as_they_were(tmp_path, written):
    table = Lake(tmp_path / uuid7()).table(Everything)
    table.append(written)
    found = rows.from_arrow(Everything, table.to_arrow())
    fields = ("text", "whole", "number", "yes", "raw", "moment")
    assert len(found) == len(written)
    assert all(
        _same(getattr(a, name), getattr(b, name)) for a, b in zip(written, found, strict=True) for name in fields
    )


def test_the_steps_of_a_run_within_a_flush_stay_where_the_clock_tells_them_apart():
    def row(status, second):
        return RunRow(
            at=datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC), run_id="a", experiment_id="1", name="n", user_id="u",
            status=status, start_time=datetime(2026, 1, 1, tzinfo=UTC), end_time=None, lifecycle_stage="active", location="x",
        )  # fmt: skip

    begun, ended = row("RUNNING", 1), row("FINISHED", 2)
    assert rows.one_per_key(RunRow, [begun, ended]) == [begun, ended]
    # a clock that stood still or went back must not make the run go on
    assert rows.one_per_key(RunRow, [row("RUNNING", 2), ended]) == [ended]
    assert rows.one_per_key(RunRow, [row("RUNNING", 3), ended]) == [ended]


def test_a_row_without_fields_of_its_own_and_times_that_are_none(tmp_path):
    @dataclass(frozen=True, kw_only=True)
    class Bare(Row):
        TABLE: ClassVar[str] = "bare"

    assert rows.to_arrow(Bare, [Bare(at=now())], by="", writer="", seq=1).num_rows == 1
    for wrong in (date(2026, 1, 1), "2026-01-01", 5):
        with pytest.raises(InvalidInput, match="no time"):
            rows.to_arrow(Bare, [Bare(at=wrong)])
    with pytest.raises(InvalidInput, match="does not fit"):
        # in UTC it lies in the year 0, which nobody could read again
        rows.to_arrow(Bare, [Bare(at=datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5))))])
