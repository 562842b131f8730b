"""What can go wrong through the user's input, as one line that names the place and the remedy."""

from __future__ import annotations


class InputError(Exception):
    """A mistake in what a person wrote or passed: printed as it is (a line per problem), exit code 2, no traceback."""


class TrackingError(Exception):
    """MLflow's store cannot be reached or refuses: one line, without passwords. No recorded result is lost by it."""


class Leave(Exception):  # noqa: N818  (it is no error)
    """Raised by whoever watches a training, to take it out of its cohort for good."""


class SealedError(RuntimeError):
    """The test data were asked for by something that has not finished its training."""


def first_line(error: BaseException) -> str:
    """An error's message up to its first line break, or its kind where it has none."""
    return next(
        (line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__
    )
