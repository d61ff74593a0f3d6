"""The short ways for a few rows, beside the ways that they shorten."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from sparkml_lifecycle.lake import Lake, Where, order, recent, rows
from sparkml_lifecycle.lake.recent import Parts
from tests.lake.points import Tag

START = datetime(2026, 1, 1, tzinfo=UTC)
TAGS = st.builds(
    lambda key, value, seq, minutes, writer: Tag(
        at=START + timedelta(minutes=minutes), key=key, value=value, seq=seq, by="me", writer=writer
    ),
    st.sampled_from(["a", "b", "é"]), st.text(max_size=2), st.integers(0, 3), st.integers(0, 2), st.sampled_from("xyé"),
)  # fmt: skip


def table_of(tags):
    return rows.to_arrow(Tag, tags)


def told(table):
    return sorted(map(repr, rows.from_arrow(Tag, table)))


@given(st.lists(TAGS, min_size=1, max_size=20), st.booleans())
def test_of_a_few_rows_those_count_that_would_count_among_many(tags, first):
    table = table_of(tags)
    few = order.latest(table, Tag.KEY, first=first)
    # behind the same rows of other keys they are not looked at one by one
    others = [Tag.of(**{**vars(tag), "key": f"other {tag.key} {n}"}) for n in range(21) for tag in tags[:1]]
    many = order.latest(pa.concat_tables([table, table_of(others)]), Tag.KEY, first=first)
    keys = {tag.key for tag in tags}
    assert told(few) == told(Where({"key": sorted(keys)}).of(many))
    assert few.num_rows == len(keys)


@given(
    st.lists(st.lists(TAGS, max_size=6), max_size=12),
    st.lists(st.sampled_from(["a", "b", "é", "none"]), max_size=3, unique=True),
    st.sampled_from([None, ["x"], ["x", "é"]]),
    st.sampled_from([None, START, START + timedelta(minutes=1)]),
)
def test_what_an_index_leaves_out_does_not_fit(pieces, keys, writers, as_of):
    among = {"key": keys} | ({} if writers is None else {"writer": writers})
    where = Where(among, as_of)
    parts = Parts({str(n): table_of(tags) for n, tags in enumerate(pieces)}, None, frozenset(), rows.schema(Tag))
    wanted = told(where.of(parts.recent))
    assert told(parts.fitting(where)) == wanted
    # and once more with what is known by now
    assert told(parts.fitting(where)) == wanted


def test_of_large_pieces_no_index_is_made(monkeypatch):
    monkeypatch.setattr(recent, "_MOST_ROWS_OF_AN_INDEX", 2)
    tags = [Tag(at=START, key="ab"[n % 2], value=str(n), seq=n) for n in range(3)]
    pieces = {str(n): table_of(tags if n else tags[:1]) for n in range(9)}
    parts = Parts(pieces, None, frozenset(), rows.schema(Tag))
    assert parts.fitting(Where({"key": ["b"]})).num_rows == 8
    assert parts.fitting(Where({"key": ["a"]})).num_rows == 17
    assert list(parts.places) == [("0", "key")]


def test_an_answer_of_many_rows_has_no_more_chunks_than_there_are_files():
    tags = [Tag(at=START, key="a", value=str(n), seq=n) for n in range(50)]
    parts = Parts({str(n): table_of(tags) for n in range(9)}, None, frozenset(), rows.schema(Tag))
    found = parts.fitting(Where({"key": ["a"]}))
    assert found.num_rows == 450
    assert found["key"].num_chunks <= 9


def test_what_was_answered_is_not_the_answer_to_what_only_compares_equal(tmp_path):
    table = Lake(tmp_path).table(Tag)
    zone = ZoneInfo("Europe/Berlin")
    # the hour that comes twice
    early, late = (datetime(2025, 10, 26, 2, 30, tzinfo=zone, fold=fold) for fold in (0, 1))
    assert early == late
    between = datetime(2025, 10, 26, 1, 0, tzinfo=UTC)
    table.append([Tag(at=between - timedelta(hours=1), key="a", value="first")])
    table.append([Tag(at=between, key="a", value="second")])
    assert [row.value for row in table.latest(Where({"key": ["a"]}, early))] == ["first"]
    assert [row.value for row in table.latest(Where({"key": ["a"]}, late))] == ["second"]
    table.append([Tag(at=between, key="b", value="other")])
    asked = ["a"]
    assert len(table.latest(Where({"key": asked}))) == 1
    asked.append("b")
    assert len(table.latest(Where({"key": asked}))) == 2
