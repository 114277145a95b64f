"""A PostgreSQL server of the tests' own: a fresh data folder, a Unix socket, no TCP port."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 300.0  # seconds; a busy machine is slow, a broken server never gets there

# Tests end in seconds and need no data to survive a power cut.
OPTIONS = ("fsync=off", "synchronous_commit=off", "listen_addresses=", "max_connections=40")


def find_programs() -> Path | None:
    """The folder with initdb and postgres, newest version first."""
    on_path = shutil.which("initdb")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: path.parts[-3])
    found = [Path(on_path)] if on_path else debian[::-1]
    return found[0].parent if found else None


def unprivileged() -> dict[str, Any]:
    """Arguments for subprocess: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    entry = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


@contextmanager
def running_server(programs: Path) -> Iterator[str]:
    """Give the URL of a running server."""
    identity = unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="jobs-pg-"))  # short: a socket's path has at most 107 bytes
    if identity:
        os.chown(folder, identity["user"], identity["group"])
    try:
        data = folder / "data"
        make = [programs / "initdb", "--auth=trust", "--username=tester", "--no-sync", f"--pgdata={data}"]
        make += ["--encoding=UTF8", "--no-locale"]
        subprocess.run(make, check=True, capture_output=True, cwd=folder, **identity)
        settings = [part for option in OPTIONS for part in ("-c", option)]
        command = [programs / "postgres", "-D", data, "-k", folder, *settings]
        with (folder / "log").open("w") as log:
            server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, **identity)
        try:
            url = f"postgresql://tester@/postgres?host={folder}&connect_timeout={PATIENCE:.0f}"
            _wait_until_ready(server, url, folder / "log")
            yield url
        finally:
            server.send_signal(signal.SIGQUIT)  # at once: the data are thrown away
            server.wait(timeout=PATIENCE)
    finally:
        shutil.rmtree(folder)


def _wait_until_ready(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    import psycopg

    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text()) from None
            time.sleep(0.05)
        else:
            return


def create_schema(url: str, name: str) -> str:
    """Make an empty schema, which is quicker than a database; give a URL that leads there."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}".encode())
    return f"{url}&options=-csearch_path%3D{name}"
