"""What a change may touch, by paths and by size; and what a credential looks like."""

from __future__ import annotations

import base64
import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.canaries import Canaries
from agent.difference import FileDiff, Line, read_patch
from agent.globs import matches
from agent.policy import Policy, breaches
from agent.tamper.ci import includes, is_ci


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("*.pem", "a/b/key.pem", True),
        ("*.pem", "a/key.pem.txt", False),
        ("infra", "infra/main.tf", True),
        ("infra", "x/infra/main.tf", True),
        ("infra/", "infra", False),
        ("infra/", "a/infra/b/c.tf", True),
        ("/infra", "infra/main.tf", True),
        ("/infra", "x/infra/main.tf", False),
        ("src/*.py", "src/a.py", True),
        ("src/*.py", "src/a/b.py", False),
        ("src/**/*.py", "src/a.py", True),
        ("src/**/*.py", "src/a/b/c.py", True),
        ("src/**", "src/a/b", True),
        ("src/**", "src", False),
        ("**/secrets.yml", "secrets.yml", True),
        ("**/secrets.yml", "a/b/secrets.yml", True),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("v[0-9].txt", "v3.txt", True),
        ("v[!0-9].txt", "v3.txt", False),
        ("a[", "a[", True),
        (r"\*", "*", True),
        (r"\*", "b", False),
        ("a.b", "axb", False),
    ],
)
def test_patterns_are_those_of_gitignore(pattern: str, path: str, fits: bool):
    assert matches(pattern, path) is fits


@given(st.text(min_size=1, max_size=30), st.text(min_size=1, max_size=60))
def test_any_pattern_can_be_asked_about_any_path(pattern: str, path: str):
    matches(pattern, path)
    matches(pattern, path, folded=True)


def changed(path: str, old: str | None = "", **more: object) -> FileDiff:
    return FileDiff(old=path if old == "" else old, new=path, **more)


def told(policy: Policy, *diffs: FileDiff, paths: tuple[str, ...] = ()) -> list[str]:
    return [f"{v.path}: {v.detail}" for v in breaches(policy, diffs, paths)]


def test_by_default_every_path_may_be_changed():
    assert told(Policy(), changed("a"), changed(".env"), changed("infra/x")) == []


def test_both_names_of_a_renamed_file_are_judged():
    policy = Policy(deny_paths=("infra/",))
    assert told(policy, changed("src/a.tf", "infra/a.tf")) == [
        "infra/a.tf: the settings deny changes of `infra/`"
    ]
    assert told(policy, changed("infra/a.tf", "src/a.tf"))
    allowed = Policy(allow_paths=("src/",))
    assert told(allowed, changed("src/a", "b"))
    assert told(allowed, changed("src/a")) == []
    assert told(allowed, FileDiff(old="b", new=None))


def test_names_that_some_file_systems_take_for_the_same_are_the_same_where_it_is_denied():
    policy = Policy(allow_paths=("src/",), deny_paths=("src/Secrets/",))
    assert told(policy, changed("src/SECRETS/a"))
    assert told(policy, changed("SRC/a"))
    decomposed = "caf\u0065\u0301"
    assert told(Policy(deny_paths=("caf\u00e9",)), changed(decomposed))


def test_a_twin_in_case_is_named():
    (only,) = told(Policy(), changed("readme.md", None), paths=("README.md", "readme.md"))
    assert only == "readme.md: this name differs from `README.md` in case only"


def test_links_submodules_and_modes_are_named():
    target = [Line(number=1, text="../../etc/passwd")]
    assert told(Policy(), changed("a/b", None, new_mode="120000", added=target)) == [
        "a/b: this is a symbolic link to `../../etc/passwd`, outside of the project"
    ]
    hidden = [Line(number=1, text="../infra/x")]
    (only,) = told(
        Policy(deny_paths=("infra/",)), changed("a/b", None, new_mode="120000", added=hidden)
    )
    assert "deny" in only
    assert "submodule" in told(Policy(), changed("lib", None, new_mode="160000"))[0]
    assert told(Policy(), changed("run", old_mode="100644", new_mode="100755")) == [
        "run: its mode changed from 100644 to 100755"
    ]
    assert told(Policy(), changed("run", None, new_mode="100755")) == []


def test_content_that_a_difference_does_not_show_is_named():
    patch = """diff --git a/app.so b/app.so
index 1..2 100755
Binary files a/app.so and b/app.so differ
diff --git a/gone.so b/gone.so
deleted file mode 100644
index 1..0
Binary files a/gone.so and /dev/null differ
diff --git a/model.bin b/model.bin
index 1..2 100644
--- a/model.bin
+++ b/model.bin
@@ -1,3 +1,3 @@
 version https://git-lfs.github.com/spec/v1
-oid sha256:{}
-size 12
+oid sha256:{}
+size 900000000
""".format("1" * 64, "2" * 64)
    assert told(Policy(), *read_patch(patch)) == [
        "app.so: it is binary, and how large it is cannot be seen",
        "model.bin: its content is kept in Git LFS, and cannot be seen",
    ]


def test_caps_count_files_lines_and_bytes():
    small = Policy(max_files=1, max_lines=3, max_binary=10)
    two = [Line(number=n, text="x") for n in (1, 2)]
    assert told(small, changed("a", added=two)) == []
    assert told(small, changed("a", added=two, removed=two), changed("b", binary=11)) == [
        ": 2 files are changed, at most 1 are allowed",
        ": 4 lines are added or removed, at most 3 are allowed",
        ": 11 bytes of binary files are changed, at most 10 are allowed",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "include:\n  - local: /ci/test.yml\n",
        "include:\n  - local: 'ci/test.yml'\n",
        "include: ci/test.yml\n",
        "include:\n  - ci/test.yml\n",
        'include: [{local: "/ci/test.yml"}]\n',
        "include: ['ci/test.yml']\n",
        "include:\n  - local: ci/*.yml\n",
        "include:\n  - remote: https://example.com/x.yml\n  - local: ci/test.yml\n",
    ],
)
def test_local_includes_of_the_ci_configuration_count(text: str):
    assert is_ci("ci/test.yml", includes(text))
    assert not is_ci("src/test.yml", includes(text))


SECRETS = ("glpat-Zx81_kkQ-77vTTyPq0aB", "xoxb-1234/abcd+EFGH==", "Ab1-de+9", "päss wörd 123")


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("offset", [0, 1, 2])
def test_each_form_of_a_credential_is_found(secret: str, offset: int):
    canaries = Canaries(secrets=frozenset(SECRETS))
    raw = secret.encode()
    encoded = base64.b64encode(b"x" * offset + raw + b"yy")
    forms = [
        raw,
        raw[::-1],
        raw.hex().encode(),
        raw.hex().upper().encode(),
        "".join(f"\\x{byte:02x}" for byte in raw).encode(),
        quote(secret, safe="").encode(),
        encoded,
        encoded.replace(b"+", b"-").replace(b"/", b"_"),
    ]
    for form in forms:
        assert canaries.found(b"before " + form + b" after"), form
        assert canaries.found(b"x" * offset + form)
    assert not canaries.found(raw[:-1] if len(raw) < 20 else raw[: len(raw) // 2])


@given(st.binary(max_size=300), st.binary(max_size=300), st.sampled_from(SECRETS[:2]))
def test_what_stands_around_hides_nothing(before: bytes, after: bytes, secret: str):
    assert Canaries(secrets=frozenset(SECRETS)).found(before + secret.encode() + after)


def test_no_credential_is_shown_and_short_or_no_ones_are_not_looked_for():
    assert "glpat" not in repr(Canaries(secrets=frozenset(SECRETS)))
    assert not Canaries().found("anything")
    assert not Canaries(secrets=frozenset({"short"})).found("a short word")


def test_twenty_megabytes_take_less_than_a_second():
    secrets = frozenset(f"glpat-{n:02d}Zx81_kkQ-77vTTyPq0aB" for n in range(10))
    data = base64.b64encode(bytes(range(256)) * 59_000)
    began = time.process_time()
    assert not Canaries(secrets=secrets).found(data)
    assert time.process_time() - began < len(data) / 20e6
