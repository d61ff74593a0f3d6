import types

import sparkml_lifecycle as ml


def test_all_lists_exactly_the_public_names() -> None:
    listed = {name for name in dir(ml) if not name.startswith("_")} - {"importlib", "Any"}
    # modules that some other import has loaded appear as attributes; they are public where they are listed
    loaded = {name for name in listed if isinstance(getattr(ml, name), types.ModuleType)} - set(ml.__all__)
    assert sorted(listed - loaded) == sorted(ml.__all__)


def test_every_public_name_can_be_had() -> None:
    assert [name for name in ml.__all__ if getattr(ml, name, None) is None] == []


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(ml, "no_such_name")
