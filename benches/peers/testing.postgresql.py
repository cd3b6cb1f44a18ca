"""testing.postgresql with its cache of an initialized data directory, which is warm after the first turn."""

import contextlib
import os

import pg8000
import testing.postgresql

import turns

FACTORY = testing.postgresql.PostgresqlFactory(
    cache_initialized_db=True,
    initdb=os.path.join(turns.BIN, "initdb"),
    postgres=os.path.join(turns.BIN, "postgres"),
)


@contextlib.contextmanager
def life(_directory):
    with FACTORY() as server:
        with contextlib.closing(pg8000.connect(**server.dsn())) as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT 1")
            assert cursor.fetchone()[0] == 1
        yield


turns.take(life)
FACTORY.clear_cache()
