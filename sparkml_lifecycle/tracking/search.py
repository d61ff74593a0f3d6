"""The filter language: text -> a small tree. MLflow's grammar; what the tree means in SQL is :mod:`.select`'s."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NoReturn

from sparkml_lifecycle.errors import FilterError, did_you_mean

Kind = Literal["metric", "param", "tag", "attribute", "dataset"]
Value = str | float | tuple[str, ...] | None

_KINDS: dict[str, Kind] = {
    "metric": "metric", "metrics": "metric",
    "param": "param", "params": "param", "parameter": "param", "parameters": "param",
    "tag": "tag", "tags": "tag",
    "attribute": "attribute", "attributes": "attribute", "attr": "attribute", "run": "attribute",
    "dataset": "dataset", "datasets": "dataset",
}  # fmt: skip
RUN_ATTRIBUTES = (
    "run_id",
    "run_name",
    "status",
    "user_id",
    "artifact_uri",
    "start_time",
    "end_time",
    "experiment_id",
    "lifecycle_stage",
)
EXPERIMENT_ATTRIBUTES = ("name", "experiment_id", "creation_time", "last_update_time", "lifecycle_stage")
MODEL_ATTRIBUTES = ("name", "creation_timestamp", "last_updated_timestamp")
VERSION_ATTRIBUTES = (
    *MODEL_ATTRIBUTES,
    "version_number",
    "run_id",
    "source_path",
    "stage",
    "user_id",
    "digest",
)
DATASET_ATTRIBUTES = ("name", "digest", "context")
_NUMBERS = (
    "start_time",
    "end_time",
    "creation_time",
    "last_update_time",
    "creation_timestamp",
    "last_updated_timestamp",
    "version_number",
)
_ALSO_NAMED = {
    "created": "start_time",
    "Created": "start_time",
    "run name": "run_name",
    "Run name": "run_name",
    "Run Name": "run_name",
}
_DEEPEST = 50
_NUMERIC_OPERATORS = ("=", "!=", "<", "<=", ">", ">=", "IS NULL", "IS NOT NULL")
_SIGNS = {"=": "=", "==": "=", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_TEXT_OPERATORS = ("=", "!=", "LIKE", "ILIKE", "IN", "NOT IN", "IS NULL", "IS NOT NULL")


@dataclass(frozen=True)
class Field:
    """What is compared: ``metrics.auc`` is ``Field("metric", "auc")``.

    Attributes
    ----------
    kind : str
    key : str
    exact : bool
        Backticks or quotes stand around all of it, so that ``loss.min`` is the metric of that name.
    extreme : bool
        They stand around the metric alone, ``metrics.`loss`.min``, so that it is the smallest ``loss`` whatever else there is.
    """

    kind: Kind
    key: str
    exact: bool = False
    extreme: bool = False

    @property
    def spelled(self) -> str:
        """The field as a filter names it."""
        if self.extreme:
            return f"{self.kind}s.`{self.key[:-4]}`{self.key[-4:]}"
        return f"{self.kind}s.`{self.key}`" if self.exact else f"{self.kind}s.{self.key}"

    @property
    def is_time(self) -> bool:
        """Whether its values are milliseconds since 1970."""
        return self.kind == "attribute" and self.key in _NUMBERS and self.key != "version_number"

    @property
    def is_number(self) -> bool:
        """Whether its values are numbers."""
        return self.kind == "metric" or (self.kind == "attribute" and self.key in _NUMBERS)


@dataclass(frozen=True)
class Comparison:
    """One comparison; ``value`` is a tuple for IN and None for IS NULL."""

    field: Field
    operator: str
    value: Value


@dataclass(frozen=True)
class And:
    """All of the parts hold; none is everything."""

    parts: "tuple[Node, ...]"


@dataclass(frozen=True)
class Or:
    """At least one of the parts holds."""

    parts: "tuple[Node, ...]"


Node = Comparison | And | Or


def fields_of(node: Node) -> Iterator[Field]:
    """What a filter compares, each as often as it stands there."""
    if isinstance(node, Comparison):
        yield node.field
    else:
        for part in node.parts:
            yield from fields_of(part)


@dataclass(frozen=True)
class Order:
    """One key to order by."""

    field: Field
    descending: bool


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int


_TOKENS = re.compile(
    r"""\s*(?:
      (?P<field>(?:(?:[A-Za-z]\w*\.)?`[^`]*`|[A-Za-z]\w*\."[^"]*")(?:\.(?:min|max)\b)?)
    | (?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")
    | (?P<number>[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|(?:inf|nan)\b))
    | (?P<word>[A-Za-z_][\w.\-/:]*)
    | (?P<sign>[<>=!]+|\(|\)|,)
    )""",
    re.VERBOSE | re.IGNORECASE,
)


def parse(text: str | None, attributes: tuple[str, ...] = RUN_ATTRIBUTES) -> And:
    """The tree of a filter.

    Parameters
    ----------
    text : str or None
        Comparisons joined by AND, OR and parentheses; ``metrics.auc > 0.9 and (params.depth = '6' or tags.team = 'crm')``.
    attributes : tuple of str
        The attributes that may be named.

    Raises
    ------
    FilterError
        If it cannot be read; the message marks the place.
    """
    if text is None or not _text(text, "filter").strip():
        return And(())
    return _Parser(text, attributes).everything()


def parse_order(clause: str, attributes: tuple[str, ...] = RUN_ATTRIBUTES) -> Order:
    """One item of ``order_by``: ``metrics.auc desc``."""
    return _Parser(_text(clause, "order"), attributes, "order_by").order()


def parse_columns(text: str) -> Field:
    """One item of ``only``: ``metrics.auc``, ``params.depth``, or ``tags`` for all of them (then the key is empty)."""
    kind = _KINDS.get(_text(text, "column").strip().lower())
    if kind in ("metric", "param", "tag"):
        return Field(kind, "")
    field = _Parser(text, RUN_ATTRIBUTES, "only").field()
    if field.kind not in ("metric", "param", "tag"):
        raise FilterError(
            f"only=[{text!r}]: metrics., params. and tags. can be chosen. run_id, experiment_id, status, artifact_uri, start_time "
            "and end_time always come; the run's name is tags.mlflow.runName."
        )
    return field


def _text(given: object, what: str) -> str:
    if not isinstance(given, str):
        raise FilterError(f"The {what} must be a text, found {given!r}.")
    try:
        given.encode()
    except UnicodeEncodeError:
        raise FilterError(f"The {what} is no valid Unicode text (half of a surrogate pair).") from None
    return given


class _Parser:
    def __init__(self, text: str, attributes: tuple[str, ...], argument: str = "The filter") -> None:
        self._text, self._attributes, self._argument = text, attributes, argument
        self._tokens: list[_Token] = []
        position = 0
        while text[position:].strip():
            match = _TOKENS.match(text, position)
            if match is None or match.lastgroup is None:
                start = position + len(text[position:]) - len(text[position:].lstrip())
                self._fail(
                    start,
                    f"{text[start]!r} cannot stand here"
                    + (": the quote is not closed" if text[start] in "'\"`" else ""),
                )
            self._tokens.append(_Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
            position = match.end()
        self._next = 0

    def everything(self) -> And:
        found = self._either(0)
        if (token := self._peek()) is not None:
            self._fail(token.start, "this ')' was never opened" if token.text == ")" else "AND or OR was expected here")
        return found if isinstance(found, And) else And((found,))

    def _either(self, depth: int) -> Node:
        parts = [self._all(depth)]
        while self._word("OR"):
            parts.append(self._all(depth))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _all(self, depth: int) -> Node:
        parts = [self._part(depth)]
        while self._word("AND"):
            parts.append(self._part(depth))
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _part(self, depth: int) -> Node:
        token = self._peek()
        if token is None or token.text != "(":
            return self._comparison()
        if depth == _DEEPEST:
            self._fail(token.start, f"parentheses are nested more than {_DEEPEST} deep")
        self._next += 1
        found = self._either(depth + 1)
        closing = self._take("')'")
        if closing.text != ")":
            self._fail(closing.start, "AND, OR or ')' was expected here")
        return found

    def _word(self, word: str) -> bool:
        token = self._peek()
        found = token is not None and token.kind == "word" and token.text.upper() == word
        self._next += found
        return found

    def order(self) -> Order:
        field = self._field()
        if field.kind == "dataset":
            self._fail(0, "runs cannot be ordered by their datasets, of which each may have several")
        token = self._peek()
        descending = token is not None and token.text.upper() == "DESC"
        if token is not None:
            if token.text.upper() not in ("ASC", "DESC"):
                self._fail(token.start, "ASC or DESC was expected here")
            self._next += 1
        if (rest := self._peek()) is not None:
            self._fail(rest.start, "nothing more was expected here; give order_by as a list, one item for each key")
        return Order(field, descending)

    def field(self) -> Field:
        found = self._field()
        if (rest := self._peek()) is not None:
            self._fail(
                rest.start,
                "nothing more was expected here; give one item for each column, and backticks around odd names",
            )
        return found

    def _comparison(self) -> Comparison:
        field = self._field()
        token = self._take("a comparison, such as = or >")
        operator, start = self._operator(token), token.start
        allowed = _NUMERIC_OPERATORS if field.is_number else _TEXT_OPERATORS
        if operator not in allowed:
            self._fail(start, f"{operator} does not go with {field.kind} {field.key!r}; allowed: {', '.join(allowed)}")
        if operator.startswith("IS"):
            return Comparison(field, operator, None)
        if operator.endswith("IN"):
            return Comparison(field, operator, self._several())
        return Comparison(field, operator, self._value(field))

    def _operator(self, token: _Token) -> str:
        word = token.text.upper()
        if token.kind == "sign" and word not in "(),":
            if word not in _SIGNS:
                self._fail(token.start, f"{word!r} is no operator; there are {' '.join(_SIGNS)}")
            return _SIGNS[word]
        if word in ("LIKE", "ILIKE", "IN"):
            return word
        following = self._peek()
        if word == "NOT" and following is not None and following.text.upper() == "IN":
            self._next += 1
            return "NOT IN"
        if word == "IS":
            negated = following is not None and following.text.upper() == "NOT"
            self._next += negated
            if self._take("NULL").text.upper() == "NULL":
                return "IS NOT NULL" if negated else "IS NULL"
        self._fail(
            token.start, "a comparison was expected here: = != < <= > >= LIKE ILIKE IN, NOT IN, IS NULL, IS NOT NULL"
        )

    def _field(self) -> Field:
        token = self._take("a field, such as metrics.auc, params.depth, tags.team or status")
        if token.kind not in ("word", "field"):
            self._fail(token.start, "a field was expected here, such as metrics.auc, params.depth, tags.team or status")
        text, suffix = token.text, ""
        if token.kind == "field":
            if text[-1] not in '`"':
                text, suffix = text[:-4], text[-4:].lower()
            prefix, _, key = text.partition(text[-1])
            prefix, key, exact = prefix.removesuffix("."), key[:-1], True
        else:
            prefix, _, key = text.partition(".")
            exact = False
            if not key:
                prefix, key = "", prefix
        if not prefix:
            return self._attribute(token, key, exact)
        if prefix.lower() not in _KINDS:
            self._fail(
                token.start,
                f"{prefix!r} is not known; fields begin with metrics. params. tags. attributes. or datasets.{did_you_mean(prefix, _KINDS)}",
            )
        kind = _KINDS[prefix.lower()]
        if kind == "attribute":
            return self._attribute(token, key, exact)
        if kind == "dataset" and key not in DATASET_ATTRIBUTES:
            self._fail(token.start, f"of a dataset {', '.join(DATASET_ATTRIBUTES)} can be compared, not {key!r}")
        if not key:
            self._fail(token.start, "a key is missing after the dot")
        if suffix:
            if kind != "metric":
                self._fail(token.start + len(text), f"{suffix} is of metrics, not of {prefix}")
            return Field(kind, f"{key}{suffix}", extreme=True)
        return Field(kind, key, exact)

    def _attribute(self, token: _Token, key: str, exact: bool) -> Field:
        if key.upper() == "NOT" and not exact:
            self._fail(token.start, "NOT stands only before IN and NULL: write != or the opposite comparison")
        key = _ALSO_NAMED.get(key, key) if "start_time" in self._attributes else key
        if key not in self._attributes:
            guess = did_you_mean(key, self._attributes) or self._with_kind(token, key)
            self._fail(token.start, f"there is no attribute {key!r}; allowed: {', '.join(self._attributes)}.{guess}")
        return Field("attribute", key, exact)

    def _with_kind(self, token: _Token, key: str) -> str:
        """The question whether a bare key is a metric's, a parameter's or a tag's: by the value that it is compared with."""
        if self._attributes != RUN_ATTRIBUTES or "." in token.text:
            return ""
        value = next((one.kind for one in self._tokens[self._next :] if one.kind in ("number", "text")), None)
        kinds = {"number": ["metrics"], "text": ["params", "tags"]}.get(str(value), ["metrics", "params", "tags"])
        named = [f"{kind}.{key}" if re.fullmatch(r"[\w.\-/:]+", key) else f"{kind}.`{key}`" for kind in kinds]
        return f" Did you mean {' or '.join(named)}?"

    def _value(self, field: Field) -> Value:
        token = self._take("a value")
        if field.is_number:
            if token.kind != "number":
                unit = ", milliseconds since 1970" if field.is_time else ""
                self._fail(token.start, f"{field.kind} {field.key!r} is compared with a number{unit}, without quotes")
            number = float(token.text)
            if field.kind == "metric":
                return number
            if not abs(number) < 2**63 or number != int(number):
                unit = "milliseconds, " if field.is_time else ""
                self._fail(token.start, f"{field.key} is compared with {unit}a whole number of 64 bits")
            return int(number)
        return self._plain_text(token, field)

    def _several(self) -> tuple[str, ...]:
        opening = self._take("'('")
        if opening.text != "(":
            self._fail(opening.start, "a list was expected here, such as ('a', 'b')")
        values = []
        while True:
            value = self._take("a value")
            if value.text == ")":
                self._fail(value.start, "a list holds at least one value")
            values.append(self._plain_text(value, None))
            token = self._take("',' or ')'")
            if token.text == ")":
                return tuple(values)
            if token.text != ",":
                self._fail(token.start, "',' or ')' was expected here")

    def _plain_text(self, token: _Token, field: Field | None) -> str:
        if token.kind != "text":
            what = f"{field.kind} {field.key!r} is compared with text" if field else "values in a list are text"
            self._fail(token.start, f"{what}: put it in quotes, '{token.text}'")
        quote = token.text[0]
        return token.text[1:-1].replace(quote * 2, quote)

    def _peek(self) -> _Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _take(self, wanted: str) -> _Token:
        token = self._peek()
        if token is None:
            self._fail(len(self._text), f"it ends where {wanted} was expected")
        self._next += 1
        return token

    def _fail(self, position: int, why: str) -> NoReturn:
        line = self._text.replace("\n", " ").replace("\t", " ")
        said = f"{self._argument} cannot be read: {why}{'' if why[-1] in '.?' else '.'}"
        raise FilterError(f"{said}\n  {line}\n  {' ' * position}^")
