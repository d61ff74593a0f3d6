"""Which rows are wanted: the one condition that is both SQL for DataFusion and a mask for Arrow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sparkml_lifecycle.errors import InvalidInput
from sparkml_lifecycle.lake.rows import array
from sparkml_lifecycle.lake.sql import literal, literals, name

# more values than this are looked for by their range in SQL, whose text should stay short; the mask is exact
_MANY = 200


@dataclass(frozen=True)
class Where:
    """Rows whose text columns hold one of some values, and that were there at a time.

    Attributes
    ----------
    among : mapping of str to sequence of str
        Column to the values it may have.
    as_of : datetime or None
        Rows that were written later are left out.
    """

    among: Mapping[str, Sequence[str]] = field(default_factory=dict)
    as_of: datetime | None = None

    def __post_init__(self) -> None:
        if self.as_of is not None and (not isinstance(self.as_of, datetime) or self.as_of.utcoffset() is None):
            raise InvalidInput(
                f"as_of must be a datetime with a time zone, such as datetime.now(UTC), found {self.as_of!r}."
            )

        for column, values in self.among.items():
            try:
                "".join(values).encode()
            except UnicodeEncodeError:
                raise InvalidInput(
                    f"What is asked of {column} is no valid Unicode text (half of a surrogate pair)."
                ) from None

    @property
    def is_nothing(self) -> bool:
        """Whether no row can fit."""
        return any(not values for values in self.among.values())

    def sql(self) -> str:
        """A condition that lets through all of the rows, and may let through more."""
        parts = [self._among(column, values) for column, values in self.among.items()]
        if self.as_of is not None:
            parts.append(f"at <= {literal(self.as_of)}")
        return " and ".join(parts) or "true"

    def of(self, table: Any) -> Any:
        """The rows of an Arrow table that fit, exactly."""
        import pyarrow as pa
        import pyarrow.compute as pc

        masks = [pc.is_in(table[column], value_set=array(pa.string(), values)) for column, values in self.among.items()]
        if self.as_of is not None:
            masks.append(pc.less_equal(table["at"], pa.scalar(self.as_of, table["at"].type)))
        for mask in masks[1:]:
            masks[0] = pc.and_(masks[0], mask)
        return table.filter(masks[0]) if masks else table

    @property
    def columns(self) -> list[str]:
        """The columns that :meth:`of` looks at."""
        return [*self.among, *(["at"] if self.as_of is not None else [])]

    @staticmethod
    def _among(column: str, values: Sequence[str]) -> str:
        if len(values) > _MANY:
            return f"{name(column)} between {literal(min(values))} and {literal(max(values))}"
        return f"{name(column)} in {literals(values)}"
