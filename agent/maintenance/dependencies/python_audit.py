"""Known vulnerabilities of Python packages, by pip-audit where it is installed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from agent.errors import ToolFailed, Unavailable
from agent.maintenance.dependencies.ecosystem import Audit, Known
from agent.maintenance.dependencies.shop import Shop
from agent.maintenance.night import Advisory


async def audit(shop: Shop, pins: Mapping[str, str]) -> Audit:
    if not pins:
        return Audit()
    listed = "".join(f"{name}=={version}\n" for name, version in sorted(pins.items()))
    question = shop.hand_in("audit.txt", listed)
    argv = ["pip-audit", "--no-deps", "--disable-pip", "--progress-spinner", "off"]
    argv += ["--format", "json", "--requirement", question]
    try:
        answer = await shop.run(argv, ok=(0, 1))  # 1: it found some
        return Audit(known=read(answer.out))
    except (ToolFailed, Unavailable) as error:
        return Audit(not_checked=f"Vulnerabilities of Python packages: not checked: {error}")


def read(text: str) -> tuple[Known, ...]:
    try:
        packages = cast("list[dict[str, Any]]", json.loads(text)["dependencies"])
        return tuple(
            Known(
                package=str(package["name"]),
                version=str(package["version"]),
                advisories=tuple(_advisory(each) for each in package["vulns"]),
            )
            for package in packages
            if package.get("vulns")
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ToolFailed("pip-audit answered something that is no report of its own.") from error


def _advisory(data: Mapping[str, Any]) -> Advisory:
    fixes = cast("list[str]", data.get("fix_versions") or [])
    return Advisory(
        id=str(data["id"]),
        severity="",
        summary=" ".join(str(data.get("description", "")).split())[:300],
        fixed_in=str(fixes[0]) if fixes else "",
    )
