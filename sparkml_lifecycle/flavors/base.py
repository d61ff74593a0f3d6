"""What a flavor is: one framework's files, its own loader, its own predict, and nothing else."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

from sparkml_lifecycle.model.spelling import Spelling

if TYPE_CHECKING:
    from sparkml_lifecycle.model.signature import Signature

BatchForm = Literal["numpy", "pandas", "arrow"]


@dataclass(frozen=True)
class Saved:
    """What a flavor wrote, for the manifest.

    Attributes
    ----------
    conf : mapping
        The flavor's own entry under ``flavors:`` in ``MLmodel`` (MLflow's keys where MLflow knows the framework).
    pyfunc : mapping
        What the flavor adds to the ``python_function`` entry beside ``loader_module`` (``data``, ``model_path`` …).
    runs_code : bool
        Whether loading these files runs code out of the directory (a pickle), so that loading asks for consent.
    code : mapping
        Files to put into the directory's ``code/``, name to content: a loader for programs without this package.
    """

    conf: Mapping[str, Any]
    pyfunc: Mapping[str, Any] = field(default_factory=dict)
    runs_code: bool = False
    code: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class SaveOptions:
    """Consent to a pickle, and the flavor's own options."""

    allow_code: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Flavor(Protocol):
    """One framework. A class with these attributes and methods and a row in :mod:`sparkml_lifecycle.flavors` is a flavor.

    It never mentions signatures, requirements, code paths or examples: those are written once, in
    :mod:`sparkml_lifecycle.package`. It imports its framework inside its methods.

    Attributes
    ----------
    name : str
        The key under ``flavors:`` in ``MLmodel``.
    loader_module : str
        What ``python_function`` names, such as ``mlflow.sklearn``.
    packages : tuple of str
        Distribution names whose versions decide the answers; the first is the framework's own.
    wants : {"numpy", "pandas", "arrow"}
        The form of the batch that :meth:`predict` takes: a float64 2-d array, a DataFrame or a ``pyarrow.Table``.
    methods : tuple of str
        The predict methods that ``predict_fn`` may name; the first that a model has is its default.
    options : tuple of str
        The names that ``save`` understands in :class:`SaveOptions`; others are refused.
    names_at_saving : bool
        Whether :meth:`feature_names` also answers for the object that is saved, and not only for the loaded one.
    """

    name: ClassVar[str]
    loader_module: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    wants: ClassVar[BatchForm]
    methods: ClassVar[tuple[str, ...]]
    options: ClassVar[tuple[str, ...]] = ()
    names_at_saving: ClassVar[bool] = False

    def matches(self, model: object) -> bool:
        """Whether this flavor saves such a model; must not import the framework (look at ``type(model).__mro__``)."""
        ...

    def save(self, model: Any, directory: Path, options: SaveOptions) -> Saved:
        """Write the model's files into an existing directory."""
        ...

    def load(self, directory: Path, conf: Mapping[str, Any], allow_code: bool) -> Any:
        """The framework's own object from a directory and the flavor's entry ``conf``."""
        ...

    def predict(self, model: Any, batch: Any, method: str, params: Mapping[str, Any]) -> Any:
        """Answers for a batch in the wanted form: a 1-d or 2-d array, a DataFrame, or a dict of arrays; one per row, in order."""
        ...

    def named(self, model: Any, answers: Any, method: str) -> Any:
        """The framework's own answers as :meth:`predict` gives them, such as probabilities by class."""
        return answers

    def feature_names(self, model: Any) -> list[str] | None:
        """The names of the columns the model was trained on, in order, or None if it does not know them."""
        return None

    def texts(self, model: Any) -> Collection[str]:
        """Those of :meth:`feature_names` that hold categories, as text; the others hold numbers."""
        return ()

    def answers_missing(self, model: Any) -> bool | None:
        """Whether the framework answers rows with missing values; None where only trying a row can tell.

        Where it does not, rows with a null are left out of the batch and answer null.
        """
        return None

    def refusing(self, model: Any, signature: "Signature", names: Sequence[str]) -> tuple[str, ...] | None:
        """The columns in which a null is refused, of ``names``; None where only trying a row can tell."""
        answers = self.answers_missing(model)
        return None if answers is None else () if answers else tuple(names)

    def has(self, model: Any, method: str) -> bool:
        """Whether this model has one of :attr:`methods`."""
        return True

    def spelling(self, model: Any) -> Spelling:
        """How the model was used to see what is missing."""
        return Spelling()

    def categories(self, model: Any, said: Mapping[str, tuple[Any, ...]]) -> Mapping[str, tuple[Any, tuple[Any, ...]]]:
        """The Arrow type and all levels of each categorical column, where the model itself knows them.

        ``said`` are those that the signature has.
        """
        return {}

    def known_values(self, model: Any) -> Mapping[str, Any]:
        """A value that the model knows, of each column that it knows one of."""
        return {}

    def of_matrix(self, model: Any) -> Any:
        """The model as it takes one matrix of its columns in place of a DataFrame and answers the same; None where it looks at names."""
        return None

    def limit_threads(self, model: Any, threads: int) -> None:
        """Hold the model's own thread pool to ``threads``; runs once per worker process, after loading."""

    def one_thread(self, model: Any) -> AbstractContextManager[Any]:
        """A context in which the framework adds up in one order, where threads would make it any."""
        return nullcontext()

    def tuning(self, model: Any) -> Mapping[str, Any]:
        """What the files do not hold but the answers depend on, kept under our key in ``MLmodel``."""
        return {}
