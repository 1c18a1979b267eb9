"""Bags of ROS 2 in a database of SQLite.

One that was cut off is read up to there: SQLite itself would refuse it, or take what it lacks for zeros, so that it
gets a copy of the pages that are whole.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from stream_ottt.sources.decompress import ZstdFrames
from stream_ottt.sources.ros.bag import MAX_CHUNK, Bag, Message, Topic, plain_type

MAGIC = b"SQLite format 3\0"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
SQLITE_STEPS = 1_000_000
"""After so many steps of SQLite's machine it is looked whether a damaged file keeps it going for ever."""
OWN = "topic_id IN (SELECT id FROM topics WHERE name = ? AND replace(type, '/msg/', '/') = ?)"


class Sqlite3Bag(Bag):
    """A bag of ROS 2 in a database of SQLite."""

    def topics(self) -> list[Topic]:
        with self._database() as database:
            rows = database.execute("SELECT name, type FROM topics ORDER BY id")
            return [Topic(str(name), plain_type(str(kind))) for name, kind in rows]

    def span(self) -> tuple[int, int] | None:
        with self._database() as database:
            ends = [
                database.execute(f"SELECT timestamp FROM messages ORDER BY id {order} LIMIT 1").fetchone()
                for order in ("ASC", "DESC")
            ]
        return (int(ends[0][0]), int(ends[1][0])) if all(ends) else None

    def messages(self, topic: Topic, start: int = 0) -> Iterator[Message]:
        zstd = ZstdFrames()
        with self._database() as database:
            first, last = 0, self._last(database)
            if start:
                found = database.execute("SELECT min(id) FROM messages WHERE timestamp >= ?", (start,)).fetchone()[0]
                if found is None:
                    return
                first = int(found)
            query = f"SELECT id, data FROM messages WHERE id >= ? AND {OWN} ORDER BY id"
            for number, data in database.execute(query, (first, topic.name, topic.type)):
                if data.startswith(ZSTD_MAGIC):  # the recorder's compression of single messages
                    data = bytes(zstd(data))
                self.unpacked(len(data))
                self.share = number / last if 0 < number <= last else 0.0
                yield Message(data, cdr=True)
            if self.at is not None:
                raise self.fail("the database was cut off here; copy the file again", self.at)

    @staticmethod
    def _last(database: sqlite3.Connection) -> int:
        """Number of the last message; 0 in a database that was cut off before it."""
        with suppress(sqlite3.Error):
            return int(database.execute("SELECT max(id) FROM messages").fetchone()[0] or 0)
        return 0

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        for suffix in ("-wal", "-journal"):
            beside = self.path.with_name(self.path.name + suffix)
            if beside.exists() and beside.stat().st_size:
                fix = f"`sqlite3 {self.path.name} .tables` mends it"
                raise self.fail(f"its recording was cut off: {beside.name} is left; {fix}", None)
        with self.path.open("rb") as file:
            head = file.read(100)
        page, pages = int.from_bytes(head[16:18], "big"), int.from_bytes(head[28:32], "big")
        page = page if page > 1 else 1 << 16
        with ExitStack() as stack:
            path = self.path
            if self.size < page * pages:
                self.at = self.size
                path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stream-ottt-"))) / "cut.db3"
                self._copy(path, self.size - self.size % page)
            with self.damage():
                yield stack.enter_context(closing(self._connected(path)))

    def _copy(self, path: Path, size: int) -> None:
        """The first ``size`` bytes."""
        with self.path.open("rb") as whole, path.open("wb") as copy:
            shutil.copyfileobj(whole, copy)
            copy.truncate(size)

    def _connected(self, path: Path) -> sqlite3.Connection:
        database = sqlite3.connect(
            f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1", uri=True, check_same_thread=False
        )
        looks = max(16, self.size * 10 // SQLITE_STEPS)

        def still_reading() -> bool:
            nonlocal looks
            looks -= 1
            return looks < 0

        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_CHUNK)
        database.set_progress_handler(still_reading, SQLITE_STEPS)
        try:
            database.execute("PRAGMA trusted_schema = OFF")
            if path != self.path:
                database.execute("PRAGMA writable_schema = ON")  # else a file with fewer pages than it says is refused
            tables = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('messages', 'topics')"
            if database.execute(tables).fetchone() != (2,):
                cut = "" if self.at is None else f"; it is cut off at byte {self.at}"
                raise self.fail(f"holds no tables 'topics' and 'messages'; expected a bag of ROS 2{cut}", self.at)
        except BaseException:
            database.close()
            raise
        return database
