from pathlib import Path

from invoices.routes import ROUTES

API = Path(__file__).parent.parent / "docs" / "api.md"


def test_every_route_is_described():
    described = API.read_text(encoding="utf-8")
    missing = [r.path for r in ROUTES if f"## {r.method} {r.path}\n" not in described]
    assert missing == [], f"not described in docs/api.md: {missing}"


def test_fixed_paths_come_before_the_patterns_that_would_swallow_them():
    for position, route in enumerate(ROUTES):
        for earlier in ROUTES[:position]:
            swallowed = earlier.match(route.method, route.path) is not None
            assert not swallowed, f"{route.path} is never reached: {earlier.path} comes first"
