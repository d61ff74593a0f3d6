"""One job from its decision to its commit, begun again where another run of the job comes first."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sparkml_lifecycle.errors import Conflict
from sparkml_lifecycle.loaded import PyFuncModel
from sparkml_lifecycle.scoring import column, files, memory, rules, sink
from sparkml_lifecycle.scoring.commit import Target
from sparkml_lifecycle.scoring.conf import JobConf
from sparkml_lifecycle.scoring.engine import Choice
from sparkml_lifecycle.scoring.layout import Layout
from sparkml_lifecycle.scoring.log import Gap, entries
from sparkml_lifecycle.scoring.memory import Memory
from sparkml_lifecycle.scoring.reading import Reading
from sparkml_lifecycle.scoring.rules import Decision, TargetState
from sparkml_lifecycle.scoring.sink import Commit, SparkTarget
from sparkml_lifecycle.scoring.worker import ModelReference

# other runs of the job may come first again and again
_ATTEMPTS = 5


@dataclass(frozen=True)
class Done:
    """What became of a job.

    Attributes
    ----------
    commit : Commit
    source_version : int or None
    engine, why : str
    notes : tuple of str
    """

    commit: Commit
    source_version: int | None
    engine: str
    why: str
    notes: tuple[str, ...]


@dataclass
class Attempt:
    """A job whose source is open and whose engine is chosen.

    Parameters
    ----------
    spark : SparkSession
    conf : JobConf
    model : PyFuncModel
    ship : callable
        Brings the model to the workers.
    reading : Reading
    layout : Layout
    choice : Choice
    run_id : str
        The run that records the job.
    """

    spark: Any
    conf: JobConf
    model: PyFuncModel
    ship: Callable[[], ModelReference]
    reading: Reading
    layout: Layout
    choice: Choice
    run_id: str
    _files: files.Files | None = field(default=None, init=False)
    _scored: Decision | None = field(default=None, init=False)

    def until_done(self) -> Done:
        """Decide, score and commit.

        Raises
        ------
        JobStopped
            Where somebody has to choose.
        Conflict
            If somebody else changed a target that was to be replaced.
        """
        target = self.choice.target or SparkTarget.open(self.spark, self.conf.target.path)
        for attempt in range(1, _ATTEMPTS + 1):
            state = state_of(target, self.conf)
            decision = rules.decide(self.conf, self.model.digest, self.reading.state, state)
            if not decision.commits:
                self._forget()
                self._note_position(target, decision)
                return self._done(Commit(target.version, 0, False), decision)
            said = self._said(decision, state)
            try:
                done = self._commit(target, decision, said)
            except Conflict:
                target = target.again()
                rival = (target.version_of(memory.identifier(self.conf.job)) or 0) >= said["counter"]
                if attempt == _ATTEMPTS or not rival:
                    self._forget()
                    raise
                continue
            except BaseException:
                self._forget()
                raise
            self._remember(target, decision.memory, said, done)
            return self._done(done, decision)
        raise AssertionError("the last attempt returns or raises")

    def _done(self, commit: Commit, decision: Decision) -> Done:
        engine, why = self.choice.engine, self.choice.why
        if self._files is not None and self._files.engine != engine:
            engine, why = self._files.engine, "files that the source gained lie elsewhere since it was compacted"
        return Done(commit, self.reading.state.now.version, engine, why, decision.notes)

    # -- the commit ----------------------------------------------------------------------------------------------------------------

    def _commit(self, target: Target | SparkTarget, decision: Decision, said: dict[str, Any]) -> Commit:
        if isinstance(target, SparkTarget):
            rows = self._rows(decision)
            scored = with_predictions(rows, self.model, self.layout, self.ship())
            return sink.write(target, scored, self.conf, said)
        made = self._written(decision)
        said["rows"] = made.rows
        return files.commit(target, made, self.conf, said)

    def _written(self, decision: Decision) -> files.Files:
        """What the workers wrote for this decision: what an attempt before has written is as good."""
        before = self._scored
        if self._files is not None and before is not None:
            if (before.scores, before.gained) == (decision.scores, decision.gained):
                return self._files
            self._forget()
        plan = files.plan_of(self.reading.rows, self.layout, self.choice, self.ship())
        if decision.scores == "nothing":
            self._files = files.nothing(plan, self.choice.engine)
        else:
            self._files = files.write(self.spark, self._rows(decision), plan, self.choice, decision.gained)
        self._scored = decision
        return self._files

    def _rows(self, decision: Decision) -> Any:
        if decision.scores == "nothing":
            return self.reading.rows.limit(0)
        return self.reading.rows if decision.gained is None else self.reading.gained(decision.gained)

    def _forget(self) -> None:
        if self._files is not None and self.choice.target is not None:
            files.discard(self.choice.target, self._files)
            self._files = None

    # -- what is remembered -------------------------------------------------------------------------------------------------------

    def _said(self, decision: Decision, state: TargetState) -> dict[str, Any]:
        """What the commit says of itself, out of which the job's memory can be made again."""
        source = self.reading.state
        read: dict[str, Any] = {"id": source.id, "options": source.now.options}
        if source.now.version is not None:
            read["version"] = source.now.version
        if source.now.files is not None:
            known = decision.memory.sources.get(source.id)
            older = {} if decision.gained is None or self.conf.adopt or known is None else known.files or {}
            read["files"] = {
                path: list(stat) for path, stat in source.now.files.items() if list(older.get(path, ())) != list(stat)
            }
        said: dict[str, Any] = {
            "job": self.conf.job, "mode": "overwrite" if decision.overwrites else self.conf.mode, "batch": self.conf.batch,
            "run_id": self.run_id, "counter": _counter(state, decision) + 1, "seen": state.version,
            "model_digest": self.model.digest,
        }  # fmt: skip
        if source.id:
            said["source"] = read
        if self.conf.adopt and self.conf.adopt not in decision.memory.adopted:
            adopted = next(one for one in state.others if one.job == self.conf.adopt)
            said["adopted"] = {adopted.job: dict(adopted.rows)}
        return said

    def _remember(self, target: Target | SparkTarget, known: Memory, said: Mapping[str, Any], done: Commit) -> None:
        now = target.again()
        base = replace(known, job=self.conf.job, table_id=now.table_id)
        memory.remember(now, base.after(said, done.version, done.rows))

    def _note_position(self, target: Target | SparkTarget, decision: Decision) -> None:
        """Where a source has new versions and no new rows: so that its old log is not needed the next time."""
        source = self.reading.state
        known = decision.memory.sources.get(source.id)
        if decision.gained is not None and known is not None and known.version != source.now.version:
            moved = {**decision.memory.sources, source.id: replace(known, version=source.now.version)}
            memory.remember(target, replace(decision.memory, sources=moved))


def _counter(state: TargetState, decision: Decision) -> int:
    return max(decision.memory.counter, state.counter)


def state_of(target: Target | SparkTarget, conf: JobConf) -> TargetState:
    """A target as the rules see it."""
    counter = target.version_of(memory.identifier(conf.job)) or 0
    try:
        known: Memory | None = memory.recall(target, conf.job)
    except memory.Forgotten:
        known = None
    others = memory.others(target, conf.job) if target.version >= 0 else []

    def has_foreign_rows() -> bool:
        own = sum(known.rows.values()) if known is not None else 0
        return bool(others) or target.rows() > own

    return TargetState(
        conf.target.path, target.version, counter, known, others, _changes(target, known, conf), has_foreign_rows
    )


def _changes(target: Target | SparkTarget, known: Memory | None, conf: JobConf) -> Any:
    if known is None or known.counter == 0:
        return ()
    try:
        found = entries(target.read_text, known.seen + 1, target.version)
    except Gap:
        return None
    return [entry for entry in found if entry.changes_rows and entry.said.get("job") != conf.job]


def with_predictions(rows: Any, model: PyFuncModel, layout: Layout, reference: ModelReference) -> Any:
    """``rows`` with the prediction and its stamps, by the column engine; of the source only the columns to keep."""
    from pyspark.sql import functions as F

    udf = column.ModelUdf(
        reference, model.input_names, model.optional_names, layout.result, layout.predict_fn, layout.params
    )
    taken = [F.col(column.quoted(name)) for name in layout.inputs]
    answer = udf(*taken) if layout.by_position else udf(F.struct(*taken))
    return rows.select(
        *(F.col(column.quoted(name)) for name in layout.keep),
        answer.alias(layout.prediction),
        *(F.lit(value).cast(_spark_type(value)).alias(name) for name, value in layout.stamps.items()),
    )


def _spark_type(value: Any) -> str:
    return "timestamp" if isinstance(value, datetime) else "string"
