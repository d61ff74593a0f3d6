"""The filter language of searches: text to a small tree, the tree to SQL. Values are never put into SQL unescaped."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sparkml_lifecycle.errors import FilterError, did_you_mean
from sparkml_lifecycle.lake.sql import literal

ATTRIBUTES = {
    "run_id": "run_id", "run_name": "run_name", "Run name": "run_name", "status": "status", "artifact_uri": "artifact_location",
    "user_id": "user_id", "experiment_id": "experiment_id", "start_time": "start_time", "end_time": "end_time", "created": "start_time",
}  # fmt: skip
_NUMBERS = {"start_time", "end_time"}
_ENTITIES = {
    "metric": "metrics", "metrics": "metrics", "param": "params", "params": "params", "parameter": "params", "parameters": "params",
    "tag": "tags", "tags": "tags", "attribute": "attributes", "attributes": "attributes", "attr": "attributes", "run": "attributes",
}  # fmt: skip
_TOKEN = re.compile(
    r"""\s*(?:(?P<string>'(?:[^']|'')*'|"(?:[^"]|"")*")|(?P<quoted>`[^`]+`)|(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?![\w.])"""
    r"""|(?P<operator><=|>=|!=|<>|=|<|>)|(?P<word>[A-Za-z_][\w\-/]*)|(?P<mark>[.(),]))"""
)


@dataclass(frozen=True)
class Term:
    """One comparison: an entity's key, an operator and a value (a tuple for IN, None for IS NULL)."""

    entity: str
    key: str
    operator: str
    value: str | float | tuple[str, ...] | None


@dataclass(frozen=True)
class Order:
    """One item of ``order_by``."""

    entity: str
    key: str
    descending: bool


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int


def parse_filter(text: str | None) -> list[Term]:
    """The comparisons of a filter, all of which must hold.

    Raises
    ------
    FilterError
        Marking the place in the text.
    """
    if not text or not text.strip():
        return []
    reader = _Reader(text)
    terms = [_term(reader)]
    while reader.peek() is not None:
        reader.word("AND")
        terms.append(_term(reader))
    return terms


def parse_order(items: Sequence[str] | None) -> list[Order]:
    """The items of ``order_by``: ``"metrics.mae ASC"``.

    Raises
    ------
    FilterError
        Marking the place in the text.
    """
    orders = []
    for item in items or []:
        reader = _Reader(item)
        entity, key = _identifier(reader)
        token = reader.take() if reader.peek() is not None else None
        if token is not None and (token.text.upper() not in ("ASC", "DESC") or reader.peek() is not None):
            raise reader.error(token, "expected ASC or DESC and nothing after it")
        orders.append(Order(entity, key, token is not None and token.text.upper() == "DESC"))
    return orders


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[_Token] = []
        self.position = 0
        place = 0
        while place < len(text.rstrip()):
            match = _TOKEN.match(text, place)
            if match is None or match.lastgroup is None:
                start = place + len(text[place:]) - len(text[place:].lstrip())
                raise self.error(_Token("", text[start : start + 1], start), "this cannot be read")
            self.tokens.append(_Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
            place = match.end()

    def peek(self) -> _Token | None:
        return self.tokens[self.position] if self.position < len(self.tokens) else None

    def take(self) -> _Token:
        token = self.peek()
        if token is None:
            raise self.error(_Token("", "", len(self.text)), "the text ends too early")
        self.position += 1
        return token

    def word(self, *allowed: str) -> str:
        token = self.take()
        if token.text.upper() not in allowed or token.kind != "word":
            raise self.error(token, f"expected {' or '.join(allowed)}")
        return token.text.upper()

    def error(self, token: _Token, problem: str) -> FilterError:
        line = self.text.replace("\n", " ")
        return FilterError(f"The filter cannot be read: {problem}.\n  {line}\n  {' ' * token.start}{'^' * max(len(token.text), 1)}")


def _identifier(reader: _Reader) -> tuple[str, str]:
    first = reader.take()
    following = reader.peek()
    if following is None or following.text != ".":
        key = first.text.strip("`\"")
        if key in ATTRIBUTES:
            return "attributes", key
        raise reader.error(first, f"expected metrics., params., tags. or an attribute ({', '.join(ATTRIBUTES)}){did_you_mean(key, ATTRIBUTES)}")
    if first.text not in _ENTITIES:
        raise reader.error(first, f"there is no {first.text!r}; use metrics, params, tags or attributes{did_you_mean(first.text, _ENTITIES)}")
    entity = _ENTITIES[first.text]
    reader.take()
    token = reader.take()
    if token.kind in ("quoted", "string"):
        key = token.text[1:-1]
    elif token.kind == "word":
        key = token.text
        while (dot := reader.peek()) is not None and dot.text == ".":
            reader.take()
            key += "." + reader.take().text
    else:
        raise reader.error(token, "expected a name; names with special characters stand between backticks")
    if entity == "attributes" and key not in ATTRIBUTES:
        raise reader.error(token, f"runs have no attribute {key!r}; they have {', '.join(ATTRIBUTES)}{did_you_mean(key, ATTRIBUTES)}")
    return entity, key


def _term(reader: _Reader) -> Term:
    entity, key = _identifier(reader)
    token = reader.take()
    operator = token.text.upper()
    if operator == "IS":
        negated = reader.word("NULL", "NOT") == "NOT"
        if negated:
            reader.word("NULL")
        return Term(entity, key, "IS NOT NULL" if negated else "IS NULL", None)
    if operator == "NOT":
        operator = f"NOT {reader.word('IN', 'LIKE', 'ILIKE')}"
    is_number = entity == "metrics" or (entity == "attributes" and ATTRIBUTES[key] in _NUMBERS)
    allowed = ("=", "!=", "<>", "<", "<=", ">", ">=") if is_number else ("=", "!=", "<>", "LIKE", "ILIKE", "IN", "NOT IN", "NOT LIKE", "NOT ILIKE")
    if operator not in allowed:
        raise reader.error(token, f"{entity}.{key} is compared with {', '.join(allowed)}")
    operator = "!=" if operator == "<>" else operator
    if operator in ("IN", "NOT IN"):
        return Term(entity, key, operator, _values(reader))
    value = reader.take()
    if is_number:
        if value.kind != "number" and value.text.strip("'\"").lower() not in ("nan", "inf", "-inf", "infinity"):
            raise reader.error(value, "expected a number")
        return Term(entity, key, operator, float(value.text.strip("'\"")))
    if value.kind != "string":
        raise reader.error(value, "expected a text between quotes")
    return Term(entity, key, operator, _unquote(value.text))


def _unquote(text: str) -> str:
    mark = text[0]
    return text[1:-1].replace(mark * 2, mark)


def _values(reader: _Reader) -> tuple[str, ...]:
    if (opening := reader.take()).text != "(":
        raise reader.error(opening, "expected ( and a list of texts")
    values = []
    while True:
        token = reader.take()
        if token.kind != "string":
            raise reader.error(token, "expected a text between quotes")
        values.append(_unquote(token.text))
        mark = reader.take()
        if mark.text == ")":
            return tuple(values)
        if mark.text != ",":
            raise reader.error(mark, "expected , or )")


# -- SQL -----------------------------------------------------------------------------------------------------------------

LATEST = {
    "metrics": "select run_id, key, last_value(value order by step, timestamp, value) as value from metrics where {where} group by run_id, key",
    "params": "select run_id, key, first_value(value order by seq, at, writer) as value from params where {where} group by run_id, key",
    "tags": "select owner as run_id, key, last_value(value order by seq, at, writer) as value from tags "
    "where owner_type = 'run' and {where} group by owner, key",
}


def condition(term: Term) -> str:
    """A comparison as a condition on the runs ``r``."""
    if term.entity == "attributes":
        return _compare(f"r.{ATTRIBUTES[term.key]}", term)
    rows = LATEST[term.entity].format(where=f"key = {literal(term.key)}")
    inside = f"select run_id from ({rows}) where value is not null"
    if term.operator == "IS NULL":
        return f"r.run_id not in ({inside})"
    if term.operator == "IS NOT NULL":
        return f"r.run_id in ({inside})"
    return f"r.run_id in ({inside} and {_compare('value', term)})"


def _compare(column: str, term: Term) -> str:
    value = term.value
    if term.operator in ("IS NULL", "IS NOT NULL"):
        return f"{column} {term.operator.lower()}"
    if isinstance(value, tuple):
        return f"{column} {term.operator.lower()} ({', '.join(literal(item) for item in value)})"
    if isinstance(value, float):
        if value != value:
            return f"{'not ' if term.operator == '!=' else ''}isnan({column})"
        # in DataFusion NaN is greater than every number
        guard = f" and not isnan({column})" if term.operator in (">", ">=") and term.entity == "metrics" else ""
        return f"{column} {term.operator} {literal(value)}{guard}"
    return f"{column} {term.operator.lower()} {literal(value)}"


def ordering(orders: Sequence[Order]) -> tuple[str, list[str]]:
    """The joins that an ordering needs, and the items of ORDER BY: missing values and NaN last, then newest first."""
    joins, items = [], []
    for i, order in enumerate(orders):
        direction = "desc" if order.descending else "asc"
        if order.entity == "attributes":
            column = f"r.{ATTRIBUTES[order.key]}"
        else:
            rows = LATEST[order.entity].format(where=f"key = {literal(order.key)}")
            joins.append(f"left join ({rows}) o{i} on o{i}.run_id = r.run_id")
            column = f"o{i}.value"
        items.append(f"{column} is null")
        if order.entity == "metrics":
            items.append(f"isnan({column})")
        items.append(f"{column} {direction}")
    return " ".join(joins), [*items, "r.start_time desc", "r.run_id"]
