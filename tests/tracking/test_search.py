import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparkml_lifecycle.errors import FilterError, InvalidInput
from sparkml_lifecycle.tracking.finding import Query
from sparkml_lifecycle.tracking.search import (
    EXPERIMENT_ATTRIBUTES,
    And,
    Comparison,
    Field,
    Or,
    fields_of,
    parse,
    parse_columns,
    parse_order,
)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("metrics.auc > 0.9", Comparison(Field("metric", "auc"), ">", 0.9)),
        ("metric.auc<=-1e-3", Comparison(Field("metric", "auc"), "<=", -0.001)),
        ('metrics."f1 score" = 1', Comparison(Field("metric", "f1 score", True), "=", 1.0)),
        ("metrics.`a.b` != .5", Comparison(Field("metric", "a.b", True), "!=", 0.5)),
        ("params.depth = '6'", Comparison(Field("param", "depth"), "=", "6")),
        ('parameters.`model-type` like "it\'s%"', Comparison(Field("param", "model-type", True), "LIKE", "it's%")),
        ("tags.mlflow.runName ILIKE 'It''s'", Comparison(Field("tag", "mlflow.runName"), "ILIKE", "It's")),
        ("status in ('FINISHED', 'FAILED')", Comparison(Field("attribute", "status"), "IN", ("FINISHED", "FAILED"))),
        ("attributes.run_id not in ('a')", Comparison(Field("attribute", "run_id"), "NOT IN", ("a",))),
        ("attr.start_time >= 1700000000000", Comparison(Field("attribute", "start_time"), ">=", 1700000000000)),
        ("tags.team IS NOT NULL", Comparison(Field("tag", "team"), "IS NOT NULL", None)),
        ("params.x is null", Comparison(Field("param", "x"), "IS NULL", None)),
    ],
)
def test_a_comparison_is_read(text, wanted):
    assert parse(text).parts == (wanted,)


def test_comparisons_are_joined_by_and():
    assert [part.field.key for part in parse("metrics.a > 1 AND params.b = 'and' and tags.c != \"x\"").parts] == [
        "a",
        "b",
        "c",
    ]
    assert parse("").parts == parse(None).parts == parse("  ").parts == ()


def test_or_binds_less_than_and_and_parentheses_more():
    a, b, c = (Comparison(Field("tag", key), "=", "1") for key in "abc")
    assert parse("tags.a = '1' or tags.b = '1' and tags.c = '1'").parts == (Or((a, And((b, c)))),)
    assert parse("(tags.a = '1' OR tags.b = '1') AND ((tags.c = '1'))") == And((Or((a, b)), c))
    assert list(fields_of(parse("tags.a = '1' or (tags.b = '1' and tags.c = '1')"))) == [a.field, b.field, c.field]


@pytest.mark.parametrize(
    ("text", "caret", "said"),
    [
        ("metrics.auc > '0.9'", 14, "without quotes"),
        ("params.depth = 6", 15, "put it in quotes, '6'"),
        ("metrcs.auc > 1", 0, "Did you mean 'metrics'?"),
        ("statu = 'x'", 0, "Did you mean 'status'?"),
        ("metrics.auc >", 13, "a value"),
        ("metrics.auc LIKE 'a'", 12, "does not go with metric"),
        ("params.a > 'x'", 9, "allowed: ="),
        ("params.a = 'x' or", 17, "it ends where a field"),
        ("(params.a = 'x'", 15, "it ends where ')'"),
        ("params.a = 'x')", 14, "never opened"),
        ("(params.a = 'x' params.b = 'y')", 16, "AND, OR or ')' was expected"),
        ("()", 1, "a field was expected"),
        ("(" * 60 + "params.a = 'x'", 50, "more than 50 deep"),
        ("datasets.source = 'x'", 0, "name, digest, context can be compared"),
        ("dataset.name > 'x'", 13, "does not go with dataset"),
        ("params.a = 'x", 11, "quote is not closed"),
        ("metrics.a > 1 metrics.b > 2", 14, "AND or OR was expected"),
        ("params.a is 'x'", 9, "a comparison was expected"),
        ("params.a in 'x'", 12, "a list was expected"),
        ("metrics.auc >> 0.9", 12, "'>>' is no operator; there are = =="),
        ("auc > 0.9", 0, "Did you mean metrics.auc?"),
        ("team = 'crm'", 0, "Did you mean params.team or tags.team?"),
        ("metrics.a ; drop table runs", 10, "cannot stand here"),
    ],
)
def test_what_cannot_be_read_is_marked(text, caret, said):
    with pytest.raises(FilterError) as caught:
        parse(text)
    message, shown, mark = str(caught.value).split("\n")
    assert said in message
    assert shown == f"  {text}"
    assert mark.index("^") - 2 == caret


@pytest.mark.parametrize("text", ["metrcs.auc > 1", "lifecycle = 'x'", "auc > 1", "params.a ="])
def test_a_sentence_ends_once(text):
    with pytest.raises(FilterError) as caught:
        parse(text)
    said = str(caught.value).split("\n")[0]
    assert said[-1] in ".?"
    assert ".." not in said
    assert "?." not in said


def test_what_cannot_be_read_is_named():
    with pytest.raises(
        FilterError, match="^order_by cannot be read.*Did you mean metrics.auc or params.auc or tags.auc"
    ):
        parse_order("auc desc")
    with pytest.raises(FilterError, match="^only cannot be read"):
        parse_columns("metrics.a b")


def test_an_order_is_read():
    order = parse_order("metrics.`a b` DESC")
    assert (order.field, order.descending) == (Field("metric", "a b", True), True)
    assert not parse_order("start_time").descending
    assert parse_order("name asc", EXPERIMENT_ATTRIBUTES).field.key == "name"
    with pytest.raises(FilterError, match="ASC or DESC"):
        parse_order("metrics.a down")
    with pytest.raises(FilterError, match="nothing more"):
        parse_order("metrics.a desc, metrics.b")


@given(value=st.text())
def test_any_text_can_be_quoted(value):
    quoted = value.replace("'", "''")
    assert parse(f"tags.`k` = '{quoted}'").parts[0].value == value


@given(text=st.text())
def test_whatever_is_written_is_read_or_refused(text):
    try:
        read = parse(text)
    except FilterError as error:
        message = str(error)
    else:
        message = f"{read}^"
    assert message.endswith("^")


def test_half_a_surrogate_pair_is_refused_in_words(store):
    store.experiments.create("e")
    for text in ("tags.`\ud800` = 'a'", "tags.a = '\ud800'", "params.a in ('\ud800','b')"):
        with pytest.raises(FilterError, match="no valid Unicode"):
            store.search_runs(Query(["1"], text))
    with pytest.raises(InvalidInput, match="no valid Unicode"):
        store.experiments.row("\ud800")
