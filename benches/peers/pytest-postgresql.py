"""pytest-postgresql: the executor of its server fixture, used as the fixture uses it."""

import contextlib
import os

import psycopg
from port_for import get_port
from pytest_postgresql.executors import PostgreSQLExecutor
from pytest_postgresql.retry import retry

import turns


@contextlib.contextmanager
def life(directory):
    server = PostgreSQLExecutor(
        executable=os.path.join(turns.BIN, "pg_ctl"),
        host="127.0.0.1",
        port=get_port(None),
        user="postgres",
        password="",
        dbname="postgres",
        options="",
        datadir=os.path.join(directory, "data"),
        unixsocketdir=directory,
        logfile=os.path.join(directory, "log"),
        startparams="-w",
        postgres_options="",
    )
    server.start()
    server.wait_for_postgres()
    address = {"host": server.host, "port": server.port, "user": "postgres", "dbname": "postgres"}
    # As in its janitor, the connection is retried, because the server may still be starting.
    with retry(lambda: psycopg.connect(**address), possible_exception=psycopg.OperationalError) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    yield
    server.stop()
    server.clean_directory()


turns.take(life)
