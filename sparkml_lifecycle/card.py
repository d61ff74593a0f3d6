"""Model cards: what is known of a version as Markdown, with plots beside it; what nobody filled in is shown as empty.

The headings follow Mitchell et al., *Model Cards for Model Reporting* (2019).
"""

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sparkml_lifecycle.client import LifecycleClient
from sparkml_lifecycle.entities import Metric, MetricSummary, ModelChange, ModelVersion, RegisteredModel, Run
from sparkml_lifecycle.errors import InvalidInput, LifecycleError, NotFound, StorageError
from sparkml_lifecycle.model import manifest
from sparkml_lifecycle.model.manifest import Manifest

# those that every card has, with what a person is asked
FIELDS = {
    "owner": "who answers for it",
    "intended_use": "what it is for",
    "limits": "what it is not for, and where it fails",
}
_MOST_ROWS, _LONGEST, _LONGEST_NAME = 200, 500, 100


@dataclass(frozen=True)
class Card:
    """A model card.

    Attributes
    ----------
    text : str
        Markdown; it shows the plots by paths below ``folder``.
    folder : str
        The name of the directory with the plots.
    plots : mapping of str to list of Metric
        File to the points it shows.
    """

    text: str
    folder: str
    plots: Mapping[str, list[Metric]]


def write(client: LifecycleClient, name: str, version: str | int, path: str | Path | None = None) -> Path:
    """Write the card of a version, and the plots of its metrics in a directory beside it.

    Parameters
    ----------
    client : LifecycleClient
    name : str
    version : str
    path : path, optional
        A file that ends with ``.md``; ``NAME-VERSION.md`` in the working directory where it is not given. One that is there is
        replaced.

    Returns
    -------
    Path

    Raises
    ------
    NotFound
        If there is no such version.
    MissingLibrary
        If there are plots and no matplotlib.
    """
    one = client.get_model_version(name, version)
    target = Path(path) if path is not None else Path(f"{_file_name(name)}-{one.version}.md")
    if target.suffix.lower() != ".md":
        raise InvalidInput(f"A model card is Markdown, a file that ends with .md, found {str(target)!r}.")
    card = card_of(client, one, f"{target.stem}_files")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for file, points in card.plots.items():
            (target.parent / card.folder).mkdir(exist_ok=True)
            _draw(points, target.parent / card.folder / file)
        target.write_text(card.text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"Cannot write the model card to {str(target)!r}: {error.strerror}.") from None
    return target


def card_of(client: LifecycleClient, version: ModelVersion, folder: str) -> Card:
    """The card of a version, with its plots below ``folder``."""
    run = _run_of(client, version)
    directory, found, problem = _opened(client, version)
    summaries = client.get_metric_summaries(version.run_id) if run and version.run_id else []
    series = {one.key: client.get_metric_history(str(version.run_id), one.key) for one in summaries}
    drawn = [list(points) for points in series.values() if len({point.step for point in points}) > 1]
    plots = _named([points[0].key for points in drawn], drawn)
    parts = [
        _head(version, client.get_registered_model(version.name)),
        _fields(client, version),
        _loading(client.tracking_uri, version, found),
        _signature(found, problem),
        _data(run),
        _params(run),
        _metrics(summaries, plots, folder),
        _environment(directory, found),
        _history(client.get_model_history(version.name, version.version)),
    ]
    return Card("\n".join(parts), folder, plots)


def _run_of(client: LifecycleClient, version: ModelVersion) -> Run | None:
    try:
        return client.get_run(version.run_id) if version.run_id else None
    except NotFound:
        return None


def _opened(client: LifecycleClient, version: ModelVersion) -> tuple[Path | None, Manifest | None, str]:
    """The directory of a version and its manifest, or why there are none."""
    try:
        directory = client.fetch_version(version)
        return directory, manifest.read(directory), ""
    except LifecycleError as error:
        return None, None, str(error)


def _head(version: ModelVersion, model: RegisteredModel) -> str:
    rows = [
        ("the model", model.description or None),
        ("stage", version.current_stage),
        ("aliases", ", ".join(f"@{alias}" for alias in version.aliases) or None),
        ("registered", f"{_moment(version.creation_timestamp)} by {version.user_id}"),
        ("run", version.run_id),
        ("copied from", version.copied_from),
        ("digest of its files (SHA-256)", version.digest),
        *((f"tag {key}", value) for key, value in sorted({**model.tags, **version.tags}.items())),
    ]
    shown = [(key, value) for key, value in rows if value is not None or key == "run"]
    return f"# {_inline(version.name)}, version {version.version}\n\n{_inline(version.description) or _empty()}\n\n{_table(('', ''), shown)}"


def _fields(client: LifecycleClient, version: ModelVersion) -> str:
    filled = client.get_model_fields(version.name, version.version)
    names = [*FIELDS, *sorted(set(filled) - set(FIELDS))]
    parts = []
    for name in names:
        title = name.replace("_", " ").capitalize()
        asked = f": {FIELDS[name]}" if name in FIELDS else ""
        # a quotation, so that what a person writes makes no headings of its own
        said = "\n".join(f"> {line}" for line in filled.get(name, "").replace("<", "&lt;").splitlines())
        parts.append(f"## {_inline(title)}\n\n{said or _empty(asked)}\n")
    return "\n".join(parts)


def _loading(lake: str, version: ModelVersion, found: Manifest | None) -> str:
    uri = f"models:/{version.name}/{version.version}"
    consent = ", allow_code=True" if found is not None and found.ours.get("runs_code") else ""
    return f"""## How to load it

```python
import sparkml_lifecycle as ml
from sparkml_lifecycle import pyfunc

ml.set_tracking_uri({lake!r})
model = pyfunc.load_model({uri!r}{consent})
udf = pyfunc.spark_udf(spark, {uri!r}{consent})
```
"""


def _signature(found: Manifest | None, problem: str) -> str:
    if found is None:
        return f"## Signature\n\n_The files cannot be read: {_inline(problem)}_\n"
    flavors = ", ".join(name for name in found.flavors if name != manifest.PYTHON_FUNCTION) or manifest.PYTHON_FUNCTION
    if found.signature is None:
        return f"## Signature\n\n{_empty()} (framework: {flavors})\n"
    rows = [(part, *_column(one)) for part in ("inputs", "outputs") for one in getattr(found.signature, part) or ()]
    rows += [("params", one.name, one.type, f"default {one.default!r}") for one in found.signature.params or ()]
    return f"## Signature\n\nFramework: {flavors}.\n\n{_table(('', 'name', 'type', ''), rows)}"


def _column(one: Any) -> tuple[str, str, str]:
    if hasattr(one, "shape"):
        return one.name or "", f"{one.dtype}{list(one.shape)}", ""
    return one.name or "", str(one.type), "" if one.required else "may be left out"


def _data(run: Run | None) -> str:
    inputs = run.inputs.dataset_inputs if run else ()
    rows = []
    for one in inputs:
        source = _parsed(one.dataset.source)
        place = source.get("path") or source.get("table") or ("" if _says_nothing(source) else one.dataset.source)
        version = source.get("delta_table_version", source.get("version"))
        use = next((tag.value for tag in one.tags if tag.key == "mlflow.data.context"), "")
        rows.append((use, one.dataset.name, place, "" if version is None else version, one.dataset.digest))
    body = (
        _table(("used for", "name", "source", "Delta version", "digest"), rows)
        if rows
        else f"{_empty(': log_input() keeps it')}\n"
    )
    return f"## Training data\n\n{body}"


def _says_nothing(source: Mapping[str, Any]) -> bool:
    """Whether a source has nothing but the tags of who made it: frames that were in memory."""
    return set(source) <= {"tags"}


def _params(run: Run | None) -> str:
    params = run.data.params if run else {}
    body = _table(("param", "value"), sorted(params.items())) if params else f"{_empty()}\n"
    return f"## Params\n\n{body}"


def _metrics(summaries: Sequence[MetricSummary], plots: Mapping[str, list[Metric]], folder: str) -> str:
    if not summaries:
        return f"## Metrics\n\n{_empty()}\n"
    rows = [
        (one.key, _number(one.last), _number(one.smallest), _number(one.largest), one.step)
        for one in sorted(summaries, key=lambda one: one.key)
    ]
    pictures = "\n".join(f"![{_inline(points[0].key)}]({folder}/{file})\n" for file, points in sorted(plots.items()))
    return f"## Metrics\n\n{_table(('metric', 'last', 'smallest', 'largest', 'step'), rows)}\n{pictures}"


def _environment(directory: Path | None, found: Manifest | None) -> str:
    if directory is None or found is None:
        return f"## Environment\n\n{_empty()}\n"
    file = directory / "requirements.txt"
    lines = file.read_text(encoding="utf-8", errors="replace").strip() if file.is_file() else ""
    python = found.python_function.get("python_version")
    said = f"Python {python}.\n" if python else ""
    return f"## Environment\n\n{said}\n```\n{lines}\n```\n" if lines else f"## Environment\n\n{said or _empty()}\n"


def _history(changes: Sequence[ModelChange]) -> str:
    comments = {one.key: one.after for one in changes if one.what == "comment"}
    # what its writer took back stays in the lake's history, and is not handed on
    taken_back = {key for key, last in comments.items() if last is None}
    rows = [
        (
            _moment(one.timestamp),
            one.user_id,
            f"{one.what} {one.key}".strip(),
            *(
                ("…", "(taken back)")
                if one.what == "comment" and one.key in taken_back
                else (one.before or "", one.after or "")
            ),
            "; ".join([*([one.comment] if one.comment else []), *_checks(one)]),
        )
        for one in changes
    ]
    return f"## History\n\n{_table(('when', 'who', 'what', 'from', 'to', 'why'), rows)}"


def _checks(change: ModelChange) -> list[str]:
    """What a gate required and found."""
    found = change.details.get("checks", [])
    return [f"{'holds' if one['passed'] else 'does not hold'}: {one['what']} ({one['found']})" for one in found]


def _draw(points: Sequence[Metric], path: Path) -> None:
    """A metric by its steps."""
    from sparkml_lifecycle.errors import MissingLibrary

    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError:
        raise MissingLibrary("The plots of a model card need matplotlib: pip install matplotlib.") from None
    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.subplots()
    axes.plot(
        [point.step for point in points], [point.value for point in points], marker="." if len(points) < 50 else ""
    )
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title("\n".join(textwrap.wrap(points[0].key, 60)[:3]), fontsize="medium")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    lines += [f"| {' | '.join(_cell(value) for value in row)} |" for row in rows[:_MOST_ROWS]]
    if len(rows) > _MOST_ROWS:
        lines.append(f"| … and {len(rows) - _MOST_ROWS} more |{' |' * (len(heads) - 1)}")
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    text = _inline("" if value is None else str(value))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _inline(text: str) -> str:
    # a tag or a comment may hold whatever its writer liked: it is shown, not run
    plain = re.sub(r"[\x00-\x1f\x7f]+", " ", text)
    return re.sub(r"([\\`*_\[\]|<>])", r"\\\1", plain)


def _empty(asked: str = "") -> str:
    return f"_(empty{asked})_"


def _moment(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.\-]", "_", text, flags=re.ASCII)[:_LONGEST_NAME]


def _named(keys: Sequence[str], drawn: Sequence[list[Metric]]) -> dict[str, list[Metric]]:
    """Plots by the names of their files; ``a/b`` and ``a_b`` get one each."""
    found: dict[str, list[Metric]] = {}
    for key, points in zip(keys, drawn, strict=True):
        name = _file_name(key)
        found[f"{name}.png" if f"{name}.png" not in found else f"{name}-{len(found)}.png"] = points
    return found


def _parsed(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
