"""Dependencies point one way, and each outside library has one home."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOMAIN = {
    "run",
    "plan",
    "pipeline",
    "testreport",
    "events",
    "intents",
    "errors",
    "state",
    "project",
    "policy",
    "difference",
    "globs",
    "outside",
    "gate",
    "freeze",
    "delivery",
    "maintenance.night",
    "maintenance.diary",
    "maintenance.findings",
    "maintenance.morning",
    "involved",
    "outcomes",
}

#: what puts adapters together
ROOTS = (
    *("bot/app.py", "bot/roles/", "bot/build.py", "bot/doctor.py", "bot/operate.py"),
    *("bot/maintenance_project.py", "bot/trial.py", "bot/code.py", "bot/evaluation.py"),
)

#: library -> the only places that may import it
HOMES = {
    "slack_bolt": ("bot/front.py", "bot/slack", "bot/listeners/"),
    "slack_sdk": ("bot/front.py", "bot/slack", "bot/listeners/"),
    # slack_sdk lets the errors of aiohttp through
    "aiohttp": (
        *("bot/roles/", "bot/front.py", "bot/slack", "bot/signature.py", "bot/web/"),
        "agent/adapters/outside_log.py",
    ),
    "apscheduler": ("bot/schedule.py",),
    "matplotlib": ("bot/chart.py",),
    "openai": ("agent/adapters/",),
    "gitlab": ("agent/adapters/",),
    "asyncpg": ("agent/adapters/",),
    "pgqueuer": ("agent/adapters/",),
    "pgvector": ("agent/adapters/",),
    "sqlalchemy": ("agent/adapters/",),
    "alembic": ("agent/adapters/",),
    "rich": ("bot/",),
    "numpy": (
        *("agent/retrieval/", "agent/adapters/postgres_code.py"),
        *("agent/adapters/postgres_trees.py", "agent/adapters/postgres_chunks.py"),
        *("agent/adapters/openai_embeddings.py", "agent/adapters/minilm.py"),
        *("agent/adapters/postgres_vectors.py", "agent/adapters/vector_cache.py"),
    ),
    "tree_sitter": ("agent/retrieval/",),
    "Stemmer": ("agent/retrieval/",),
}


def modules(*packages: str) -> list[Path]:
    return [p for name in packages for p in sorted((ROOT / name).rglob("*.py"))]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything imported, `from a import b` as `a.b`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield from ((node.lineno, f"{node.module}.{a.name}") for a in node.names)


def of_domain(name: str) -> bool:
    """`agent.run.Run`, `agent.maintenance.night.Task`."""
    parts = name.split(".")
    return parts[1] in DOMAIN or ".".join(parts[1:3]) in DOMAIN


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_packages_depend_one_way():
    may = {"agent": {"agent"}, "bot": {"agent", "bot"}}
    wrong = [
        f"{place(path)}:{line}: {name}"
        for package, allowed in may.items()
        for path in modules(package)
        for line, name in imports(path)
        if (top := name.split(".")[0]) in {"agent", "bot", "playground", "tests"}
        and top not in allowed
    ]
    assert wrong == []


def of_module(name: str) -> list[Path]:
    """The files of a module or of a package of `agent`; there is at least one."""
    stem = ROOT / "agent" / name.replace(".", "/")
    found = sorted(stem.rglob("*.py")) or [stem.with_suffix(".py")]
    assert found[0].exists(), f"agent/{name} is listed and not there"
    return found


def test_the_domain_knows_only_itself():
    wrong = [
        f"{place(path)}:{line}: {imported}"
        for name in sorted(DOMAIN)
        for path in of_module(name)
        for line, imported in imports(path)
        if imported.startswith("agent.") and not of_domain(imported)
    ]
    assert wrong == []


def test_the_ports_know_the_domain_only_and_are_imported_as_one():
    wrong = [
        f"{place(path)}:{line}: {name}"
        for path in modules("agent/ports")
        for line, name in imports(path)
        if name.startswith("agent.") and not of_domain(name) and name.split(".")[1] != "ports"
    ]
    parts = {path.stem for path in modules("agent/ports")}
    wrong += [
        f"{place(path)}:{line}: {name}"
        for path in modules("agent", "bot")
        if not place(path).startswith("agent/ports/")
        for line, name in imports(path)
        if name.startswith("agent.ports.") and name.split(".")[2] in parts
    ]
    assert wrong == []


def test_only_composition_roots_see_adapters():
    wrong = [
        f"{place(path)}:{line}: {name}"
        for path in modules("agent", "bot")
        if not place(path).startswith("agent/adapters/") and not place(path).startswith(ROOTS)
        for line, name in imports(path)
        if name.startswith(("agent.adapters", "agent.testing"))
        and not place(path).startswith("agent/testing/")
    ]
    assert wrong == []


def test_views_and_the_command_parser_see_the_domain_only():
    pure = [*modules("bot/views"), ROOT / "bot" / "command.py"]
    wrong = [
        f"{place(path)}:{line}: {name}"
        for path in pure
        if path.exists()
        for line, name in imports(path)
        if (name.startswith("agent.") and not of_domain(name))
        or (name.startswith("bot.") and not name.startswith("bot.views"))
    ]
    assert wrong == []


def test_each_outside_library_has_one_home():
    wrong = [
        f"{place(path)}:{line}: {name}"
        for path in modules("agent", "bot")
        for line, name in imports(path)
        if (homes := HOMES.get(name.split(".")[0])) and not place(path).startswith(homes)
    ]
    assert wrong == []


def test_only_the_settings_read_the_environment():
    wrong = [
        f"{place(path)}:{node.lineno}"
        for path in modules("agent", "bot")
        if place(path) != "bot/settings.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and node.attr in {"environ", "getenv", "environb"}
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
    ]
    assert wrong == []


def test_the_migrations_do_not_shadow_their_library():
    assert not (ROOT / "alembic" / "__init__.py").exists()
