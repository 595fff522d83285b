import pytest

from invoices.app import App
from invoices.http import Request
from invoices.store import Store


@pytest.fixture
def get():
    app = App(Store.sample())

    def get(path, **query):
        return app.handle(Request("GET", path, query))

    return get
