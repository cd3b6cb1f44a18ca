"""py-postgresql with its own functions for `initdb`, start and wait, and its own client."""

import contextlib
import os

from port_for import get_port
from postgresql.cluster import Cluster
from postgresql.installation import Installation, pg_config_dictionary

import turns

INSTALLATION = Installation(pg_config_dictionary(os.path.join(turns.BIN, "pg_config")))


@contextlib.contextmanager
def life(directory):
    cluster = Cluster(INSTALLATION, os.path.join(directory, "data"))
    cluster.init(user="postgres", encoding="UTF8")
    # The defaults, port 5432 and the default socket directory, may be in use or not accessible.
    settings = {"listen_addresses": "127.0.0.1", "port": str(get_port(None)), "unix_socket_directories": directory}
    cluster.settings.update(settings)
    with cluster:
        connection = cluster.connection(user="postgres", database="postgres")
        with connection:
            assert connection.prepare("SELECT 1").first() == 1
        yield
    cluster.drop()


turns.take(life)
