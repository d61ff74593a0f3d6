"""``promote``: everything that is required is looked at, and the move and its record are one commit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparkml_lifecycle import package, uris
from sparkml_lifecycle.entities import ModelStage, ModelVersion
from sparkml_lifecycle.errors import Conflict, IntegrityError, InvalidInput, LifecycleError, did_you_mean
from sparkml_lifecycle.model import example, manifest
from sparkml_lifecycle.promotion.measure import LabelledTable
from sparkml_lifecycle.promotion.requirement import Absent, Name, Requirement, Value, shown
from sparkml_lifecycle.registry.ledger import Ledger
from sparkml_lifecycle.registry.names import check_alias, check_note, is_stage
from sparkml_lifecycle.registry.store import Draft, answered, moved
from sparkml_lifecycle.registry.tables import What
from sparkml_lifecycle.tracking.names import several

if TYPE_CHECKING:
    from sparkml_lifecycle.client import LifecycleClient

_ATTEMPTS = 5
_WIDER = {"float": ("double",), "integer": ("long", "double"), "float32": ("float64",), "int32": ("int64", "float64")}
_OF_THE_CANDIDATE = ("metrics", "params", "tags")


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes
    ----------
    what : str
    passed : bool
    found : str
        What was found, for a person.
    """

    what: str
    passed: bool
    found: str


@dataclass(frozen=True)
class Verdict:
    """How a promotion ended.

    Attributes
    ----------
    name, version : str
    to : tuple of str
        Stages, and aliases with ``@``.
    passed : bool
    checks : tuple of Check
    evaluated_on : str or None
        The Delta table that the versions were scored on, with its version.
    metrics : mapping of str to mapping of str to float
        Of each version what was computed there.
    """

    name: str
    version: str
    to: tuple[str, ...]
    passed: bool
    checks: tuple[Check, ...]
    evaluated_on: str | None = None
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def promote(
    client: "LifecycleClient",
    name: str,
    version: str | int,
    to: str | Sequence[str] = ModelStage.PRODUCTION,
    require: str | Sequence[str] = (),
    *,
    check_signature: bool = False,
    check_load: bool = False,
    evaluate: str | Path | None = None,
    label: str | None = None,
    comment: str | None = None,
    keep_existing: bool = False,
    allow_code: bool | None = None,
) -> Verdict:
    """Move a version to a stage or alias if all that is required holds; the history tells either way.

    Parameters
    ----------
    client : LifecycleClient
    name : str
    version : str
        A number, ``latest``, a stage, or an alias with ``@``.
    to : str or sequence of str
        ``Production``, ``Staging`` …, or an alias with ``@`` such as ``@champion``; several are moved in one step.
    require : str or sequence of str
        Such as ``metrics.mae <= 12.5`` and ``metrics.mae <= champion.mae * 1.01``: ``metrics.``, ``params.`` and ``tags.`` are the
        version's (of its run), and before the dot may stand an alias, ``production``, ``staging`` or ``current``, the version
        that is there now. Where nobody has had that place yet, the comparison with it holds, and the table says so.
    check_signature : bool
        That it has a signature, and takes and answers what the version takes and answers that is there now.
    check_load : bool
        That it loads here, with the digest that was registered, and answers its input example.
    evaluate : str, optional
        A Delta table: ``metrics.`` and those of the versions compared with are computed on it (``mae``, ``rmse``, ``r2``, ``max_error``;
        ``accuracy``, ``log_loss``, ``roc_auc``; ``rows``), and none come from the runs.
    label : str, optional
        Its column with the truth.
    comment : str, optional
    keep_existing : bool
        Leave the versions in that stage where they are; otherwise they are archived.
    allow_code : bool, optional
        Consent to code out of the model directories.

    Returns
    -------
    Verdict

    Raises
    ------
    NotFound, InvalidInput
        If there is no such model or version, or a requirement cannot be read: then nothing is written.
    Conflict
        If somebody else moves the same place again and again meanwhile.
    """
    asked = _Asked(
        name, _targets(to), tuple(map(Requirement, several(require, "require"))), check_signature, check_load,
        check_note("comment", comment) or None, keep_existing, allow_code,
    )  # fmt: skip
    if not (asked.require or check_signature or check_load):
        raise InvalidInput(
            "Nothing is required, so this is no gate: give require, check_signature or check_load. Without a gate a version is "
            "moved by transition_model_version_stage, set_registered_model_alias, or sparkml models stage and alias."
        )
    if (evaluate is None) != (label is None):
        raise InvalidInput("evaluate and label go together: the table, and its column with the truth.")
    named = {name.source for one in asked.require for name in one.names()}
    if evaluate is not None and "metrics" not in named:
        raise InvalidInput("evaluate is given, and no requirement compares metrics., so nothing would be evaluated.")
    table = None if evaluate is None or label is None else LabelledTable(client, evaluate, label)
    number = client.registry.version_of(_selected(name, version)).version
    for _ in range(_ATTEMPTS):
        try:
            return _Trial(client, asked, number, table).decide()
        except Conflict as conflict:
            lost = conflict
    raise lost


@dataclass(frozen=True)
class _Asked:
    name: str
    to: tuple[str, ...]
    require: tuple[Requirement, ...]
    check_signature: bool
    check_load: bool
    comment: str | None
    keep_existing: bool
    allow_code: bool | None


class _Trial:
    """One look at a version and at those that it is compared with, and the commit of what came out."""

    def __init__(self, client: "LifecycleClient", asked: _Asked, number: str, table: LabelledTable | None) -> None:
        self._client, self._asked, self._table = client, asked, table
        self._model = client.registry.find(asked.name)
        self._candidate = self._model.version(number)
        self._metrics: dict[str, Mapping[str, float]] = {}
        self._directories: dict[str, Path] = {}
        self._places = {place: _holder(self._model, place) for place in self._compared()}

    def decide(self) -> Verdict:
        """Look at everything, and commit."""
        checks = self._changed_files()
        checks += [self._checked(one) for one in self._asked.require]
        checks += [self._signature()] if self._asked.check_signature else []
        checks += [self._loads()] if self._asked.check_load else []
        verdict = Verdict(
            self._asked.name, self._candidate.version, self._asked.to, all(one.passed for one in checks), tuple(checks),
            None if self._table is None else f"{self._table.place} version {self._table.version}",
            {} if self._table is None else {number: dict(found) for number, found in self._metrics.items()},
        )  # fmt: skip
        self._client.registry.change(self._asked.name, lambda model: self._drafts(model, verdict))
        return verdict

    def _compared(self) -> dict[str, None]:
        """The places of other versions that requirements name, and those to which this one goes."""
        named = [name.source for one in self._asked.require for name in one.names()]
        found: dict[str, None] = dict.fromkeys(self._asked.to)
        for source in named:
            if source in _OF_THE_CANDIDATE:
                continue
            found[self._place_of(source)] = None
        return found

    def _place_of(self, source: str) -> str:
        if source == "current":
            return self._asked.to[0]
        if is_stage(source):
            return ModelStage.of(source)
        place = f"@{source}"
        known = [f"@{row.key}" for row in self._model.counting(What.ALIAS)]
        # a name that is no place at all is a slip, and would hold for ever
        if place not in (*known, *self._asked.to, "@champion"):
            names = [
                *_OF_THE_CANDIDATE,
                "current",
                "champion",
                *(one[1:] for one in known),
                *(s.lower() for s in ModelStage.ALL),
            ]
            raise InvalidInput(
                f"{source!r} in a requirement is no alias of the model {self._asked.name!r}, no stage, and none of metrics, params, "
                f"tags and current.{did_you_mean(source, names)}"
            )
        return place

    # -- requirements ------------------------------------------------------------------------------------------------------

    def _checked(self, requirement: Requirement) -> Check:
        passed, found = requirement.holds(self._value)
        return Check(requirement.text, passed, found)

    def _value(self, name: Name) -> Value:
        if name.source == "metrics":
            return self._metric(self._candidate, name)
        if name.source == "tags":
            return self._known(self._candidate.tags, name, f"version {self._candidate.version} has no tag {name.key!r}")
        if name.source == "params":
            params = self._run(self._candidate).data.params
            return self._known(params, name, f"the run of version {self._candidate.version} has no param {name.key!r}")
        place = self._place_of(name.source)
        held = self._places[place]
        if held is None:
            if other := _once_held(self._model, place):
                raise Absent(f"nobody is in {place} any more ({other}): nothing to compare with", holds=False)
            raise Absent(f"nobody is in {place} yet: nothing to compare with", holds=True)
        return self._metric(self._model.version(held), name)

    def _metric(self, version: ModelVersion, name: Name) -> float:
        if version.version not in self._metrics:
            self._metrics[version.version] = self._measured(version)
        found = self._metrics[version.version]
        if name.key not in found:
            if self._table is not None:
                raise Absent(f"{name.key!r} is not computed on the table; there are {', '.join(found)}", holds=False)
            near = did_you_mean(name.key, found)
            raise Absent(f"version {version.version} has no metric {name.key!r}.{near}", holds=False)
        return float(found[name.key])

    def _measured(self, version: ModelVersion) -> dict[str, float]:
        if self._table is not None:
            directory = self._directory(version)
            return self._table.measure(package.read(directory, allow_code=self._asked.allow_code))
        found: dict[str, float] = {}
        if version.run_id:
            for one in self._client.get_metric_summaries(version.run_id):
                extremes = {"min": one.smallest, "max": one.largest}
                found |= {f"{one.key}.{end}": value for end, value in extremes.items() if value is not None}
                found[one.key] = one.last
        return found

    def _run(self, version: ModelVersion) -> Any:
        if version.run_id is None:
            raise Absent(f"version {version.version} belongs to no run", holds=False)
        return self._client.get_run(version.run_id)

    @staticmethod
    def _known(values: Mapping[str, str], name: Name, missing: str) -> str:
        if name.key not in values:
            raise Absent(f"{missing}.{did_you_mean(name.key, values)}", holds=False)
        return values[name.key]

    def _directory(self, version: ModelVersion) -> Path:
        """The files of a version, which lie elsewhere perhaps: fetched once."""
        if version.version not in self._directories:
            self._directories[version.version] = self._client.fetch_version(version)
        return self._directories[version.version]

    # -- the model itself --------------------------------------------------------------------------------------------------

    def _changed_files(self) -> list[Check]:
        """Nothing, where the files are those that were registered."""
        try:
            self._directory(self._candidate)
        except IntegrityError as error:
            return [Check("files as they were registered", False, str(error))]
        return []

    def _signature(self) -> Check:
        what = "signature"
        try:
            mine = manifest.read(self._directory(self._candidate)).signature
        except LifecycleError as error:
            return Check(what, False, str(error))
        if mine is None or not mine.inputs:
            return Check(what, False, "the model has no signature: log it with input_example=")
        others = dict.fromkeys(self._places[place] for place in self._asked.to)
        found = [self._compared_with(held, mine) for held in others if held not in (None, self._candidate.version)]
        if not found:
            return Check(what, True, str(mine))
        return Check(what, all(fits for fits, _ in found), "; ".join(said for _, said in found))

    def _compared_with(self, held: str | None, mine: Any) -> tuple[bool, str]:
        """Whether callers of the version that is there now could use this one, and why not."""
        try:
            theirs = manifest.read(self._directory(self._model.version(held))).signature
        except LifecycleError as error:
            return True, f"version {held} cannot be read to compare with: {error}"
        if theirs is None or not theirs.inputs:
            return True, f"version {held} has no signature to compare with"
        problems = _breaks(theirs, mine)
        return not problems, "; ".join(problems) or f"takes and answers what version {held} does"

    def _loads(self) -> Check:
        what = "loads and predicts"
        try:
            directory = self._directory(self._candidate)
            model = package.read(directory, allow_code=self._asked.allow_code)
            rows = _example(model, directory)
            if rows is None or not rows.num_rows:
                return Check(what, True, f"loads, evaluator {model.evaluator.name}; it has no input example to predict")
            count = len(model.predict(rows))
        except LifecycleError as error:
            return Check(what, False, str(error))
        return Check(what, True, f"loads, evaluator {model.evaluator.name}; answers the {count} rows of its example")

    # -- the commit --------------------------------------------------------------------------------------------------------

    def _drafts(self, model: Ledger, verdict: Verdict) -> list[Draft]:
        for place, held in self._places.items():
            if (now := _holder(model, place)) != held:
                raise Conflict(f"{place} of the model {model.name!r} went from version {held} to {now} meanwhile.")
        number, comment = model.row(verdict.version).version, self._asked.comment
        if model.tags(number) != self._candidate.tags:
            raise Conflict(f"The tags of version {number} of the model {model.name!r} changed meanwhile.")
        gates = model.counting(What.GATE, number)
        details: dict[str, Any] = {
            "to": list(verdict.to),
            "checks": [{"what": one.what, "passed": one.passed, "found": one.found} for one in verdict.checks],
        }
        if self._table is not None:
            details["evaluated_on"] = {
                "path": self._table.place,
                "version": self._table.version,
                "label": self._table.label,
            }
            details["metrics"] = {
                version: {k: _plain(v) for k, v in found.items()} for version, found in self._metrics.items()
            }
        said = "passed" if verdict.passed else "failed"
        key = str(1 + max((int(row.key) for row in gates), default=0))
        drafts = [Draft(What.GATE, said, number, key, comment, details)]
        if not verdict.passed:
            return drafts
        drafts += [one for place in verdict.to for one in answered(model, number, place)]
        why = comment or f"gate {key} of version {number} passed"
        for place in verdict.to:
            if place.startswith("@"):
                drafts.append(Draft(What.ALIAS, number, key=place[1:], comment=why))
            else:
                archive = not self._asked.keep_existing and place in (ModelStage.STAGING, ModelStage.PRODUCTION)
                drafts += moved(model, number, place, archive, why)
        return drafts


def _targets(to: str | Sequence[str]) -> tuple[str, ...]:
    found = []
    for place in several(to, "to"):
        if place.startswith("@"):
            found.append(f"@{check_alias(place[1:])}")
        elif is_stage(place):
            found.append(ModelStage.of(place))
        else:
            hint = f" The alias is written '@{place}'." if place.isidentifier() else ""
            raise InvalidInput(
                f"to={place!r} is no stage ({', '.join(ModelStage.ALL)}) and no alias, which begins with '@'.{hint}{did_you_mean(place, ModelStage.ALL)}"
            )
    if not found:
        raise InvalidInput("to names no stage and no alias, such as 'Production' or '@champion'.")
    if len([place for place in found if not place.startswith("@")]) > 1:
        raise InvalidInput(f"A version is in one stage at a time, found {', '.join(found)}.")
    return tuple(dict.fromkeys(found))


def _selected(name: str, version: str | int) -> uris.ModelUri:
    text = str(version)
    return uris.ModelUri(name, text.removeprefix("@"), is_alias=text.startswith("@"))


def _holder(model: Ledger, place: str) -> str | None:
    """The newest version in a stage, or that an alias names."""
    if place.startswith("@"):
        return model.value(What.ALIAS, key=place[1:])
    held = model.holders(place)
    return held[-1] if held else None


def _once_held(model: Ledger, place: str) -> str | None:
    """Why a place that nobody holds should have somebody in it: it had once, or another is spelled almost so."""
    if place.startswith("@"):
        if model.last(What.ALIAS, key=place[1:]):
            return "the alias was taken away"
        near = [alias for alias in model.aliases() if alias.lower() == place[1:].lower()]
        return f"there is @{near[0]}" if near else None
    if any(row.what == What.STAGE and row.value == place for row in model.rows):
        return "there was a version before"
    return None


def _fits(before: tuple[Any, Any], after: tuple[Any, Any]) -> bool:
    """Whether an answer can stand where another stood: the same, or one that widens to it without loss."""
    (name, kind), (other, narrower) = before, after
    return name == other and (kind == narrower or str(kind) in _WIDER.get(str(narrower), ()))


def _breaks(theirs: Any, mine: Any) -> list[str]:
    """What a caller of the one model would have to change for the other."""
    problems = []
    known = {column.name: column for column in theirs.columns or ()}
    for column in mine.columns or ():
        before = known.get(column.name)
        if before is None and column.required and known:
            problems.append(f"it takes {column.name!r}, which the version there now does not")
        elif before is not None and column.required and not before.required:
            problems.append(f"it needs {column.name!r}, which may be left out for the version there now")
        elif before is not None and before.type != column.type:
            problems.append(f"it takes {column.name!r} as {column.type}, the version there now as {before.type}")
    if bool(mine.columns) != bool(theirs.columns):
        problems.append("one takes named columns and the other an array")
    elif not mine.columns and mine.inputs != theirs.inputs:
        problems.append(f"it takes {_arrays(mine)}, the version there now {_arrays(theirs)}")
    answers = [
        [(one.name, getattr(one, "type", None) or getattr(one, "dtype", None)) for one in part.outputs or ()]
        for part in (theirs, mine)
    ]
    if (
        answers[0]
        and answers[1]
        and not (len(answers[0]) == len(answers[1]) and all(map(_fits, answers[0], answers[1])))
    ):
        problems.append(f"it answers {_spelled(answers[1])}, the version there now {_spelled(answers[0])}")
    return problems


def _arrays(signature: Any) -> str:
    return ", ".join(f"{one.dtype}{list(one.shape)}" for one in signature.inputs)


def _spelled(answers: list[tuple[Any, Any]]) -> str:
    return ", ".join(f"{name or 'prediction'}: {kind}" for name, kind in answers)


def _example(model: Any, directory: Path) -> Any:
    """The rows that were kept beside a model, as an Arrow table; None where its columns are not known."""
    import pyarrow as pa

    columns = model.signature.columns if model.signature else None
    if not columns:
        return None
    return example.read(directory, pa.schema([(column.name, column.type) for column in columns]))


def _plain(value: float) -> float | str:
    return value if value == value and abs(value) != float("inf") else shown(value)
