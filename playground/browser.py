"""A browser without a window: it follows links, keeps cookies, and presses buttons of forms."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from types import TracebackType
from typing import Self

from aiohttp import ClientResponse, ClientSession, CookieJar
from yarl import URL


@dataclass(kw_only=True)
class Form:
    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict[str, str])
    #: label -> name and value
    buttons: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])


@dataclass(frozen=True, kw_only=True)
class Page:
    url: URL
    status: int
    text: str
    forms: tuple[Form, ...]

    def form_with(self, label: str) -> tuple[Form, tuple[str, str]]:
        """The form and the button whose label begins so. Raises LookupError."""
        for form in self.forms:
            for known, button in form.buttons.items():
                if known.startswith(label):
                    return form, button
        raise LookupError(f"{self.url.path} has no button {label!r}:\n{self.text}")


class Browser:
    """Use it with `async with`."""

    def __init__(self) -> None:
        self.http = ClientSession(cookie_jar=CookieJar(unsafe=True))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.http.close()

    async def open(self, url: str | URL) -> Page:
        async with self.http.get(url) as answer:
            return await _page(answer)

    async def press(self, page: Page, label: str) -> Page:
        form, (name, value) = page.form_with(label)
        target = page.url.join(URL(form.action)) if form.action else page.url
        async with self.http.post(target, data=form.fields | {name: value}) as answer:
            return await _page(answer)


async def _page(answer: ClientResponse) -> Page:
    text = await answer.text()
    reader = _Reader()
    reader.feed(text)
    return Page(url=answer.url, status=answer.status, text=text, forms=tuple(reader.forms))


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._button: tuple[str, str] | None = None
        self._label = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(
                Form(action=given.get("action", ""), method=given.get("method", "get"))
            )
        elif tag == "input" and self.forms:
            self.forms[-1].fields[given.get("name", "")] = given.get("value", "")
        elif tag == "button":
            self._button, self._label = (given.get("name", ""), given.get("value", "")), ""

    def handle_data(self, data: str) -> None:
        if self._button is not None:
            self._label += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "button" and self._button is not None and self.forms:
            self.forms[-1].buttons[" ".join(self._label.split())] = self._button
            self._button = None
