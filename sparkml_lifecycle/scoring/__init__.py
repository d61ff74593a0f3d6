"""Scoring: source, worker, column engine, target, job."""
