import pytest

from sparkml_lifecycle.errors import ConfigError
from sparkml_lifecycle.settings import Settings


def test_an_argument_wins_over_the_environment_over_the_file(monkeypatch, tmp_path):
    conf = tmp_path / "sparkml.yml"
    conf.write_text("tracking_uri: from-file\nflush_points: 7\nmodel_cache_size: 9\n")
    monkeypatch.setenv("SPARKML_CONF", str(conf))
    monkeypatch.setenv("SPARKML_TRACKING_URI", "from-env")
    monkeypatch.setenv("SPARKML_FLUSH_POINTS", "8")
    found = Settings.load(tracking_uri="argument")
    assert (found.tracking_uri, found.flush_points, found.model_cache_size, found.experiment_name) == (
        "argument",
        8,
        9,
        "Default",
    )


@pytest.mark.parametrize(("text", "value"), [("true", True), ("0", False), ("YES", True), ("", False)])
def test_yes_and_no_are_read(monkeypatch, text, value):
    monkeypatch.setenv("SPARKML_ALLOW_CODE", text)
    assert Settings.load().allow_code is value


def test_bad_settings_say_what_is_allowed(monkeypatch, tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'tracking_uri'"):
        Settings.load(traking_uri="x")
    monkeypatch.setenv("SPARKML_FLUSH_SECONDS", "soon")
    with pytest.raises(ConfigError, match="must be float, found 'soon'"):
        Settings.load()
    with pytest.raises(ConfigError, match="Cannot read"):
        Settings.load(tmp_path / "nothing.yml")
