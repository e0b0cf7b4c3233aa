"""The jars of a Kafka broker: resolved by Maven into a folder that git ignores, and made quick to start.

The folder is `.kafka` in the checkout, or the one that KAFKA_JARS names.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.process import NotStarted

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
POM = HERE / "pom.xml"
INSTALL = "install Java 17 and Maven (Debian: apt install default-jre-headless maven)"
# Classes as the virtual machine keeps them, beside the jars: half the time and the work of a start. Where it does not
# fit (another Java, a copied folder) it is left aside without a word.
ARCHIVE = "classes.jsa"
NAMED = os.environ.get("KAFKA_JARS")  # read now: tests take such variables away


def version() -> str:
    """The version of Kafka that the pom names."""
    found = re.search(r"<kafka.version>(.+?)</kafka.version>", POM.read_text(encoding="utf-8"))
    assert found, f"{POM} names no kafka.version"
    return found[1]


def folder() -> Path:
    """Where the jars are, or will be."""
    return Path(NAMED).absolute() if NAMED else ROOT / ".kafka" / f"jars-{version()}"


def missing() -> str | None:
    """What this machine lacks to run a broker from jars; None if nothing."""
    if shutil.which("java") is None:
        return f"no Java here for a Kafka broker: {INSTALL}"
    if shutil.which("mvn") is None and not complete(folder()):
        return f"no Maven here to fetch Kafka: {INSTALL}"
    return None


def complete(jars: Path) -> bool:
    """Whether the jars are there."""
    return any(jars.glob("kafka_2.13-*.jar"))


def resolved() -> Path:
    """The folder of the jars, filled first if it is not (about a minute, once). Raises NotStarted."""
    jars = folder()
    if complete(jars):
        return jars
    if lacking := missing():
        raise NotStarted(lacking)
    jars.parent.mkdir(parents=True, exist_ok=True)
    with alone(jars):
        if not complete(jars):
            _fetch(jars)
    return jars


@contextmanager
def alone(jars: Path) -> Iterator[None]:
    """Keep other processes from changing the folder meanwhile: several may want the same at once."""
    with (jars.parent / f"{jars.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(jars: Path) -> None:
    with tempfile.TemporaryDirectory(dir=jars.parent) as scratch:
        fetched = Path(scratch) / "jars"
        done = subprocess.run(
            [
                *("mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies"),
                *(f"-DoutputDirectory={fetched}", "-DincludeScope=runtime"),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or not complete(fetched):
            said = "\n".join((done.stdout + done.stderr).splitlines()[:8])
            raise NotStarted(f"Maven could not fetch Kafka {version()} with {POM}:\n{said}")
        fetched.chmod(0o755)
        fetched.replace(jars)  # all of them or none


def command(jars: Path, memory_mb: int, *, keep_classes_in: Path | None = None) -> list[str]:
    """The beginning of a command line, to which the name of a class and its arguments are added.

    ``keep_classes_in``: write the archive of classes there when the program ends.
    """
    archive = jars / ARCHIVE
    classes = []
    if keep_classes_in is not None:
        classes = [f"-XX:ArchiveClassesAtExit={keep_classes_in}"]
    elif archive.exists():
        classes = [f"-XX:SharedArchiveFile={archive}"]
    return [
        "java",
        f"-Xmx{memory_mb}m",
        # Quick to start and small; the second compiler pays only for a broker that works for minutes.
        *("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
        *("-Xshare:auto", "-Xlog:cds=off", "-Xlog:cds+dynamic=off", *classes),
        "-Dorg.apache.logging.log4j.level=WARN",
        *("-cp", f"{jars}/*"),
    ]
