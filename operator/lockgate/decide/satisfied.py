"""What the database is known to contain, verified: the record behind ``status.satisfied``. Pure.

It grows while the database does, because pods of older releases must go on starting while the database is ahead of
them. What a run does not find any more is taken out. It starts anew when ``spec.database`` changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from lockgate.decide.views import EPOCH, timestamp
from lockgate.decide.wording import summary
from lockgate.report import Report

__all__ = ["ADOPTION", "Satisfied", "Want", "read_satisfied"]

MAX_IMAGES = 100
MAX_IMAGES_IN_USE = 1000
MAX_REVISIONS = 5000
"""The CRD allows no more; together at most some 200 kB, where an object may have 1.5 MB."""

MAX_IDENTITY = 63
MAX_IMAGE = 1024
"""Characters that the CRD has room for; a container may have printed anything."""

ADOPTION = timedelta(seconds=60)
"""How much older than its resource a pod may be and still have been created together with it."""


@dataclass(frozen=True, slots=True)
class Want:
    """What a pod asks of the schema."""

    revision: str = ""
    image: str = ""
    own_images: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """What is wanted, as a sentence goes on with it."""
        if self.revision:
            return f"revision {self.revision}"
        return f"image {self.images[0]}" if len(self.images) == 1 else f"one of the images {', '.join(self.images)}"

    @property
    def images(self) -> tuple[str, ...]:
        """The images of which one has to be satisfied; none where a revision is wanted."""
        if self.revision:
            return ()
        return (self.image,) if self.image else self.own_images


@dataclass(frozen=True, slots=True)
class Satisfied:
    """Revisions that the database contains and migration images that ran to their end."""

    database: str
    since: datetime
    """Pods created before were judged by an older record."""
    revisions: tuple[str, ...] = ()
    images: tuple[tuple[str, str], ...] = ()
    """(image, revision that it leads to), newest first."""
    identity: str = ""
    """Of the database itself, as its last report told; ``database`` identifies what the spec says of it."""

    def covers(self, want: Want) -> bool:
        """Say whether a pod that wants this may start."""
        if want.revision:
            return want.revision in self.revisions
        done = {image for image, _ in self.images}
        return any(image in done for image in want.images)

    def extended(self, image: str, revision: str, revisions: Iterable[str], wanted: Iterable[Want]) -> Satisfied:
        """Return the record after a success; images that a present pod wants are kept beyond the bound."""
        others = tuple(pair for pair in self.images if pair[0] != image)
        return replace(
            self,
            revisions=tuple(dict.fromkeys((*revisions, *self.revisions)))[:MAX_REVISIONS],
            images=_bounded(((image, revision), *others), wanted),
        )

    @property
    def words(self) -> str:
        """What there is, newest first and shortened: ``image shop:2, shop:1 (revision d41)``."""
        if not self.images:
            return "no image yet"
        names = ", ".join(image for image, _ in self.images[:2])
        more = f" and {len(self.images) - 2} more" if len(self.images) > 2 else ""
        return f"image {names}{more}" + (f" (revision {self.images[0][1]})" if self.images[0][1] else "")

    def as_reported(self, report: Report, wanted: Iterable[Want], now: datetime) -> Satisfied:
        """Return the record after a report, whether or not the run succeeded: what the database lacks is not in it.

        A database that was reset, restored or exchanged has fewer revisions than the record says, or others. Where a
        report could not tell all of them, another identity is enough: then the record is of another database.
        """
        kept = self
        if report.complete:
            kept = self._only({*report.revisions, *report.reached}, now)
        elif self.identity and report.database and report.database != self.identity:
            kept = Satisfied(self.database, now.replace(microsecond=0))
        known = {image for image, _ in kept.images}
        told = (
            (one.image, summary(one.target)) for one in report.images if one.image not in known and _is_image(one.image)
        )
        images = _bounded((*kept.images, *told), wanted)
        identity = report.database if len(report.database) <= MAX_IDENTITY else ""
        return replace(kept, images=images, identity=identity or self.identity)

    def _only(self, contained: Set[str], now: datetime) -> Satisfied:
        lost = [name for name in self.revisions if name not in contained]
        return self.without(lost, "", now) if lost else self

    def without(self, revisions: Iterable[str], image: str, now: datetime) -> Satisfied:
        """Return the record before ``revisions`` are taken back, all where they are not known; ``image`` needs none.

        Pods that are there were judged by the record as it was. What an image led to is known as a `summary`, which
        shortens: in doubt it goes, and its pods wait.
        """
        gone = set(revisions)
        left = tuple(name for name in self.revisions if gone and name not in gone)
        safe = {summary([name]) for name in left} - {summary([name]) for name in gone}
        images = tuple(pair for pair in self.images if pair[0] == image or set(pair[1].split(",")) <= safe)
        return replace(self, revisions=left, images=images, since=now.replace(microsecond=0))

    def for_status(self) -> dict[str, Any]:
        """Return ``status.satisfied``."""
        return {
            "database": self.database,
            **({"identity": self.identity} if self.identity else {}),
            "since": self.since.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "revisions": list(self.revisions),
            "images": [{"image": image, "revision": revision} for image, revision in self.images],
        }


def _is_image(name: str) -> bool:
    """Say whether this can be the name of an image."""
    return 0 < len(name) <= MAX_IMAGE


def _bounded(images: Iterable[tuple[str, str]], wanted: Iterable[Want]) -> tuple[tuple[str, str], ...]:
    in_use = {name for want in wanted for name in want.images}
    kept = (pair for n, pair in enumerate(images) if n < MAX_IMAGES or pair[0] in in_use)
    return tuple(kept)[:MAX_IMAGES_IN_USE]


def read_satisfied(status: Mapping[str, Any], *, database: str, created: str, now: datetime) -> Satisfied:
    """Read the published record, or start a new one: the first, or the first of another database."""
    record = status.get("satisfied") or {}
    if not record:
        return Satisfied(database, (timestamp(created) or EPOCH + ADOPTION) - ADOPTION)
    if record.get("database") != database:
        return Satisfied(database, now.replace(microsecond=0))
    return Satisfied(
        database,
        timestamp(record.get("since")) or EPOCH,
        tuple(record.get("revisions") or ()),
        tuple((entry["image"], entry.get("revision", "")) for entry in record.get("images") or ()),
        record.get("identity") or "",
    )
