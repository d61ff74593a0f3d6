"""A ledger that has followed its model beside one that is made of all its rows."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from sparkml_lifecycle.entities import ModelStage
from sparkml_lifecycle.lake import Group
from sparkml_lifecycle.registry.ledger import Ledger
from sparkml_lifecycle.registry.tables import RegistryRow, What

START = datetime(2026, 1, 1, tzinfo=UTC)
VERSIONS = st.sampled_from(["1", "2", "3", "10"])
CHANGES = st.one_of(
    st.tuples(st.just(What.VERSION), VERSIONS, st.just(""), st.sampled_from(["READY", None])),
    st.tuples(st.just(What.STAGE), VERSIONS, st.just(""), st.sampled_from(ModelStage.ALL)),
    st.tuples(st.just(What.ALIAS), st.just(""), st.sampled_from(["a", "b"]), st.one_of(VERSIONS, st.none())),
    st.tuples(st.just(What.TAG), st.one_of(VERSIONS, st.just("")), st.sampled_from("xy"), st.sampled_from("12")),
    st.tuples(st.just(What.DESCRIPTION), st.one_of(VERSIONS, st.just("")), st.just(""), st.text(max_size=3)),
)


def row(change, revision, minutes):
    what, version, key, value = change
    return RegistryRow(
        at=START + timedelta(minutes=minutes), seq=revision, revision=revision, model_id="m", name="n", what=what,
        version=version, key=key, value=value,
    )  # fmt: skip


def said_by(ledger):
    there = ledger.versions()
    return {
        "versions": there,
        "next": ledger.next_version,
        "newest": ledger.newest,
        "holders": {stage: ledger.holders(stage) for stage in ModelStage.ALL},
        "aliases": ledger.aliases(),
        "tags": {number: ledger.tags(number) for number in ("", *there)},
        "entities": {number: ledger.version(number) for number in there},
        "counting": sorted((row.key_of(), row.revision) for row in ledger.counting()),
        "of some": sorted(row.key_of() for row in ledger.counting(version=("1", "10"))),
        "changes": [row.revision for row in ledger.rows],
    }


def anew(rows):
    return Ledger("m", "n", Group().grown(rows), "/lake")


# what lost a race may be read after what won it; and a clock may stand where it stood
@given(st.lists(st.lists(st.tuples(CHANGES, st.integers(0, 9)), max_size=5), min_size=1, max_size=6), st.randoms())
def test_a_ledger_that_has_followed_says_what_one_that_is_made_anew_says(batches, random):
    revision = 1
    first = row((What.MODEL, "", "", "n"), revision, 0)
    group = Group().grown([first])
    ledger = Ledger("m", "n", group, "/lake")
    everything, earlier = [first], []
    for batch in batches:
        rows = []
        for change, minutes in batch:
            revision += 1
            rows.append(row(change, revision, minutes))
        random.shuffle(rows)
        earlier.append((ledger, said_by(ledger)))
        everything += rows
        group = group.grown(rows)
        ledger = Ledger("m", "n", group, "/lake", ledger)
        assert said_by(ledger) == said_by(anew(everything))
    # whoever holds one of before still sees what it saw
    for held, said in earlier:
        assert said_by(held) == said


@given(st.lists(st.tuples(CHANGES, st.integers(0, 9)), min_size=1, max_size=12), st.integers(0, 9))
def test_a_ledger_of_then_and_one_of_now_are_not_mixed(changes, minutes):
    rows = [row((What.MODEL, "", "", "n"), 1, 0), *(row(one, 2 + i, at) for i, (one, at) in enumerate(changes))]
    now = Group().grown(rows)
    then = Group().grown([one for one in now.rows if one.at <= START + timedelta(minutes=minutes)])
    of_then = Ledger("m", "n", then, "/lake", Ledger("m", "n", now, "/lake"))
    assert said_by(of_then) == said_by(anew(then.rows))
    assert said_by(Ledger("m", "n", now, "/lake", of_then)) == said_by(anew(rows))
