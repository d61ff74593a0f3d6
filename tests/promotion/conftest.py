from tests.registry.conftest import client, somebody, source  # noqa: F401
