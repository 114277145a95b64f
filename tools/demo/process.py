"""Runs commands: with a log file, a time limit, and an end that leaves nothing behind."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class StepFailed(Exception):  # noqa: N818 - it says what happened to a step
    """A command did not do what the demonstration needs; the message ends with the last lines of its log."""


@dataclass(frozen=True)
class Runner:
    """Starts commands of this environment and keeps what they print.

    Attributes:
        logs: folder of the log files.
        environment: variables beside the inherited ones.
        commands: every command as it could be typed, in order.
    """

    logs: Path
    environment: Mapping[str, str]
    commands: list[str] = field(default_factory=list)

    def run(self, *words: object, log: str, limit: float, allowed: tuple[int, ...] = (0,)) -> int:
        """Run one command to its end and return its exit status.

        Raises:
            StepFailed: if it ends with a status that is not allowed, or not within ``limit`` seconds.
        """
        with self.started(*words, log=log) as process:
            try:
                status = process.wait(timeout=limit)
            except subprocess.TimeoutExpired as error:
                raise StepFailed(f"{log} took longer than {limit:.0f} s.\n{self.tail(log)}") from error
        if status not in allowed:
            raise StepFailed(f"{log} ended with status {status}.\n{self.tail(log)}")
        return status

    @contextmanager
    def started(self, *words: object, log: str) -> Iterator[subprocess.Popen[bytes]]:
        """Start a command in a group of its own; whatever is left of the group is ended at the end."""
        command = [str(word) for word in words]
        self.commands.append(shlex.join(command))
        command[0] = executable(command[0])
        environment = {**os.environ, **self.environment}
        with self.log_file(log).open("wb") as stream:
            process = subprocess.Popen(
                command, stdout=stream, stderr=subprocess.STDOUT, env=environment, start_new_session=True
            )
        try:
            yield process
        finally:
            end(process)

    def log_file(self, log: str) -> Path:
        """Where a step's output goes."""
        return self.logs / f"{log.replace(' ', '-')}.log"

    def tail(self, log: str, lines: int = 25) -> str:
        """Return the last lines that a step printed."""
        text = self.log_file(log).read_text("utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])


def executable(name: str) -> str:
    """Find a command of the environment that runs this very program, whether it is activated or not."""
    folder = Path(sys.executable).parent
    found = shutil.which(name, path=os.pathsep.join([str(folder), os.environ.get("PATH", "")]))
    if found is None:
        raise StepFailed(f"The command {name} is not installed beside {sys.executable}.")
    return found


def end(process: subprocess.Popen[bytes], patience: float = 15) -> None:
    """End a process and its children: first kindly, then surely."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:  # nobody is left
            break
        deadline = monotonic() + patience
        try:
            process.wait(timeout=max(deadline - monotonic(), 0))
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def assignments(text: str) -> dict[str, str]:
    """Read the lines that a shell would: ``export NAME=VALUE``.

    Example:
        >>> assignments("export nnUNet_extTrainer='/a b'")
        {'nnUNet_extTrainer': '/a b'}
    """
    words = [word for line in text.splitlines() for word in shlex.split(line, comments=True)]
    return dict(word.split("=", 1) for word in words if "=" in word)


def output_of(words: Sequence[str], *, limit: float = 60) -> str:
    """Return what a short command prints on its standard output."""
    command = [executable(words[0]), *words[1:]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    if done.returncode:
        raise StepFailed(f"{shlex.join(words)} ended with status {done.returncode}.\n{done.stderr}")
    return done.stdout
