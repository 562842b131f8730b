"""Names of tags, kinds of runs and metrics in MLflow.

Stores written by older versions contain the same names, so none of the names may change.
"""

from __future__ import annotations

from benchmark.measures import BY_COLUMN

KIND = "kdbench.kind"
"""Tag of a run: `RUN`, `TEACHER`, `TRIAL`, `REPORT`, `PROFILE` or `SUPERSEDED`."""

RUN = "run"
"""Kind of a run that shows a cell of a study."""

TEACHER = "teacher"
"""Kind of a run that shows a teacher; also the value of its `method` tag."""

TRIAL = "trial"
"""Kind of a run that shows a trial of a search."""

REPORT = "report"
"""Kind of a run that contains the files of a study or a search, and shows no training."""

PROFILE = "profile"
"""Kind of a run that contains the traces of a study's cohorts, and shows no training."""

SUPERSEDED = "superseded"
"""Kind of a run that no table shows: its cell was trained again, or removed from the study."""

STUDY = "kdbench.study"
"""Tag of an experiment: the name of its study."""

PLAN = "kdbench.plan"
"""Tag of a study's experiment: the study's plan, without cells and teachers."""

REVISION = "kdbench.revision"
"""Tag of a study's experiment: changes with each sync that writes to its runs.

It is empty while a sync writes.
"""

REPORT_RUN = "kdbench.report"
"""Tag of a study's experiment: the run that contains its report."""

SEARCH = "kdbench.search"
"""Tag of a search's experiment and of its runs: the key of the search."""

WORKSPACE = "kdbench.workspace"
"""Tag of a run: the workspaces that have its journal, separated by spaces.

Also a tag of an experiment: the workspace whose plan, description and views it shows.
"""

ROW = "row"
"""Tag of a run of a study: its row in the leaderboard, by which views group runs.

It is the method, followed by the pair if the study has several.
"""

BUDGET = "budget"
"""Tag of a run of a study: how its settings were chosen, such as `published` or `20 trials`."""

PUBLISHED = "published"
"""Value of the tag `BUDGET` for rows whose settings no search has chosen."""

TOP1 = "top1"
"""Tag of a finished run: its test accuracy in percent, rounded; metrics show all digits."""

RESULT = "result"
"""Tag of a report: the result of the study in one sentence."""

REPORT_PAGE = "leaderboard.html"
"""Name of the file of a report that shows everything on one page."""

TRIAL_NUMBER = "trial"
"""Tag of a trial: its number in the search."""

SYNCED = "kdbench.synced"
"""Tag of a run: how much of its journals the run shows."""

CONTENT = "kdbench.content"
"""Tag of a report or a profile: SHA-256 of its files."""

WEIGHTS = "sha256"
"""Tag of a model: SHA-256 of the weights, which stay in the workspace."""

TEACHER_WEIGHTS = "teacher_sha256"
"""Tag of a student's model: SHA-256 of its teacher's weights."""

TEACHER_MODEL = "teacher_model"
"""Tag of a student's model: MLflow's id of its teacher's model."""

MODEL = "kdbench.model"
"""Tag of a run whose model is complete: MLflow's id of the model, and a hash of its tags."""

DRIFT = "kdbench.drift"
"""Tag of a run: what changed in its environment between its first start and its last."""

SCHEMA = "kdbench.schema"
"""Tag of a run: the version of these names."""

SCHEMA_VERSION = "1"
"""Value of the tag `SCHEMA`."""

NOTE = "mlflow.note.content"
"""Tag of a run or an experiment that MLflow shows as its description, in Markdown."""

IDENTITY = ("pair", "method", "teacher", "teacher_id", "student", "dataset", "seed", "cell")
"""Tags that identify a run of a study; columns of the table of runs."""

PROVENANCE = ("reason", "environment", "fingerprint", "stopped")
"""Tags that describe how a run ended and where it ran; columns of the table of runs."""

LONGEST_TAG = 5000
"""Maximum number of characters in a tag, as allowed by older servers.

MLflow 3.17 allows 8,000 for a run and 20,000 for an experiment.
"""

LONGEST_NOTE = LONGEST_TAG - 300
"""Maximum number of characters in the description of an experiment before a link is added."""

VALIDATION_ACCURACY = "val/acc1"
"""Metric of an epoch: top-1 accuracy on the validation set, in percent."""

TRAINING_ACCURACY = "train/acc1"
"""Metric of an epoch: top-1 accuracy on the training samples, in percent."""

TOTAL_LOSS = "loss/total"
"""Metric of an epoch: the loss that was minimised."""

OBJECTIVE = "objective"
"""Metric of a trial: the value that the search optimises, averaged over seeds."""

BEST_MINUS_LAST = BY_COLUMN["best_minus_last"].key
"""Metric of a finished run, computed from its validation curve."""

COMPUTE = BY_COLUMN["compute_tmac"].key
"""Metric of a finished run or trial: its compute."""
