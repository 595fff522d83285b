"""Changes that weaken a check, by the way they do it, and changes that do not."""

from __future__ import annotations

from agent.pipeline import Weakening as W

PY = "import pytest\nfrom shop import total\n\n\ndef test_total():\n    assert total([1, 2]) == 3\n"
TWO = PY + "\n\ndef test_empty():\n    assert total([]) == 0\n"
UNIT = (
    "import unittest\n\n\nclass Sums(unittest.TestCase):\n"
    "    def test_sum(self):\n        self.assertEqual(1 + 1, sum([1, 1]))\n"
)
JS = "import { add } from './add';\n\ntest('adds', () => {\n  expect(add(1, 2)).toBe(3);\n});\n"
GO = (
    "package shop\n\nfunc TestAdd(t *testing.T) {\n"
    '\tif Add(1, 2) != 3 {\n\t\tt.Fatal("no")\n\t}\n}\n'
)
RUST = "#[test]\nfn adds() {\n    assert_eq!(add(1, 2), 3);\n}\n"
JAVA = (
    "class AddTest {\n    @Test\n    void adds() {\n        assertEquals(3, add(1, 2));\n    }\n}\n"
)
RUBY = "describe 'add' do\n  it 'adds' do\n    expect(add(1, 2)).to eq(3)\n  end\nend\n"

T = "tests/test_shop.py"
J = "src/add.test.ts"
G = "shop/add_test.go"
R = "src/add.rs"
K = "src/test/java/AddTest.java"
B = "spec/add_spec.rb"
TOML = (
    "[tool.coverage.report]\nfail_under = 90\n\n"
    "[tool.ruff.lint]\nselect = ['E', 'F']\nignore = ['E501']\n"
)
SQUARE = (
    "@pytest.mark.parametrize('a, b', [(1, 1), (2, 4)])\n"
    "def test_sq(a, b):\n    assert a * a == b\n"
)

WEAKER = {
    "a test is deleted": (T, TWO, PY, W.TEST_REMOVED),
    "a test is emptied of its name": (
        T,
        PY,
        PY.replace("test_total", "total_test"),
        W.TEST_REMOVED,
    ),
    "a test class no longer counts": (
        T,
        UNIT,
        UNIT.replace("Sums(unittest.TestCase)", "Sums"),
        W.TEST_REMOVED,
    ),
    "a class opts out": (
        T,
        UNIT,
        UNIT.replace("TestCase):\n", "TestCase):\n    __test__ = False\n"),
        W.TEST_REMOVED,
    ),
    "a module opts out": (T, PY, "__test__ = False\n" + PY, W.TEST_REMOVED),
    "a test goes behind a condition that never holds": (
        T,
        PY,
        PY.replace(
            "def test_total():\n    assert", "if False:\n    def test_total():\n        assert"
        ),
        W.TEST_REMOVED,
    ),
    "a test is shadowed by an empty one": (
        T,
        PY,
        PY + "\n\ndef test_total():\n    pass\n",
        W.ASSERTION_REMOVED,
    ),
    "the file is broken": (T, PY, PY + "def broken(:\n", W.TEST_REMOVED),
    "a row of cases is dropped": (
        T,
        SQUARE,
        SQUARE.replace(", (2, 4)", ""),
        W.TEST_REMOVED,
    ),
    "mark.skip": (T, PY, PY.replace("def test", "@pytest.mark.skip\ndef test"), W.TEST_SKIPPED),
    "mark.skipif": (
        T,
        PY,
        PY.replace("def test", "@pytest.mark.skipif(True, reason='x')\ndef test"),
        W.TEST_SKIPPED,
    ),
    "mark.xfail": (T, PY, PY.replace("def test", "@pytest.mark.xfail\ndef test"), W.TEST_SKIPPED),
    "unittest.skip": (
        T,
        UNIT,
        UNIT.replace("    def test", "    @unittest.skip('later')\n    def test"),
        W.TEST_SKIPPED,
    ),
    "expectedFailure": (
        T,
        UNIT,
        UNIT.replace("    def test", "    @unittest.expectedFailure\n    def test"),
        W.TEST_SKIPPED,
    ),
    "a class is skipped": (
        T,
        UNIT,
        UNIT.replace("class", "@unittest.skipIf(True, 'x')\nclass"),
        W.TEST_SKIPPED,
    ),
    "pytestmark": (
        T,
        PY,
        PY.replace("\n\n\n", "\npytestmark = pytest.mark.skip\n\n\n", 1),
        W.TEST_SKIPPED,
    ),
    "skip at module level": (
        T,
        PY,
        PY.replace("\n\n\n", "\npytest.skip('x', allow_module_level=True)\n\n\n", 1),
        W.TEST_SKIPPED,
    ),
    "importorskip": (T, PY, "import pytest\npytest.importorskip('nope')\n" + PY, W.TEST_SKIPPED),
    "skip in the body": (
        T,
        PY,
        PY.replace("    assert", "    pytest.skip()\n    assert"),
        W.TEST_SKIPPED,
    ),
    "skip under a condition": (
        T,
        PY,
        PY.replace("    assert", "    if slow():\n        pytest.skip('slow')\n    assert"),
        W.TEST_SKIPPED,
    ),
    "skipTest": (
        T,
        UNIT,
        UNIT.replace("        self", "        self.skipTest('x')\n        self", 1),
        W.TEST_SKIPPED,
    ),
    "conftest marks everything": (
        "conftest.py",
        "import pytest\n",
        "import pytest\n\ndef pytest_collection_modifyitems(items):\n    for i in items:\n"
        "        i.add_marker(pytest.mark.skip)\n",
        W.TEST_SKIPPED,
    ),
    "a test is deselected": (
        "pyproject.toml",
        "[tool.pytest.ini_options]\naddopts = '-q'\n",
        "[tool.pytest.ini_options]\naddopts = '-q --deselect tests/test_shop.py::test_total'\n",
        W.TEST_SKIPPED,
    ),
    "an assertion is deleted": (
        T,
        PY.replace("== 3\n", "== 3\n    assert total([5]) == 5\n"),
        PY,
        W.ASSERTION_REMOVED,
    ),
    "all of them are": (
        T,
        PY,
        PY.replace("assert total([1, 2]) == 3", "total([1, 2])"),
        W.ASSERTION_REMOVED,
    ),
    "a return comes first": (
        T,
        PY,
        PY.replace("    assert", "    return\n    assert"),
        W.ASSERTION_REMOVED,
    ),
    "== becomes truth": (T, PY, PY.replace(" == 3", ""), W.ASSERTION_LOOSENED),
    "== becomes in": (T, PY, PY.replace("== 3", "in (3, 4)"), W.ASSERTION_LOOSENED),
    "== becomes >=": (T, PY, PY.replace("== 3", ">= 0"), W.ASSERTION_LOOSENED),
    "== becomes !=": (T, PY, PY.replace("== 3", "!= 4"), W.ASSERTION_LOOSENED),
    "== becomes approx": (
        T,
        PY,
        PY.replace("== 3", "== pytest.approx(3, abs=2)"),
        W.ASSERTION_LOOSENED,
    ),
    "a tolerance grows": (
        T,
        PY.replace("== 3", "== pytest.approx(3, abs=0.1)"),
        PY.replace("== 3", "== pytest.approx(3, abs=2)"),
        W.ASSERTION_LOOSENED,
    ),
    "fewer places": (
        T,
        UNIT.replace(
            "assertEqual(1 + 1, sum([1, 1]))", "assertAlmostEqual(sum([1, 1]), 2, places=5)"
        ),
        UNIT.replace(
            "assertEqual(1 + 1, sum([1, 1]))", "assertAlmostEqual(sum([1, 1]), 2, places=0)"
        ),
        W.ASSERTION_LOOSENED,
    ),
    "assert True": (T, PY, PY.replace("total([1, 2]) == 3", "True"), W.ASSERTION_LOOSENED),
    "or True": (T, PY, PY.replace("== 3", "== 3 or True"), W.ASSERTION_LOOSENED),
    "compared with itself": (T, PY, PY.replace("== 3", "== total([1, 2])"), W.ASSERTION_LOOSENED),
    "a tuple is always true": (
        T,
        PY,
        PY.replace("assert total([1, 2]) == 3", "assert (total([1, 2]) == 3, 'x')"),
        W.ASSERTION_LOOSENED,
    ),
    "swallowed": (
        T,
        PY,
        PY.replace(
            "    assert total([1, 2]) == 3",
            "    try:\n        assert total([1, 2]) == 3\n    except AssertionError:\n        pass",
        ),
        W.ASSERTION_LOOSENED,
    ),
    "suppressed": (
        T,
        PY,
        PY.replace(
            "    assert total([1, 2]) == 3",
            "    with suppress(Exception):\n        assert total([1, 2]) == 3",
        ),
        W.ASSERTION_LOOSENED,
    ),
    "under a condition": (
        T,
        PY,
        PY.replace(
            "    assert total([1, 2]) == 3", "    if lucky():\n        assert total([1, 2]) == 3"
        ),
        W.ASSERTION_LOOSENED,
    ),
    "an early return under a condition": (
        T,
        PY,
        PY.replace("    assert", "    if CI:\n        return\n    assert"),
        W.ASSERTION_LOOSENED,
    ),
    "assertEqual becomes assertTrue": (
        T,
        UNIT,
        UNIT.replace("assertEqual(1 + 1, sum([1, 1]))", "assertTrue(sum([1, 1]))"),
        W.ASSERTION_LOOSENED,
    ),
    "raises anything": (
        T,
        PY.replace(
            "assert total([1, 2]) == 3", "with pytest.raises(ValueError):\n        total(1)"
        ),
        PY.replace("assert total([1, 2]) == 3", "with pytest.raises(Exception):\n        total(1)"),
        W.ASSERTION_LOOSENED,
    ),
    "raises without its words": (
        T,
        PY.replace(
            "assert total([1, 2]) == 3",
            "with pytest.raises(KeyError, match='x'):\n        total(1)",
        ),
        PY.replace("assert total([1, 2]) == 3", "with pytest.raises(KeyError):\n        total(1)"),
        W.ASSERTION_LOOSENED,
    ),
    "a call is no longer pinned down": (
        T,
        PY.replace("assert total([1, 2]) == 3", "m.assert_called_once_with(1)"),
        PY.replace("assert total([1, 2]) == 3", "m.assert_called()"),
        W.ASSERTION_LOOSENED,
    ),
    "a helper checks less": (
        "tests/helpers.py",
        "def check(x):\n    assert x.a == 1\n    assert x.b == 2\n",
        "def check(x):\n    assert x.a == 1\n",
        W.ASSERTION_REMOVED,
    ),
    "truth is turned around": (
        T,
        PY.replace(" == 3", ""),
        PY.replace("== 3", "is False"),
        W.EXPECTATION_CHANGED,
    ),
    "another value is expected": (T, PY, PY.replace("== 3", "== 4"), W.EXPECTATION_CHANGED),
    "another row is": (
        T,
        SQUARE,
        SQUARE.replace("(2, 4)", "(2, 5)"),
        W.EXPECTATION_CHANGED,
    ),
    "what is expected has a name": (
        T,
        PY.replace(
            "    assert total([1, 2]) == 3",
            "    expected = 3\n    assert total([1, 2]) == expected",
        ),
        PY.replace(
            "    assert total([1, 2]) == 3",
            "    expected = 4\n    assert total([1, 2]) == expected",
        ),
        W.EXPECTATION_CHANGED,
    ),
    "a snapshot": (
        "src/__snapshots__/a.snap",
        "exports.a = 1\n",
        "exports.a = 2\n",
        W.EXPECTATION_CHANGED,
    ),
    "js: deleted": (J, JS + "test('b', () => { expect(1).toBe(x) })\n", JS, W.TEST_REMOVED),
    "js: commented out": (
        J,
        JS,
        "".join(f"// {line}\n" for line in JS.splitlines()),
        W.TEST_REMOVED,
    ),
    "js: it.skip": (J, JS, JS.replace("test(", "test.skip("), W.TEST_SKIPPED),
    "js: xit": (J, JS.replace("test(", "it("), JS.replace("test(", "xit("), W.TEST_SKIPPED),
    "js: todo": (J, JS, JS.replace("test(", "test.todo("), W.TEST_SKIPPED),
    "js: describe.skip": (
        J,
        f"describe('add', () => {{\n{JS}}});\n",
        f"describe.skip('add', () => {{\n{JS}}});\n",
        W.TEST_SKIPPED,
    ),
    "js: only": (J, JS, JS + "test.only('x', () => { expect(f()).toBe(1) })\n", W.TEST_SKIPPED),
    "js: truthy": (J, JS, JS.replace("toBe(3)", "toBeTruthy()"), W.ASSERTION_LOOSENED),
    "js: of nothing": (
        J,
        JS,
        JS.replace("expect(add(1, 2)).toBe(3)", "expect(true).toBe(true)"),
        W.ASSERTION_LOOSENED,
    ),
    "js: gone": (J, JS, JS.replace("expect(add(1, 2)).toBe(3)", "add(1, 2)"), W.ASSERTION_REMOVED),
    "js: another value": (J, JS, JS.replace("toBe(3)", "toBe(4)"), W.EXPECTATION_CHANGED),
    "go: deleted": (G, GO, "package shop\n", W.TEST_REMOVED),
    "go: renamed away": (G, GO, GO.replace("TestAdd", "testAdd"), W.TEST_REMOVED),
    "go: t.Skip": (G, GO, GO.replace("\tif Add", '\tt.Skip("x")\n\tif Add'), W.TEST_SKIPPED),
    "go: a build tag": (G, GO, "//go:build never\n\n" + GO, W.TEST_SKIPPED),
    "go: no failure": (G, GO, GO.replace('\t\tt.Fatal("no")\n', ""), W.ASSERTION_REMOVED),
    "rust: ignored": (R, RUST, RUST.replace("#[test]", "#[test]\n#[ignore]"), W.TEST_SKIPPED),
    "rust: no test": (R, RUST, RUST.replace("#[test]\n", ""), W.TEST_REMOVED),
    "rust: loosened": (
        R,
        RUST,
        RUST.replace("assert_eq!(add(1, 2), 3)", "assert!(add(1, 2) > 0)"),
        W.ASSERTION_LOOSENED,
    ),
    "java: disabled": (K, JAVA, JAVA.replace("@Test", "@Disabled\n    @Test"), W.TEST_SKIPPED),
    "java: ignored": (K, JAVA, JAVA.replace("@Test", "@Ignore @Test"), W.TEST_SKIPPED),
    "java: no test": (K, JAVA, JAVA.replace("    @Test\n", ""), W.TEST_REMOVED),
    "java: not null": (
        K,
        JAVA,
        JAVA.replace("assertEquals(3, add(1, 2))", "assertNotNull(add(1, 2))"),
        W.ASSERTION_LOOSENED,
    ),
    "ruby: xit": (B, RUBY, RUBY.replace("it 'adds'", "xit 'adds'"), W.TEST_SKIPPED),
    "ruby: gone": (
        B,
        RUBY,
        RUBY.replace("    expect(add(1, 2)).to eq(3)\n", ""),
        W.ASSERTION_REMOVED,
    ),
    "fail_under": ("pyproject.toml", TOML, TOML.replace("90", "50"), W.THRESHOLD_LOWERED),
    "fail_under is gone": (
        "pyproject.toml",
        TOML,
        TOML.replace("fail_under = 90\n", ""),
        W.THRESHOLD_LOWERED,
    ),
    "--cov-fail-under": (
        "tox.ini",
        "pytest --cov-fail-under=90\n",
        "pytest --cov-fail-under=10\n",
        W.THRESHOLD_LOWERED,
    ),
    "coverageThreshold": (
        "package.json",
        '{"jest": {"coverageThreshold": {"global": {"branches": 80}}}}\n',
        '{"jest": {"coverageThreshold": {"global": {"branches": 20}}}}\n',
        W.THRESHOLD_LOWERED,
    ),
    "nyc": (
        ".nycrc",
        '{"check-coverage": true, "lines": 90}',
        '{"lines": 90}',
        W.THRESHOLD_LOWERED,
    ),
    "codecov": (
        "codecov.yml",
        "coverage:\n  target: 80%\n",
        "coverage:\n  target: 8%\n",
        W.THRESHOLD_LOWERED,
    ),
    "warnings": (
        "package.json",
        '"lint": "eslint --max-warnings 0"',
        '"lint": "eslint --max-warnings 50"',
        W.THRESHOLD_LOWERED,
    ),
    "noqa": ("shop.py", "x = 1\n", "x = 1  # noqa\n", W.IGNORE_ADDED),
    "a wider noqa": ("shop.py", "x = 1  # noqa: E501\n", "x = 1  # noqa\n", W.IGNORE_ADDED),
    "type: ignore": ("shop.py", "x = f()\n", "x = f()  # type: ignore[arg-type]\n", W.IGNORE_ADDED),
    "pylint": ("shop.py", "x = 1\n", "# pylint: disable=all\nx = 1\n", W.IGNORE_ADDED),
    "no cover": (
        "shop.py",
        "def f():\n    pass\n",
        "def f():  # pragma: no cover\n    pass\n",
        W.IGNORE_ADDED,
    ),
    "eslint-disable": ("a.js", "f()\n", "// eslint-disable-next-line\nf()\n", W.IGNORE_ADDED),
    "ts-ignore": ("a.ts", "f()\n", "// @ts-ignore\nf()\n", W.IGNORE_ADDED),
    "nolint": ("a.go", "f()\n", "f() //nolint:errcheck\n", W.IGNORE_ADDED),
    "allow": ("a.rs", "fn f() {}\n", "#[allow(dead_code)]\nfn f() {}\n", W.IGNORE_ADDED),
    "SuppressWarnings": (
        "A.java",
        "class A {}\n",
        '@SuppressWarnings("all")\nclass A {}\n',
        W.IGNORE_ADDED,
    ),
    "a rule is ignored": (
        "pyproject.toml",
        TOML,
        TOML.replace("['E501']", "['E501', 'F401']"),
        W.IGNORE_ADDED,
    ),
    "a rule is not selected": (
        "pyproject.toml",
        TOML,
        TOML.replace("['E', 'F']", "['E']"),
        W.IGNORE_ADDED,
    ),
    "per-file-ignores": (
        "pyproject.toml",
        TOML,
        TOML + "[tool.ruff.lint.per-file-ignores]\n'shop.py' = ['F']\n",
        W.IGNORE_ADDED,
    ),
    "an excluded folder": (
        "setup.cfg",
        "[flake8]\nmax-line-length = 100\n",
        "[flake8]\nmax-line-length = 100\nexclude = shop\n",
        W.IGNORE_ADDED,
    ),
    "an eslint rule is off": (
        ".eslintrc.yml",
        "rules:\n  no-eval: error\n",
        "rules:\n  no-eval: off\n",
        W.IGNORE_ADDED,
    ),
    "eslintignore": (".eslintignore", "dist\n", "dist\nsrc\n", W.IGNORE_ADDED),
    "GitLab CI": (".gitlab-ci.yml", "test:\n", "test:\n  when: manual\n", W.CI_TOUCHED),
    "a workflow": (".github/workflows/ci.yml", "on: push\n", "on: never\n", W.CI_TOUCHED),
    "Jenkins": ("Jenkinsfile", "a\n", "b\n", W.CI_TOUCHED),
    "CircleCI": (".circleci/config.yml", "a\n", "b\n", W.CI_TOUCHED),
}


HONEST = {
    "a new test": (T, PY, TWO),
    "a new assertion": (T, PY, PY + "    assert total([5]) == 5\n"),
    "a new file of tests": (T, "", PY),
    "a new test that is skipped from the start": (
        T,
        PY,
        PY + "\n\n@pytest.mark.skip\ndef test_later():\n    assert total([]) == 0\n",
    ),
    "a stricter assertion": (T, PY.replace(" == 3", ""), PY),
    "truth becomes a value": (T, PY.replace("== 3", "in (3, 4)"), PY),
    "a narrower tolerance": (
        T,
        PY.replace("== 3", "== pytest.approx(3, abs=2)"),
        PY.replace("== 3", "== pytest.approx(3, abs=0.1)"),
    ),
    "a skip is taken away": (T, PY.replace("def test", "@pytest.mark.skip\ndef test"), PY),
    "a test is renamed, and still found": (T, PY, PY.replace("test_total", "test_the_total")),
    "a test is only laid out anew": (
        T,
        PY,
        PY.replace("total([1, 2])", "total(\n        [1, 2]\n    )"),
    ),
    "a message is added": (T, PY, PY.replace("== 3", "== 3, 'sum'")),
    "the sides are swapped": (T, PY, PY.replace("total([1, 2]) == 3", "3 == total([1, 2])")),
    "one becomes two": (
        T,
        PY.replace("total([1, 2]) == 3", "a == 1 and b == 2"),
        PY.replace("    assert total([1, 2]) == 3", "    assert a == 1\n    assert b == 2"),
    ),
    "unittest becomes pytest style": (
        T,
        UNIT,
        UNIT.replace("self.assertEqual(1 + 1, sum([1, 1]))", "assert sum([1, 1]) == 1 + 1"),
    ),
    "another function with the same result": (T, PY, PY.replace("total([", "summed([")),
    "assertions in another order": (
        T,
        PY + "    assert total([5]) == 5\n",
        PY.replace("    assert", "    assert total([5]) == 5\n    assert"),
    ),
    "more rows": (
        T,
        "@pytest.mark.parametrize('a', [1])\ndef test_a(a):\n    assert a\n",
        "@pytest.mark.parametrize('a', [1, 2])\ndef test_a(a):\n    assert a\n",
    ),
    "a try that fails by itself": (
        T,
        PY,
        PY.replace(
            "    assert total([1, 2]) == 3",
            "    try:\n        assert total([1, 2]) == 3\n"
            "    except AssertionError:\n        log()\n        raise",
        ),
    ),
    "a comment about skipping": (T, PY, "# do not pytest.mark.skip these\n" + PY),
    "an assertion of the code itself": (
        "shop.py",
        "def f():\n    assert x == 3\n",
        "def f():\n    pass\n",
    ),
    "a function of the code called test": ("shop.py", "def test_connection():\n    return 1\n", ""),
    "js: a new test": (J, JS, JS + "test('b', () => { expect(f()).toBe(1) })\n"),
    "js: another title": (J, JS, JS.replace("'adds'", "'adds numbers'")),
    "js: toEqual is made strict": (
        J,
        JS.replace("toBe", "toEqual"),
        JS.replace("toBe", "toStrictEqual"),
    ),
    "go: a new test": (G, GO, GO + "\nfunc TestB(t *testing.T) {\n\tt.Skip()\n}\n"),
    "rust: the code's own assertions": (
        R,
        "fn f() {\n    assert!(x);\n}\n" + RUST,
        "fn f() {\n}\n" + RUST,
    ),
    "java: another test": (
        K,
        JAVA,
        JAVA.replace("}\n}\n", "}\n    @Test\n    void b() { assertTrue(c()); }\n}\n"),
    ),
    "a higher threshold": ("pyproject.toml", TOML, TOML.replace("90", "95")),
    "fewer ignored rules": ("pyproject.toml", TOML, TOML.replace("'E501'", "")),
    "more selected ones": ("pyproject.toml", TOML, TOML.replace("['E', 'F']", "['E', 'F', 'B']")),
    "a dependency": ("pyproject.toml", TOML, TOML + "[project]\ndependencies = ['x>=1']\n"),
    "an ignore is taken away": ("shop.py", "x = 1  # noqa\n", "x = 1\n"),
    "an ignore is kept on a changed line": ("shop.py", "x = 1  # noqa\n", "x = 2  # noqa\n"),
    "words about noqa": ("README.md", "", "Use `# noqa` with care.\n"),
    "noqa in a string": ("shop.py", "x = 1\n", "x = '# noqa'\n"),
    "a script": ("package.json", '{"scripts": {}}\n', '{"scripts": {"start": "vite"}}\n'),
    "a file beside CI": ("docs/gitlab-ci.md", "a\n", "b\n"),
    "a snapshot that is new": (
        "src/__snapshots__/a.snap",
        "exports.a = 1\n",
        "exports.a = 1\nexports.b = 2\n",
    ),
}
