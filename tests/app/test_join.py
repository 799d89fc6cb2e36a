"""The studio's modules joined to one script behave as a browser's own modules."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from actfocus_core.errors import ActFocusError
from actfocus_studio.server.join import joined
from actfocus_studio.server.static import PACKAGE, script
from tests import machine

WEB_TESTS = Path(__file__).parents[1] / "web"


def node(code: str, folder: Path, **modules: str) -> object:
    """The JSON that ES module ``code`` prints in node, with ``modules`` beside it: name -> text."""
    for name, text in {"main": code, **modules}.items():
        (folder / f"{name}.mjs").write_text(text, encoding="utf-8")
    done = subprocess.run([machine.node(), folder / "main.mjs"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


MODULES = {
    "pages/first.js": """/*
import { comment } from './comment.js';
*/
import './effect.js';
import { count } from '../lib/count.js';
import * as more from '../lib/more.js';

/** @type {import('./missing').Type} */
const local = 'first';
export const seen = [local, count(), more.twice(2), more.SHARED === more.again()];
// import('./missing.js')
""",
    "pages/effect.js": """globalThis.ran = ['effect'];
const local = 'effect';
""",
    "lib/count.js": """globalThis.ran.push('count');
let n = 0;
export function count() { n += 1; return n; }
export async function later() { return count(); }
export class Counter { now() { return n; } }
""",
    "lib/more.js": """import {
  count,
  Counter,
} from './count.js';
globalThis.ran.push('more');
const SHARED = { address: 'http://a.b/*' };
export { SHARED, count };
export const twice = (k) => 2 * k;
export function again() { return SHARED; }
export const counter = new Counter();
""",
}


def test_each_module_runs_once_in_a_scope_of_its_own_after_what_it_imports(tmp_path):
    code = """import { modules } from './joined.mjs';
      const { later, count } = modules['lib/count.js'];
      const more = modules['lib/more.js'];
      console.log(JSON.stringify({ ran: globalThis.ran, names: Object.keys(modules),
        seen: modules['pages/first.js'].seen, later: await later(), counter: more.counter.now(),
        same: more.count === count, exports: Object.keys(more) }));"""
    found = node(code, tmp_path, joined=joined(MODULES))
    assert found == {
        "ran": ["effect", "count", "more"],
        "names": ["pages/effect.js", "lib/count.js", "lib/more.js", "pages/first.js"],
        "seen": ["first", 1, 4, True],
        "later": 2,
        "counter": 2,
        "same": True,
        "exports": ["SHARED", "count", "twice", "again", "counter"],
    }


def test_an_error_is_found_by_the_line_of_its_module():
    modules = {"a.js": "\n\nexport const a = 1;\n", "b.js": "import {\n  a,\n} from './a.js';\nfail(a);"}
    lines = joined(modules).splitlines()
    start = next(k for k, line in enumerate(lines) if line.endswith("// b.js"))
    assert lines[start + 4] == "fail(a);"


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("export default 1;", 1, "`export default 1;`"),
        ("\nexport let a = 1;", 2, "`export let a = 1;`"),
        ("export { a as b };", 1, "`export { a as b };`"),
        ("export * from './b.js';", 1, "export"),
        ("export const { a } = {};", 1, "export"),
        ("import { b as c } from './b.js';", 1, "import"),
        ("import b from './b.js';", 1, "import"),
        ('import { b } from "./b.js";', 1, "import"),
        ("import { b } from './b.js'", 1, "import"),
        ("/*\n\n*/ const a = import('./b.js');", 3, "import()"),
        ("const a = 1;\nconst at = import.meta.url;", 2, "import.meta"),
        ("import './c.js';", 1, "there is no module ./c.js"),
        ("import 'b.js';", 1, "there is no module b.js"),
        ("\n\nimport { c } from './b.js';", 3, "b.js does not export c"),
        ("import './a.js';", 1, "a.js -> a.js"),
    ],
)
def test_what_cannot_be_joined_is_named_with_its_line(text, line, what):
    with pytest.raises(ActFocusError) as caught:
        joined({"a.js": text, "b.js": "export const b = 1;"})
    told = str(caught.value)
    assert told.startswith(f"a.js, line {line}: ") and what in told and "\n" not in told


def test_modules_that_import_each_other_are_named():
    modules = {"x.js": "import './a.js';", "a.js": "import './b.js';", "b.js": "\nimport './a.js';"}
    with pytest.raises(ActFocusError, match=r"b.js, line 2: .*: a.js -> b.js -> a.js"):
        joined(modules)


def of_node() -> set[Path]:
    """The studio's modules that run in node: those with unit tests, and what they import."""
    files, found = list(WEB_TESTS.glob("*.test.js")), set()
    while files:
        file = files.pop()
        for path in re.findall(r"from '(\.[^']+)'", file.read_text(encoding="utf-8")):
            target = (file.parent / path).resolve()
            if target not in found:
                found.add(target)
                files.append(target)
    return found


def test_the_studio_s_own_modules_have_the_exports_that_node_imports(tmp_path):
    paths = {file.relative_to(PACKAGE).as_posix(): file for file in of_node()}
    assert len(paths) > 10
    code = f"""import {{ modules }} from './joined.mjs';
      const told = (exports) => Object.fromEntries(Object.keys(exports).sort().map(
        (name) => [name, typeof exports[name] === 'object' ? JSON.stringify(exports[name]) : String(exports[name])]));
      const found = {{}};
      for (const [name, file] of Object.entries({json.dumps({name: f.as_uri() for name, f in paths.items()})})) {{
        found[name] = [told(await import(file)), told(modules[name])];
      }}
      console.log(JSON.stringify(found));"""
    texts = {name: paths[name].read_text(encoding="utf-8") for name in sorted(paths)}
    found = node(code, tmp_path, joined=joined(texts))
    assert set(found) == set(paths)
    for name, (imported, ours) in found.items():
        assert imported == ours and imported, name


def test_the_studio_s_script_is_javascript_with_all_its_modules(tmp_path):
    (tmp_path / "studio.mjs").write_text(script(), encoding="utf-8")
    checked = subprocess.run([machine.node(), "--check", tmp_path / "studio.mjs"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    for file in PACKAGE.rglob("*.js"):
        assert f"  '{file.relative_to(PACKAGE).as_posix()}': $$" in script()
