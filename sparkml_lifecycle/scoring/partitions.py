"""The partitions of a target: which file a row belongs to, and how Delta's log and Spark's directories spell a value."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sparkml_lifecycle.errors import InvalidInput, SchemaError
from sparkml_lifecycle.scoring.layout import Layout
from sparkml_lifecycle.scoring.output import Output, Whole, Written
from sparkml_lifecycle.storage import Storage

NULL = "__HIVE_DEFAULT_PARTITION__"
# rows are gathered before they are sorted into files, so that many partitions do not make row groups of a few rows
_GATHERED_BYTES, _GATHERED_ROWS = 64 * 2**20, 2**20
# an open file costs some megabytes on an object store, and on a disk one of the process's descriptors
_OPEN_REMOTE, _OPEN_LOCAL = 32, 512
# the name of a file has 255 bytes on most systems
_LONGEST = 200
# what Spark escapes in the name of a directory
_ESCAPED = re.compile(r"""[\x00-\x1f"#%'*/:=?\\\x7f{\[\]^}]""")


def check(partition_by: Sequence[str], kinds: Mapping[str, str], layout: Layout) -> None:
    """Refuse partition columns that a target cannot have.

    Parameters
    ----------
    partition_by : sequence of str
    kinds : mapping
        The names of the types of the source's columns and of the prediction, Spark's or Arrow's.
    layout : Layout
        The target's columns.

    Raises
    ------
    SchemaError
        If one is not kept.
    InvalidInput
        If one has a type by which Delta has no partitions, or is named twice.
    """
    columns = [name for name in layout.columns if name != layout.error]
    absent = [name for name in partition_by if name not in columns]
    if absent:
        raise SchemaError(
            f"'target.partition_by' names {', '.join(absent)}, which the target does not have. It has: {', '.join(columns)}. "
            "Add them to keep:."
        )
    if len({name.lower() for name in partition_by}) < len(partition_by):
        raise InvalidInput(f"'target.partition_by' names a column twice: {', '.join(partition_by)}.")
    nested = ("array", "struct", "map", "variant", "binary")
    found = {name: kinds[name] for name in partition_by if name in kinds}
    odd = [f"{name} ({kind})" for name, kind in found.items() if kind in nested]
    if odd:
        raise InvalidInput(
            f"'target.partition_by' names {', '.join(odd)}; a partition is a text, a number, a date, a time or a boolean."
        )


def wanted(there: Sequence[str], asked: Sequence[str], columns: Sequence[str], target: str) -> tuple[str, ...]:
    """The partition columns of rows with these columns that are added to a table which has those of ``there``.

    Raises
    ------
    InvalidInput
        If others are asked for.
    SchemaError
        If the rows have not all of them.
    """
    if asked and list(asked) != list(there):
        has = f"has the partitions {', '.join(there)}" if there else "has no partitions"
        raise InvalidInput(
            f"'target.partition_by' is {', '.join(asked)}, and the table at {target!r} {has}; mode append keeps them. Leave "
            "target.partition_by out, or write to another place."
        )
    absent = [name for name in there if name not in columns]
    if absent:
        raise SchemaError(
            f"The table at {target!r} has the partitions {', '.join(there)}, and {', '.join(absent)} is not kept. Add it to keep:."
        )
    return tuple(there)


def spelled(value: Any) -> str | None:
    """A value as Delta's log spells it, None for null; an empty text is null, as Spark writes it."""
    if value is None or value in ("", NULL):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return _double(value)
    if isinstance(value, Decimal):
        return f"{value:f}"
    if hasattr(value, "tzinfo"):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _double(value: float) -> str:
    """As Java spells it, so that a partition has one spelling whichever engine writes it."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(value)
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    first, *rest = map(str, digits)
    return f"{'-' if sign else ''}{first}.{''.join(rest) or '0'}E{int(exponent) + len(rest)}"


def directory(values: Mapping[str, str | None]) -> str:
    """The directory of a partition below the table, as Spark names it; readers take the values from the log alone."""
    return "".join(f"{_name(key)}={NULL if value is None else _name(value)}/" for key, value in values.items())


def _name(text: str) -> str:
    escaped = _ESCAPED.sub(lambda found: f"%{ord(found[0]):02X}", text)
    return escaped.encode()[:_LONGEST].decode(errors="ignore")


@dataclass
class PartitionedOutput(Whole):
    """Files of one task, each of one partition, of which only so many are open at a time; used as :class:`~sparkml_lifecycle.scoring.output.Output` is.

    Parameters
    ----------
    storage : Storage
        The table's place.
    schema : pyarrow.Schema
        The table's columns.
    constant : mapping
        Columns that have one value in all rows.
    partition_by : tuple of str
        The columns that are in the names of the partitions, and not in the files.
    error : str or None
        The column with the reasons of rows without an answer.
    answer : str or None
        The column of which the nulls are counted.
    """

    storage: Storage
    schema: pa.Schema
    constant: Mapping[str, Any]
    partition_by: tuple[str, ...]
    error: str | None = None
    written: list[Written] = field(default_factory=list)
    answer: str | None = None

    def __post_init__(self) -> None:
        self._inside = pa.schema([one for one in self.schema if one.name not in self.partition_by])
        self._gathered: list[pa.Table] = []
        self._most_open = min(_OPEN_LOCAL, _descriptors() // 2) if self.storage.is_local else _OPEN_REMOTE
        self._open: dict[tuple[str | None, ...], Output] = {}

    def write(self, columns: Mapping[str, Any], rows: int) -> None:
        """Write rows; ``columns`` are those that are not constant, as Arrow arrays."""
        if not rows:
            return
        names = [one.name for one in self.schema if one.name in columns]
        self._gathered.append(pa.table([columns[name] for name in names], names=names))
        if (
            sum(one.nbytes for one in self._gathered) >= _GATHERED_BYTES
            or sum(one.num_rows for one in self._gathered) >= _GATHERED_ROWS
        ):
            self._sort()

    def _sort(self) -> None:
        if not self._gathered:
            return
        table = pa.concat_tables(self._gathered)
        self._gathered = []
        for values, rows in _partitions(table, self._keys(table)):
            output = self._output(values)
            output.write({name: rows[name] for name in rows.column_names if name not in self.partition_by}, len(rows))

    def _keys(self, table: pa.Table) -> list[Any]:
        return [
            pa.array([self.constant[name]], self.schema.field(name).type)
            if name in self.constant
            else table[name].combine_chunks()
            for name in self.partition_by
        ]

    def _output(self, values: tuple[str | None, ...]) -> Output:
        # the one that was used last stands last
        output = self._open.pop(values, None)
        if output is None:
            while len(self._open) >= self._most_open:
                self._open.pop(next(iter(self._open))).close()
            named = dict(zip(self.partition_by, values, strict=True))
            output = Output(
                self.storage, self._inside, self.constant, self.error, named, directory(named), self.written,
                None if self.answer in self.partition_by else self.answer,
            )  # fmt: skip
        self._open[values] = output
        return output

    def close(self) -> None:
        """Write what was gathered, and end all files."""
        self._sort()
        for output in self._open.values():
            output.close()
        self._open = {}

    def discard(self) -> None:
        """Delete the files."""
        # each removes what all have written
        for output in [*self._open.values(), Output(self.storage, self._inside, {}, written=self.written)]:
            output.discard()


def _descriptors() -> int:
    import resource

    least = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return least if least > 0 else 2 * _OPEN_LOCAL


def _partitions(table: pa.Table, keys: Sequence[Any]) -> list[tuple[tuple[str | None, ...], pa.Table]]:
    """The rows of each partition that there is, with its values."""
    code, names = np.zeros(table.num_rows, np.int64), [()]
    for key in keys:
        texts, codes = _spelled_codes(key)
        pairs, code = np.unique(code * len(texts) + codes, return_inverse=True)
        names = [(*names[pair // len(texts)], texts[pair % len(texts)]) for pair in pairs]
    if len(names) == 1:
        return [(names[0], table)]
    order = np.argsort(code, kind="stable")
    sorted_rows = table.take(pa.array(order))
    starts = np.searchsorted(code[order], np.arange(len(names) + 1))
    return [
        (name, sorted_rows.slice(start, end - start))
        for name, start, end in zip(names, starts[:-1], starts[1:], strict=True)
    ]


def _spelled_codes(key: pa.Array) -> tuple[list[str | None], np.ndarray]:
    """The different spellings of a column's values, and for each row which it is; values of one spelling are one partition."""
    found = pc.dictionary_encode(_bits(key), null_encoding="encode")
    values = found.dictionary.view(key.type) if pa.types.is_floating(key.type) else found.dictionary
    texts = [spelled(_exact(value)) for value in values]
    different = list(dict.fromkeys(texts))
    place = {text: number for number, text in enumerate(different)}
    return different, np.array([place[text] for text in texts], np.int64)[found.indices.to_numpy()]


def _bits(key: pa.Array) -> pa.Array:
    """Numbers by their bits, because -0.0 is another partition than 0.0."""
    return key.view(pa.int64() if key.type == pa.float64() else pa.int32()) if pa.types.is_floating(key.type) else key


def _exact(value: pa.Scalar) -> Any:
    """A value in Python; a float of 32 bits as the shortest text that stands for it."""
    if value.type == pa.float32() and value.is_valid:
        return float(str(np.float32(value.as_py())))
    return value.as_py()
