"""What people who extend this package test with: a Spark session, and contract suites for plug-ins."""

from sparkml_lifecycle.testing.spark import spark_session

__all__ = ["spark_session"]
