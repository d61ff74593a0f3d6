"""The column engine: a model as an Arrow UDF over columns of any DataFrame."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from sparkml_lifecycle.errors import InvalidInput, SchemaError
from sparkml_lifecycle.loaded import PyFuncModel
from sparkml_lifecycle.model.signature import Column, Signature, Tensor
from sparkml_lifecycle.scoring.progress import Address
from sparkml_lifecycle.scoring.worker import ANSWERED, ModelReference, Plan

_PART = r"(?:`(?:[^`]|``)+`|[^`.]+)"
_PATH = re.compile(rf"(?:{_PART}\.)*({_PART})")
_SQL_PART = r"(?:`(?:[^`]|``)+`|\w+)"
_SQL_PATH = re.compile(rf"(?:{_SQL_PART}\.)*({_SQL_PART})")


class ModelUdf:
    """A model as a function of columns.

    Call it with columns or their names, with one struct, or with nothing: then the columns are those of the model's
    signature. Arguments that are plain columns bearing exactly the signature's names are matched by name, in any order, in
    upper or lower case as the session has it (``spark.sql.caseSensitive``); otherwise they are matched by position. A text
    is the name of a column first, whatever dots or spaces it holds, and a path in Spark's spelling only if the model has no
    such column.

    Attributes
    ----------
    returnType : pyspark.sql.types.DataType
        The type of the answers.
    """

    deterministic = True

    def __init__(
        self,
        reference: ModelReference,
        names: Sequence[str] | None,
        optional: frozenset[str],
        result: Any,
        method: str | None,
        params: Mapping[str, Any],
        max_errors: int | None = None,
        report_to: Address | None = None,
    ) -> None:
        from pyspark.sql import types as T
        from pyspark.sql.pandas.types import to_arrow_type

        self.returnType = result
        self._names = list(names) if names is not None else None
        self._optional = optional
        arrow = to_arrow_type(result, timezone="UTC", prefers_large_types=False)
        self._plan = Plan(reference, None, arrow, method, dict(params), max_errors, report_to)
        if max_errors is not None:
            fields = zip(ANSWERED, (result, T.StringType()), strict=True)
            self.returnType = T.StructType([T.StructField(name, kind) for name, kind in fields])
        self._made: dict[tuple[str, ...] | None, Any] = {}

    def __repr__(self) -> str:
        return f"ModelUdf({', '.join(self._names) if self._names is not None else '...'}) -> {self.returnType.simpleString()}"

    def __call__(self, *columns: Any) -> Any:
        from pyspark.sql import functions as F

        if not columns:
            if self._names is None:
                raise InvalidInput(
                    "The model's signature has no column names, so the columns must be given: udf('a', 'b') or udf(struct('a', 'b'))."
                )
            if self._optional:
                raise InvalidInput(
                    f"The columns {', '.join(sorted(self._optional))} are optional, so say which are there: udf('a', 'b') or udf(struct('a', 'b'))."
                )
            return self._udf(tuple(self._names))(*(F.col(quoted(name)) for name in self._names))
        known = self._names or []
        fold = _folding(known)
        folded = [fold(name) for name in known]
        wanted = [
            column if not isinstance(column, str) else F.col(quoted(column) if fold(column) in folded else column)
            for column in columns
        ]
        if len(columns) == 1 and self._names is not None and len(known) != 1:
            return self._udf(None)(*wanted)
        found = [_plain_name(column) for column in wanted]
        if self._names is None:
            plain = [name for name in found if name is not None]
            return self._udf(tuple(plain) if len(set(plain)) == len(columns) else None)(*wanted)
        spelled = dict(zip(folded, known, strict=True))
        found = [name if name is None else spelled.get(fold(name), name) for name in found]
        if sorted(str(name) for name in found) == sorted(known):
            by_name = dict(zip(found, wanted, strict=True))
            return self._udf(tuple(known))(*(by_name[name] for name in known))
        self._check_positions(columns, found)
        return self._udf(tuple(known))(*wanted)

    def _check_positions(self, given: Sequence[Any], found: Sequence[str | None]) -> None:
        names = self._names or []
        takes = f"The model takes {len(names)} columns: {', '.join(names)}."
        if len(found) != len(names):
            raise SchemaError(
                f"{takes} {len(found)} were given. Give all of them, or one struct with columns of those names."
            )
        for position, (has, name) in enumerate(zip(found, names, strict=True), start=1):
            if has != name and has in names:
                raise SchemaError(
                    f"{takes} Argument {position} is the column {has!r}, but {name!r} belongs there. {self._how_to_name(given, found)}"
                )

    def _how_to_name(self, given: Sequence[Any], found: Sequence[str | None]) -> str:
        """What makes the arguments match by name: an alias where just one of them bears none of the model's names."""
        names = self._names or []
        others = [position for position, has in enumerate(found) if has not in names]
        left = [name for name in names if name not in found]
        if len(others) != 1 or len(left) != 1:
            return "Give all of them by name, or all by position."
        position = others[0]
        has = found[position]
        what = repr(has) if has is not None else f"the expression {_text(given[position])}"
        return f"Argument {position + 1}, {what}, bears no name of the model's: write it with .alias({left[0]!r}), and all match by name."

    def _udf(self, names: tuple[str, ...] | None) -> Any:
        if names not in self._made:
            self._made[names] = make_udf(replace(self._plan, names=names), self.returnType)
        return self._made[names]

    # what spark.udf.register(name, udf) looks at
    @property
    def func(self) -> Callable[..., Any]:
        """The function that Spark registers for SQL; its arguments are matched by position."""
        return self._registered.func

    @property
    def evalType(self) -> int:
        """Spark's kind of UDF."""
        return int(self._registered.evalType)

    def asNondeterministic(self) -> "ModelUdf":
        """Spark asks whether this exists; a model's answers are deterministic."""
        return self

    @property
    def _registered(self) -> Any:
        made = self._udf(tuple(self._names) if self._names is not None else None)
        return getattr(made, "_udf_object", None) or made


def make_udf(plan: Plan, result: Any) -> Any:
    """An iterator Arrow UDF; the closure holds the plan alone."""
    from pyspark.sql.functions import arrow_udf

    def predict(batches: Iterator[tuple[pa.Array, ...]]) -> Iterator[pa.Array]:
        from sparkml_lifecycle.scoring.worker import score_columns

        yield from score_columns(plan, batches)

    return arrow_udf(predict, result)


def quoted(name: str) -> str:
    """A column's name as Spark's expressions spell it, whatever characters are in it."""
    return f"`{name.replace('`', '``')}`"


def _folding(names: Sequence[str]) -> Callable[[str], str]:
    """How two names are compared: as the session has it, but exactly where the model's own names differ in case alone."""
    from pyspark.sql import SparkSession

    session = SparkSession.getActiveSession()
    exact = session is not None and session.conf.get("spark.sql.caseSensitive", "false") == "true"
    return str if exact or len({name.lower() for name in names}) < len(names) else str.lower


def _plain_name(column: Any) -> str | None:
    """The name of a plain column, None for an expression."""
    if (classic := getattr(column, "_jc", None)) is not None:
        return _name_of_node(classic.node(), column)
    expression: Any = getattr(column, "_expr", None)
    kind = type(expression).__name__
    if kind == "ColumnReference":
        return _last_part(_PATH, str(expression.name()))
    if kind == "ColumnAlias" and len(expression._alias) == 1:
        return str(expression._alias[0])
    return _last_part(_SQL_PATH, str(expression._expr)) if kind == "SQLExpression" else None


def _name_of_node(node: Any, column: Any) -> str | None:
    """What Spark itself knows of a column of a classic session; its text would not tell a name from an expression."""
    kind = node.getClass().getSimpleName()
    if kind == "UnresolvedAttribute":
        parts = node.nameParts()
        return str(parts.apply(parts.size() - 1))
    if kind == "Alias":
        return str(node.name().apply(0)) if node.name().size() == 1 else None
    if kind == "ExpressionColumnNode":
        expression = node.expression()
        named = expression.getClass().getSimpleName() in ("AttributeReference", "Alias")
        return str(expression.name()) if named else None
    if kind == "SqlExpression":
        return _last_part(_SQL_PATH, _text(column))
    return None


def _text(column: Any) -> str:
    return repr(column).removeprefix("Column<'").removesuffix("'>")


def _last_part(path: re.Pattern[str], text: str) -> str | None:
    match = path.fullmatch(text)
    if match is None:
        return None
    name = match[1]
    return name[1:-1].replace("``", "`") if name.startswith("`") else name


def output_type(model: PyFuncModel, result_type: Any, predict_fn: str | None) -> Any:
    """The Spark type of the answers: the asked one, else the signature's, else double (an array for probabilities).

    Raises
    ------
    InvalidInput
        If ``result_type`` is no Spark type.
    """
    from pyspark.sql import types as T

    if result_type is None:
        if predict_fn not in (None, model.default_method):
            return T.ArrayType(T.DoubleType()) if "proba" in str(predict_fn) else T.DoubleType()
        return _from_signature(model.signature)
    if isinstance(result_type, str):
        try:
            return T._parse_datatype_string(result_type)
        except Exception as error:
            raise InvalidInput(
                f"result_type {result_type!r} is not a Spark type. Examples: 'double', 'array<double>', 'struct<label:string,p:double>'."
            ) from error
    if isinstance(result_type, type) and issubclass(result_type, T.DataType):
        result_type = result_type()
    if not isinstance(result_type, T.DataType):
        raise InvalidInput(f"result_type must be a Spark type or its text, found {type(result_type).__name__}.")
    return result_type


def _from_signature(signature: Signature | None) -> Any:
    from pyspark.sql import types as T
    from pyspark.sql.pandas.types import from_arrow_type

    outputs = signature.outputs if signature else None
    if not outputs:
        return T.DoubleType()
    first = outputs[0]
    if isinstance(first, Tensor):
        value: Any = from_arrow_type(pa.from_numpy_dtype(first.dtype))
        return T.ArrayType(value) if len(first.shape) > 1 else value
    columns = [item for item in outputs if isinstance(item, Column)]
    if len(columns) == 1:
        return from_arrow_type(columns[0].type)
    return T.StructType(
        [
            T.StructField(str(c.name if c.name is not None else i), from_arrow_type(c.type))
            for i, c in enumerate(columns)
        ]
    )
