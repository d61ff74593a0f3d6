"""Reads the files of a source without Spark: Parquet, ORC, CSV and JSON, in batches of bounded size and in Spark's types."""

import csv as texts
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv, json

from sparkml_lifecycle.errors import InvalidInput, SchemaError
from sparkml_lifecycle.model import types
from sparkml_lifecycle.scoring.split import Piece
from sparkml_lifecycle.storage import open_storage

# a batch has so many rows, or fewer that are together so large
_BATCH, _BATCH_BYTES = 131_072, 32 * 2**20
# what is read ahead of all columns of a Parquet file together, where its row groups are larger than some that are read whole
_AHEAD, _LEAST_AHEAD, _WHOLE = 16 * 2**20, 2**16, 32 * 2**20
# a file of lines is read in parts of some size that end with a line
_LINES = 16 * 2**20


def read(piece: Piece, form: str, options: Mapping[str, str], wanted: pa.Schema) -> Iterator[pa.Table]:
    """The wanted columns of a file, or of some of its row groups.

    Raises
    ------
    SchemaError
        If a column of the file has a type that would lose values, or its lines are not of the form.
    """
    found = {"parquet": _parquet, "orc": _orc, "csv": _csv, "json": _json}[form](piece, options, wanted)
    for batch in found:
        yield conformed(batch, wanted, piece.values, piece.path)


def conformed(
    batch: pa.RecordBatch, wanted: pa.Schema, values: Mapping[str, Any] | None = None, path: str = ""
) -> pa.Table:
    """A batch with the columns and types that are wanted; what it has not is the same in all rows: its value, or null.

    Raises
    ------
    SchemaError
        If a column has a type that would lose values.
    """
    constant = values or {}
    place = _places([name for name in batch.schema.names if name not in constant], wanted.names, path)
    arrays = [
        _cast(batch.column(place[one.name]), one, path)
        if one.name in place
        else pa.repeat(pa.scalar(constant.get(one.name), one.type), batch.num_rows)
        for one in wanted
    ]
    return pa.table(arrays, names=wanted.names)


def _places(there: Sequence[str], wanted: Sequence[str], path: str) -> dict[str, str]:
    """Under which name a file has each column; as for Spark, capitals make no difference where there is only one."""
    exact = set(there)
    found = {name: name for name in wanted if name in exact}
    if len(found) == len(wanted):
        return found
    for name in wanted:
        same = [one for one in there if one.lower() == name.lower()]
        if name not in found and len(same) > 1:
            raise SchemaError(f"The file {path!r} has {', '.join(same)} for the column {name!r}: which is not known.")
        if name not in found and same:
            found[name] = same[0]
    return found


def _cast(array: pa.Array, wanted: pa.Field, path: str) -> pa.Array:
    if array.type == wanted.type:
        return array
    plain = types.plain(array.type)
    if not types.widens(plain, wanted.type):
        raise SchemaError(
            f"The column {wanted.name!r} is {types.describe(plain)} in the file {path!r} and {types.describe(wanted.type)} in the source: "
            "it would lose values."
        )
    # Delta holds no nanoseconds
    return array.cast(wanted.type, safe=not pa.types.is_timestamp(wanted.type))


# -- Parquet and ORC -----------------------------------------------------------------------------------------------------------


def _parquet(piece: Piece, options: Mapping[str, str], wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
    filesystem, place = open_storage(piece.path).arrow()
    with filesystem.open_input_file(place) as opened:
        metadata = pq.read_metadata(opened)
        there = [name for name in metadata.schema.to_arrow_schema().names if name not in piece.values]
        columns = list(_places(there, wanted.names, piece.path).values())
        groups = range(*piece.groups) if piece.groups else range(metadata.num_row_groups)
        rows, size = max(
            (_weight(metadata.row_group(number), columns) for number in groups), default=(0, 0), key=lambda one: one[1]
        )
        # without a buffer the whole of a row group is read at once
        ahead = max(_AHEAD // max(len(columns), 1), _LEAST_AHEAD) if size > _WHOLE else 0
        file = pq.ParquetFile(
            opened, metadata=metadata, coerce_int96_timestamp_unit="us", pre_buffer=False, buffer_size=ahead
        )
        most = max(1, min(_BATCH, _BATCH_BYTES * rows // max(size, 1))) if rows else _BATCH
        yield from file.iter_batches(most, row_groups=list(groups), columns=columns, use_threads=False)


def _weight(group: pq.RowGroupMetaData, columns: Sequence[str]) -> tuple[int, int]:
    """How many rows a row group has, and how many bytes they take unpacked."""
    chunks = (group.column(number) for number in range(group.num_columns))
    # a column whose name has a dot is not found, and taken for nothing
    size = sum(one.total_uncompressed_size for one in chunks if one.path_in_schema.partition(".")[0] in columns)
    return group.num_rows, size


def _orc(piece: Piece, options: Mapping[str, str], wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
    from pyarrow import orc

    filesystem, place = open_storage(piece.path).arrow()
    with filesystem.open_input_file(place) as opened:
        file = orc.ORCFile(opened)
        columns = list(_places(file.schema.names, wanted.names, piece.path).values())
        for stripe in range(file.nstripes):
            batch = file.read_stripe(stripe, columns)
            for start in range(0, batch.num_rows, _BATCH):
                yield batch.slice(start, _BATCH)


# -- lines ---------------------------------------------------------------------------------------------------------------------


def _parts(piece: Piece) -> Iterator[bytes]:
    """The file in parts that end with a line, unpacked where its name says that it is packed."""
    filesystem, place = open_storage(piece.path).arrow()
    with filesystem.open_input_stream(place) as stream:
        rest = b""
        while block := stream.read(_LINES):
            whole, newline, after = (rest + block).rpartition(b"\n")
            if newline:
                yield whole + newline
            rest = after
        if rest:
            yield rest


def _json(piece: Piece, options: Mapping[str, str], wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
    for part in _parts(piece):
        if part.strip():
            yield from _json_table(piece, part, wanted).to_batches(_BATCH)


def _json_table(piece: Piece, part: bytes, wanted: pa.Schema | None) -> pa.Table:
    parse = json.ParseOptions(explicit_schema=wanted, unexpected_field_behavior="infer" if wanted is None else "ignore")
    # in one block, or a column would have the type of the first
    reading = json.ReadOptions(use_threads=False, block_size=len(part))
    try:
        return json.read_json(pa.BufferReader(part), reading, parse)
    except pa.ArrowInvalid as error:
        raise _unreadable(piece, "JSON", error) from None


def _csv(piece: Piece, options: Mapping[str, str], wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
    names: list[str] = []
    kinds = {one.name: one.type for one in wanted}
    for number, part in enumerate(_parts(piece)):
        names = names or _header(part, options)
        same = _places(names, wanted.names, piece.path)
        table = _csv_table(piece, part, options, names, {same[name]: kinds[name] for name in same}, number == 0)
        if table is not None:
            _check_quotes(table.select(list(same.values())), options, piece)
            yield from table.to_batches(_BATCH)


def _csv_table(
    piece: Piece, part: bytes, options: Mapping[str, str], names: list[str], kinds: Mapping[str, pa.DataType], is_first: bool
) -> pa.Table | None:  # fmt: skip
    """A part of a CSV file; None where it has no rows."""
    named = int(is_first and _is_named(options))
    if part.count(b"\n") + (not part.endswith(b"\n")) <= named:
        return None
    try:
        return csv.read_csv(
            pa.BufferReader(part),
            csv.ReadOptions(use_threads=False, block_size=len(part), column_names=names, skip_rows=named),
            csv.ParseOptions(delimiter=_separator(options)),
            csv.ConvertOptions(
                column_types=kinds, include_columns=list(kinds) or None, strings_can_be_null=True, null_values=[""],
                quoted_strings_can_be_null=False,
            ),
        )  # fmt: skip
    except pa.ArrowInvalid as error:
        raise _unreadable(piece, "CSV", error) from None


def _unreadable(piece: Piece, form: str, error: Exception) -> SchemaError:
    # the rest of the text may quote the data
    return SchemaError(
        f"The file {piece.path!r} cannot be read as {form} of the source's columns: {str(error).partition(':')[0]}."
    )


def _header(part: bytes, options: Mapping[str, str]) -> list[str]:
    first = part.partition(b"\n")[0].decode("utf-8-sig", "replace").rstrip("\r")
    values = next(texts.reader([first], delimiter=_separator(options)), [])
    return values if _is_named(options) else [f"_c{number}" for number in range(len(values))]


def _option(options: Mapping[str, str], name: str, default: str) -> str:
    return {key.lower(): value for key, value in options.items()}.get(name, default)


def _is_named(options: Mapping[str, str]) -> bool:
    return _option(options, "header", "false").lower() == "true"


def _separator(options: Mapping[str, str]) -> str:
    return _option(options, "sep", _option(options, "delimiter", ","))


def _check_quotes(table: pa.Table, options: Mapping[str, str], piece: Piece) -> None:
    """Refuse texts that Spark reads otherwise: it takes a backslash, and not a second quote, for what escapes a quote."""
    if _option(options, "escape", "\\") == '"':
        return
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_string(column.type) and pc.any(pc.match_substring_regex(column, r'["\\]')).as_py():
            raise InvalidInput(
                f"The column {name!r} of the file {piece.path!r} has a quote or a backslash inside a text, which Spark's CSV reader takes in a "
                "way of its own. With source.options.escape: '\"' a doubled quote is one, here and for Spark."
            )


# -- columns -------------------------------------------------------------------------------------------------------------------

_KNOWN = ("header", "sep", "delimiter", "inferschema", "escape")


def schema_of(pieces: Sequence[Piece], form: str, options: Mapping[str, str]) -> pa.Schema:
    """The columns of a source's files, as Spark would read them: of Parquet and ORC those of the first file, else of all.

    Raises
    ------
    InvalidInput
        If an option of Spark's reader is not known here.
    SchemaError
        If files have columns of one name and types that have nothing in common.
    """
    if form == "csv":
        _check_options(options)
    if form in ("csv", "json"):
        return _merged([schema for piece in pieces for schema in _of_lines(piece, form, options)], form)
    filesystem, place = open_storage(pieces[0].path).arrow()
    with filesystem.open_input_file(place) as opened:
        if form == "orc":
            from pyarrow import orc

            return orc.ORCFile(opened).schema
        file = pq.ParquetFile(opened)
        columns = file.metadata.schema
        # Spark's old times have no zone in the file and are UTC all the same
        old = {columns.column(i).path for i in range(len(columns)) if columns.column(i).physical_type == "INT96"}
        utc = pa.timestamp("us", "UTC")
        return pa.schema([pa.field(one.name, utc) if one.name in old else one for one in file.schema_arrow])


def _check_options(options: Mapping[str, str]) -> None:
    unknown = sorted(key for key in options if key.lower() not in _KNOWN)
    if unknown:
        raise InvalidInput(
            f"The option {', '.join(unknown)} of Spark's CSV reader needs Spark. Without it: header, sep, inferSchema, escape."
        )
    if _option(options, "escape", '"') != '"':
        raise InvalidInput("The option escape of Spark's CSV reader can only be '\"' without Spark.")


def _of_lines(piece: Piece, form: str, options: Mapping[str, str]) -> Iterator[pa.Schema]:
    """The columns of each part of a file."""
    names: list[str] = []
    infers = _option(options, "inferschema", "false").lower() == "true"
    for number, part in enumerate(_parts(piece)):
        if form == "json":
            if part.strip():
                yield _json_table(piece, part, None).schema
            continue
        names = names or _header(part, options)
        if not infers:
            yield pa.schema([(name, pa.string()) for name in names])
            return
        table = _csv_table(piece, part, options, names, {}, number == 0)
        if table is None:
            yield pa.schema([(name, pa.null()) for name in names])
            continue
        binary = [one.name for one in table.schema if pa.types.is_binary(one.type)]
        if binary:
            raise InvalidInput(f"The column {', '.join(binary)} of the file {piece.path!r} is not UTF-8.")
        yield table.schema


def _merged(schemas: Sequence[pa.Schema], form: str) -> pa.Schema:
    kinds: dict[str, list[pa.DataType]] = {}
    for schema in schemas:
        for one in schema:
            kinds.setdefault(one.name, []).append(_of_text(one.type) if form == "json" else one.type)
    return pa.schema([(name, _common(name, found, form)) for name, found in kinds.items()])


def _common(name: str, kinds: Sequence[pa.DataType], form: str) -> pa.DataType:
    """The type of a column that parts of files have in these; a column without values is a text."""
    try:
        found = (
            pa.unify_schemas([pa.schema([("x", kind)]) for kind in kinds], promote_options="permissive").field(0).type
        )
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        if form == "csv":
            return pa.string()
        some = ", ".join(sorted({str(kind) for kind in kinds}))
        raise SchemaError(f"The column {name!r} is of different types in the source's files: {some}.") from None
    return _leaves(found, lambda leaf: pa.string() if pa.types.is_null(leaf) else leaf)


def _of_text(kind: pa.DataType) -> pa.DataType:
    """A time in JSON is a text for Spark."""
    return _leaves(kind, lambda leaf: pa.string() if pa.types.is_timestamp(leaf) else leaf)


def _leaves(kind: pa.DataType, change: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    """A type with what it is made of changed."""
    if pa.types.is_list(kind):
        return pa.list_(_leaves(kind.value_type, change))
    if pa.types.is_struct(kind):
        return pa.struct([(one.name, _leaves(one.type, change)) for one in kind])
    return change(kind)
