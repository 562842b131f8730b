"""Trains a study: checks it, writes its plan, and hands its cohorts to an executor."""
