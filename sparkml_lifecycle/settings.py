"""One frozen :class:`Settings`: an argument wins over ``SPARKML_*`` in the environment, over a conf file, over the default."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from sparkml_lifecycle.errors import ConfigError, did_you_mean, reason

_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off", ""}


@dataclass(frozen=True)
class Settings:
    """What can be set from outside; each field ``name`` is also ``SPARKML_NAME`` in the environment.

    Attributes
    ----------
    tracking_uri : str
        Where the lake lies: a path or storage URI (default ``./mllake``).
    experiment_name, experiment_id : str
        The experiment of fluent runs where none was set; the id wins.
    allow_code : bool
        Whether code may run out of a model directory (pickles, ``code/``, models from source), on driver and executors.
    model_cache_size : int
        How many models a Spark Python worker keeps loaded.
    flush_seconds : float
        How long logged values may wait in memory, in seconds.
    flush_points : int
        How many logged values may wait in memory.
    user : str
        Who is recorded in ``by``; empty means the login name.
    """

    tracking_uri: str = "./mllake"
    experiment_name: str = "Default"
    experiment_id: str = ""
    allow_code: bool = False
    model_cache_size: int = 3
    flush_seconds: float = 1.0
    flush_points: int = 1000
    user: str = ""

    @classmethod
    def load(cls, conf_file: str | Path | None = None, **arguments: Any) -> "Settings":
        """Settings from arguments, the environment and a YAML conf file (``SPARKML_CONF`` names one too).

        Raises
        ------
        ConfigError
            For an unknown key or a value of the wrong type, naming the key, the value and what is allowed.
        """
        conf_file = conf_file or os.environ.get("SPARKML_CONF")
        values = {**_from_file(conf_file), **_from_environment(os.environ)}
        values.update({name: value for name, value in arguments.items() if value is not None})
        types = get_type_hints(cls)
        for name in values:
            if name not in types:
                raise ConfigError(f"Unknown setting {name!r}. Allowed: {', '.join(types)}.{did_you_mean(name, types)}")
        return cls(**{name: _convert(name, value, types[name]) for name, value in values.items()})


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    names = (field.name for field in dataclasses.fields(Settings))
    return {name: environ[key] for name in names if (key := f"SPARKML_{name.upper()}") in environ}


def _from_file(path: str | Path | None) -> dict[str, Any]:
    if not path:
        return {}
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text()) or {}
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"Cannot read the conf file {str(path)!r}: {reason(error)}.") from error
    if not isinstance(content, dict):
        raise ConfigError(f"The conf file {str(path)!r} must hold keys and values, found {type(content).__name__}.")
    return content


def _convert(name: str, value: Any, wanted: type) -> Any:
    if wanted is bool and isinstance(value, str) and value.lower() in _TRUE | _FALSE:
        return value.lower() in _TRUE
    if wanted in (int, float) and not isinstance(value, bool):
        try:
            return wanted(value)
        except (TypeError, ValueError):
            pass
    elif isinstance(value, wanted):
        return value
    raise ConfigError(f"Setting {name!r} (SPARKML_{name.upper()}) must be {wanted.__name__}, found {value!r}.")
