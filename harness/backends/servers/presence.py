"""Whether anybody is there: asked of every server of a run before the first model of it begins to work."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from harness.config.model import ModelConfig, RemoteModel
from harness.errors import BackendError
from harness.security.egress import server

CONNECT_S = 5.0


def refuse_absent(config: ModelConfig) -> None:
    """Raises BackendError where nobody takes a connection for a model that is asked of a server, or for its proxy.

    Nothing is sent. What is there may still refuse a key or a model's name, or be loading.
    """
    if not isinstance(config, RemoteModel):
        return
    place = server(config)
    hop = urlsplit(place.url if place.proxy is None else place.proxy)
    port = hop.port or (443 if hop.scheme == "https" else 80)
    try:
        socket.create_connection((hop.hostname, port), CONNECT_S).close()
    except OSError as error:
        unknown = isinstance(error, socket.gaierror)
        what = f"nobody answers for model {config.name}, so nothing was begun: {error}"
        fix = "mend the host name in `base_url`" if unknown else "start the server, or mend `base_url`"
        raise BackendError(what, where=place.url, fix=fix) from None
