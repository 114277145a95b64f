"""API keys: what the file holds, who gets in, and what the commands do."""

from __future__ import annotations

import json
import stat
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from nnunet_losses.cli import app
from nnunet_losses.serve.http.security.caller import Caller, Scope
from nnunet_losses.serve.http.security.key_store import KeyStore, KeysUnusable, changing, read_keys
from nnunet_losses.serve.http.security.keys import KeyRecord, create_key, split_token

if TYPE_CHECKING:
    from pathlib import Path

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def stored(path: Path, *records: KeyRecord) -> KeyStore:
    with changing(path) as keys:
        keys[:] = records
    return KeyStore(path)


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["keys", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def test_a_key_lets_its_holder_in_and_the_file_cannot(path: Path) -> None:
    token, record = create_key("ward-3", [Scope.SEGMENT])
    store = stored(path, record)
    assert store.recall(token) is None  # not judged yet
    assert store.authenticate(token) == Caller("key:ward-3", frozenset({Scope.SEGMENT}))
    assert store.recall(token) == store.authenticate(token)
    text = path.read_text()
    secret = split_token(token)[1]
    assert secret not in text
    assert store.authenticate(f"nnl_{record.id}_{record.scrypt[:43]}") is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "harm", [lambda t: t[:-1] + ("A" if t[-1] != "A" else "B"), lambda t: t + "x", str.upper]
)
def test_another_secret_is_refused(path: Path, harm) -> None:
    token, record = create_key("ward-3", [Scope.SEGMENT])
    store = stored(path, record)
    assert store.authenticate(harm(token)) is None
    store.authenticate(token)
    assert store.recall(harm(token)) is None


def test_an_unknown_id_costs_no_scrypt(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, record = create_key("ward-3", [Scope.SEGMENT])
    stranger, _ = create_key("stranger", [Scope.SEGMENT])
    store = stored(path, record)
    monkeypatch.setattr(KeyRecord, "matches", lambda *_: pytest.fail("scrypt ran"))
    assert store.authenticate(stranger) is None


def test_revocation_and_expiry_hold_at_once_for_remembered_keys(path: Path) -> None:
    now = NOON
    token, record = create_key("ward-3", [Scope.SEGMENT], expires=NOON + timedelta(days=1))
    stored(path, record)
    store = KeyStore(path, now=lambda: now)
    assert store.authenticate(token) is not None
    now = NOON + timedelta(days=1)
    assert (store.recall(token), store.authenticate(token)) == (None, None)
    now = NOON
    assert store.recall(token) is not None
    with changing(path) as keys:
        keys[0] = keys[0].model_copy(update={"revoked": NOON})
    assert (store.recall(token), store.authenticate(token)) == (None, None)


def test_a_file_that_vanishes_lets_nobody_in(path: Path) -> None:
    token, record = create_key("ward-3", [Scope.SEGMENT])
    store = stored(path, record)
    store.authenticate(token)
    path.unlink()
    for _ in range(2):
        with pytest.raises(KeysUnusable, match="cannot be read"):
            store.recall(token)


@pytest.mark.parametrize(
    ("content", "words"),
    [("{", "is wrong"), ('{"version": 2}', "version"), ('{"keys": [{"id": "1"}]}', "keys.0")],
)
def test_a_file_of_another_kind_is_refused(path: Path, content: str, words: str) -> None:
    path.write_text(content)
    with pytest.raises(KeysUnusable, match=words):
        read_keys(path)


def test_a_file_that_everybody_may_write_is_refused(path: Path) -> None:
    stored(path)
    path.chmod(0o666)
    with pytest.raises(KeysUnusable, match="chmod o-w"):
        read_keys(path)


def test_writers_at_once_lose_nothing(path: Path) -> None:
    records = [create_key(f"ward-{number}", [Scope.SEGMENT])[1] for number in range(6)]

    def add(record: KeyRecord) -> None:
        with changing(path) as keys:
            keys.append(record)

    threads = [threading.Thread(target=add, args=(record,)) for record in records]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {key.id for key in read_keys(path).keys} == {record.id for record in records}


def test_the_commands_create_list_and_revoke(path: Path) -> None:
    code, token, note = run(
        "create", "ward-3", "--file", path, "--scope", "segment", "--scope", "metrics", "--days", 9
    )
    assert (code, len(token.split())) == (0, 1), note
    assert token.strip() not in note
    key_id = split_token(token.strip())[0]
    _, listed, _ = run("list", "--file", path)
    assert (key_id in listed, "ward-3" in listed, "valid until" in listed) == (True, True, True)
    assert split_token(token.strip())[1] not in listed
    assert run("revoke", key_id, "--file", path)[0] == 0
    assert "revoked" in run("list", "--file", path)[1]
    assert KeyStore(path).authenticate(token.strip()) is None
    assert json.loads(path.read_text())["keys"][0]["scopes"] == ["metrics", "segment"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["create", "ward 3"], "cannot be a key's name"),
        (["revoke", "0123456789abcdef"], "cannot be read"),
        (["list"], "nnunet-losses keys create NAME"),
        (["create", "x", "--scope", "everything"], "everything"),
        (["create", "x", "--days", "0"], "greater than or equal to 1"),
    ],
)
def test_wrong_commands_say_what_to_do(path: Path, arguments: list[str], words: str) -> None:
    code, _, error = run(*arguments, "--file", path)
    assert code == 2
    assert words in error
    assert not path.exists()
