"""A job's log, however long, in pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from gitlab import Gitlab

_PIECE = 256 * 1024
_TRIES = 4


def stream(gitlab: Gitlab, path: str, sink: Callable[[bytes], None]) -> None:
    """Goes on where it was when the connection breaks, by range or by reading over again."""
    import requests

    had = 0
    for attempt in range(1, _TRIES + 1):
        response = _open(gitlab, path, had)
        if response is None:
            return  # nothing more stands there
        skip = 0 if response.status_code == 206 else had
        try:
            for piece in cast("Iterator[bytes]", response.iter_content(_PIECE)):
                fresh = piece[skip:]
                skip = max(0, skip - len(piece))
                had += len(fresh)
                if fresh:
                    sink(fresh)
            return
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
            if attempt == _TRIES:
                raise
        finally:
            response.close()


def _open(gitlab: Gitlab, path: str, start: int) -> Any:
    from gitlab.exceptions import GitlabHttpError

    headers = {"Range": f"bytes={start}-"} if start else {}
    try:
        return gitlab.http_get(
            path,
            streamed=True,
            raw=True,
            extra_headers=headers,
            max_retries=0,
            obey_rate_limit=False,
        )
    except GitlabHttpError as error:
        if error.response_code == 416:
            return None
        raise
