"""What a reader and a writer of GitLab have in common: one credential, one request at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, cast
from urllib.parse import urlsplit

from agent.adapters.gitlab_payloads import integer, record, words
from agent.adapters.read_again import read_again
from agent.adapters.to_the_end import to_the_end
from agent.errors import (
    Conflict,
    ForgeRejected,
    ForgeUnavailable,
    JourneymanError,
    NotFound,
)
from agent.ports import Origin, Project

if TYPE_CHECKING:
    from gitlab import Gitlab

SECONDS = 10.0  #: for one request
_AT_ONCE = 16  # requests; threads of its own, so that a slow GitLab holds up nothing else
#: Seconds until GitLab is no longer at a change that it has not answered for: it ends a request
#: after 60, which may have waited for its turn before.
LETS_GO = 75.0
#: Of a proxy that has passed a request on, and got no answer either.
_CUT = (502, 504)


class Get(Protocol):
    async def __call__(self, path: str, **query: str | int) -> Any: ...


class Send(Protocol):
    async def __call__(self, path: str, data: Mapping[str, Any]) -> Any: ...


class GitLabClient:
    """`token_name` is told to people when the token does not suffice."""

    scope = ""

    def __init__(self, url: str, token: str, *, token_name: str) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self.token_name = token_name
        self._client: Gitlab | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._me: int | None = None
        self._asked = threading.local()

    @property
    def host(self) -> str:
        return urlsplit(self._url).hostname or ""

    async def __aenter__(self) -> Self:
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="gitlab")
        self._client = await asyncio.to_thread(self._open)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._client is not None:
            self._client.session.close()
            self._client = None
        if self._threads is not None:
            self._threads.shutdown(wait=False)
            self._threads = None

    def origin(self, project: Project) -> Origin:
        """The token goes to the configured GitLab only, wherever its answers point."""
        url = project.clone_url
        if urlsplit(url)[:2] != urlsplit(self._url)[:2]:
            url = f"{self._url}/{project.path}.git"
        return Origin(url=url, token=self._token)

    async def scopes(self) -> tuple[str, ...]:
        """What the token may do. Raises `NotFound` where GitLab does not tell (before 15.5)."""
        told = record(await self._get("/personal_access_tokens/self"))
        return tuple(str(scope) for scope in cast("list[object]", told.get("scopes") or []))

    async def me(self) -> int:
        """Id of the user whose token this is."""
        if self._me is None:
            self._me = integer(record(await self._get("/user")), "id")
        return self._me

    async def answers(self) -> None:
        """Raises `ForgeUnavailable` while it does not, `ForgeRejected` where it refuses the
        token."""
        await self._get_once("/user")

    @read_again
    async def _get(self, path: str, **query: str | int) -> Any:
        return await self._get_once(path, **query)

    async def _get_once(self, path: str, **query: str | int) -> Any:
        return await self._call(lambda gitlab: gitlab.http_get(path, query, **_ONCE))

    async def _post(self, path: str, data: Mapping[str, Any]) -> Any:
        return await self._change(
            lambda gitlab: gitlab.http_post(path, post_data=dict(data), **_ONCE)
        )

    async def _put(self, path: str, data: Mapping[str, Any]) -> Any:
        return await self._change(
            lambda gitlab: gitlab.http_put(path, post_data=dict(data), **_ONCE)
        )

    async def _change(self, act: Callable[[Gitlab], Any]) -> Any:
        """To the end, even when cancelled: whoever goes on from here looks at what GitLab has, and
        would not see what is still on its way there."""
        changing = asyncio.create_task(self._call(act, changes=True))
        cancelled = await to_the_end(changing)
        if cancelled is not None and not _asks_for_time(changing.exception()):
            raise cancelled
        return changing.result()

    async def _call(self, act: Callable[[Gitlab], Any], *, changes: bool = False) -> Any:
        client = self._client
        if client is None:
            raise RuntimeError("GitLab is used outside of `async with`")
        asking = partial(self._translated, client, act, changes)
        return await asyncio.get_running_loop().run_in_executor(self._threads, asking)

    def _open(self) -> Gitlab:
        # Imported here: half a second that only those who talk to GitLab should wait.
        import gitlab
        import requests
        from requests.adapters import HTTPAdapter

        session = requests.Session()
        session.max_redirects = 0  # the token must not follow one
        for scheme in ("https://", "http://"):
            session.mount(scheme, HTTPAdapter(pool_maxsize=_AT_ONCE))
        session.hooks["response"].append(self._remember)
        return gitlab.Gitlab(
            self._url,
            private_token=self._token,
            timeout=SECONDS,
            retry_transient_errors=False,
            keep_base_url=True,
            session=session,
        )

    def _remember(self, response: Any, *_: Any, **__: Any) -> None:
        self._asked.retry_after = response.headers.get("Retry-After")

    def _translated(self, client: Gitlab, act: Callable[[Gitlab], Any], changes: bool) -> Any:
        import requests
        from gitlab.exceptions import GitlabError, GitlabHttpError, RedirectError

        self._asked.retry_after = None
        try:
            return act(client)
        except requests.TooManyRedirects as error:
            raise self._moved(error.response) from error
        except (requests.RequestException, OSError) as error:
            if changes and not _unheard(error):
                raise ForgeUnavailable(
                    f"GitLab at {self._url} does not answer, and may be doing this all the same.",
                    retry_after=LETS_GO,
                ) from error
            raise ForgeUnavailable(f"GitLab at {self._url} does not answer.") from error
        except RedirectError as error:
            raise ForgeRejected(str(error)) from error
        except GitlabHttpError as error:
            status = error.response_code or 0
            patience = LETS_GO if changes and status in _CUT else None
            raise self._refusal(status, error.error_message, patience) from error
        except GitlabError as error:
            if error.response_code:
                raise self._refusal(error.response_code, error.error_message) from error
            raise ForgeUnavailable(f"GitLab at {self._url} gave an answer that is none.") from error

    def _moved(self, answer: Any) -> ForgeRejected:
        """GitLab leads from the old path of a project to the new one: nothing is done at a place
        that the settings do not name."""
        location = str(answer.headers.get("Location", "")) if answer is not None else ""
        if location.startswith(f"{self._url}/api/v4/projects/"):
            return ForgeRejected(
                "The project was renamed or moved in GitLab. Set its new path in the settings.",
                status=301,
            )
        return ForgeRejected(
            f"{self._url} answers with a redirect. Set GITLAB_URL to where it leads."
        )

    def _refusal(
        self, status: int, message: object, patience: float | None = None
    ) -> JourneymanError:
        said = words(message)
        if status == 401:
            return ForgeRejected(
                f"GitLab does not accept {self.token_name}: {said}. "
                "It may be wrong, revoked or expired; make a new one.",
                status=status,
            )
        if status == 403:
            return ForgeRejected(
                f"{self.token_name} may not do this: {said}. "
                f"It needs the scope {self.scope} and the role Developer in the project.",
                status=status,
            )
        if status == 404:
            return NotFound(
                f"GitLab has no such thing, or {self.token_name} may not see it: {said}.",
                status=status,
            )
        if status == 409:
            return Conflict(f"GitLab says: {said}.", status=status)
        if status == 429 or status >= 500:
            waits = cast("str | None", self._asked.retry_after) or ""
            return ForgeUnavailable(
                f"GitLab asks for patience ({status}): {said}.",
                retry_after=max(float(waits), patience or 0) if waits.isdecimal() else patience,
            )
        return ForgeRejected(f"GitLab says ({status}): {said}.", status=status)


def _asks_for_time(error: BaseException | None) -> bool:
    return isinstance(error, ForgeUnavailable) and error.retry_after is not None


def _unheard(error: Exception) -> bool:
    """Whether no connection was made at all. One that is cut later tells nothing: GitLab goes on
    with what it was asked, whoever is still there for the answer."""
    from requests import ConnectTimeout
    from urllib3.exceptions import MaxRetryError, NewConnectionError

    cause = error.args[0] if error.args else None
    refused = isinstance(cause, MaxRetryError) and isinstance(cause.reason, NewConnectionError)
    return refused or isinstance(error, ConnectTimeout)


#: Whoever calls decides whether to try again, after reading back.
_ONCE: dict[str, Any] = {"max_retries": 0, "obey_rate_limit": False}
