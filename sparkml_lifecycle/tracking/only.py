"""Which columns a search is to give: ``only=["metrics.auc", "metrics.loss.min", "params"]``."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sparkml_lifecycle.tracking import names
from sparkml_lifecycle.tracking.search import Field, parse_columns

_EXTREMES = {".min": "smallest", ".max": "largest"}


def extreme(field: Field, named: Collection[str] = ()) -> tuple[str, str] | None:
    """The metric and the column of ``metrics.loss.min``; None where it can be no extreme, or a metric is ``named`` so."""
    metric, column = field.key[:-4], _EXTREMES.get(field.key[-4:])
    if field.kind != "metric" or not metric or not column or field.exact:
        return None
    return None if field.key in named and not field.extreme else (metric, column)


@dataclass(frozen=True)
class Only:
    """The fields of each kind that are asked for.

    Attributes
    ----------
    fields : tuple of Field or None
        None is everything; a field with an empty key is all of its kind.
    """

    fields: tuple[Field, ...] | None = None

    @classmethod
    def of(cls, columns: str | Sequence[str] | None) -> "Only":
        """From texts such as ``metrics.auc`` or ``params``.

        Raises
        ------
        FilterError
            If one cannot be read.
        """
        return cls(None if columns is None else tuple(map(parse_columns, names.several(columns, "only"))))

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return self.fields is None

    def keys(self, kind: str) -> list[str] | None:
        """The keys of a kind that are needed; None for all of them."""
        if self.fields is None:
            return None
        mine = [field for field in self.fields if field.kind == kind]
        if any(not field.key for field in mine):
            return None
        keys = {field.key for field in mine}
        return sorted(keys.union(found[0] for field in mine if (found := extreme(field))))
