"""Addresses of stores."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.errors import InputError
from benchmark.redact import shown
from benchmark.tracking.store import Store, open_store
from tests.support.journalled import CANARY

pytestmark = pytest.mark.mlflow


def test_without_an_address_the_store_is_in_the_workspace(tmp_path):
    store = open_store(tmp_path / "with space", None)
    assert store.uri == f"sqlite:///{tmp_path}/with space/mlflow.db"
    assert store.artifacts == f"file://{tmp_path}/with%20space/artifacts"
    assert store.database == tmp_path / "with space" / "mlflow.db"
    assert store.run_cache == tmp_path / "with space" / "remembered"


def test_a_relative_database_becomes_absolute_and_its_artifacts_are_beside_it(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    store = open_store(Path("elsewhere"), "sqlite:///sub/my.db")
    assert store.uri == f"sqlite:///{tmp_path}/sub/my.db"
    assert store.artifacts == f"file://{tmp_path}/sub/artifacts"


def test_a_server_decides_where_artifacts_are(tmp_path):
    store = open_store(tmp_path, "https://host:5000/")
    assert store == Store("https://host:5000", None)
    assert store.database is None


@pytest.mark.parametrize(
    "uri", ["./mlruns", "file:///tmp/mlruns", "mlruns", "sqlite://", "sqlite:///", "databricks"]
)
def test_a_folder_is_refused_as_a_store_with_a_remedy(tmp_path, uri):
    with pytest.raises(InputError, match=r"sqlite:///path/to/mlflow\.db"):
        open_store(tmp_path, uri)


@pytest.mark.parametrize(
    "uri",
    [f"postgresql://me:{CANARY}@host/db", f"me:{CANARY}@host:5000", f"http:/host?key={CANARY}"],
)
def test_a_refused_address_is_shown_without_its_password(tmp_path, uri):
    with pytest.raises(InputError) as caught:
        open_store(tmp_path, uri)
    assert CANARY not in str(caught.value)
    assert "***" in str(caught.value)


def test_passwords_are_masked_and_paths_are_not():
    assert shown("https://me:pa@ss/wo:rd@host:5000/x") == "https://***@host:5000/x"
    assert shown("http://host/x?token=abc&page=2") == "http://host/x?token=***&page=***"
    assert shown("sqlite:////home/me@work/mlflow.db") == "sqlite:////home/me@work/mlflow.db"
    assert CANARY not in repr(Store(f"http://me:{CANARY}@host", None))


def test_a_file_that_is_no_database_is_reported_before_mlflow_opens_it(tmp_path):
    (tmp_path / "mlflow.db").write_text("no database at all, whatever its name says")
    message = r"mlflow\.db: not an SQLite database; restore it, or move it away"
    with pytest.raises(InputError, match=message):
        open_store(tmp_path, None)
