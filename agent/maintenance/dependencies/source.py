"""Fetches the archive of a package as its registry has it, the way the shop fetches. It is stored
as it came: nothing of it is unpacked, built or run."""

from __future__ import annotations

from agent.errors import ToolFailed
from agent.maintenance.dependencies.npm_registry import NPM
from agent.maintenance.dependencies.shop import LARGEST, NIGHT, Shop
from agent.maintenance.dependencies.versions import Grammar, is_name, is_version
from agent.maintenance.night import Update
from agent.package_sources import PYTHON

_PYTHON = frozenset({"uv", "pip", "poetry"})
_NODE = frozenset({"npm", "pnpm", "yarn"})
_FILE = "archive"
#: npm unpacks it to list it, and runs no script of a package that comes from a registry.
_PACK = f'"$@" >/dev/null && mv -f -- {NIGHT}/packed/*.tgz {NIGHT}/{_FILE}'
#: Neither uv nor pip fetch a source without building it, so its index is read here: the source if
#: there is one, else a wheel. What the index names is held by the proxy to the configured hosts.
_FETCH = r"""
import base64, hashlib, html, json, os, re, sys, urllib.parse as p, urllib.request as r
out, largest, name, version = sys.argv[1], int(sys.argv[2]), *sys.argv[3:5]
indexes = [os.environ.get('UV_DEFAULT_INDEX', ''), *os.environ.get('UV_INDEX', '').split()]
own = {}
def get(url, limit, accept='*/*'):
    parts = p.urlsplit(url)
    if parts.scheme not in ('http', 'https'): raise ValueError('no web address')
    host = parts.netloc.rpartition('@')[2]
    if '@' in parts.netloc: own[host] = parts.netloc.rpartition('@')[0]
    url = parts._replace(netloc=host, fragment='').geturl()
    request = r.Request(url, headers={'Accept': accept})
    if host in own:
        word = base64.b64encode(p.unquote(own[host]).encode()).decode()
        request.add_unredirected_header('Authorization', 'Basic ' + word)
    with r.urlopen(request, timeout=30) as answer: return answer.read(limit)
def plain(text): return re.sub('[-_.]+', '-', text).lower()
def files(page, text):
    try:
        for each in json.loads(text)['files']:
            told = each.get('hashes', {}).get('sha256')
            yield each['filename'], p.urljoin(page, each['url']), told
    except ValueError:
        for link in re.findall(r'href\s*=\s*["\']([^"\'>]+)', text):
            url = p.urljoin(page, html.unescape(link))
            parts = p.urlsplit(url)
            told = p.parse_qs(parts.fragment).get('sha256', [None])[0]
            yield p.unquote(parts.path.rpartition('/')[2]), url, told
def rank(file):
    stem = re.sub(r'(\.tar\.gz|\.tgz|\.zip)$', '', file)
    if stem != file: return 0 if plain(stem) == plain(name + '-' + version) else None
    parts = file.split('-')
    fits = file.endswith('.whl') and len(parts) > 3 and plain(parts[0]) == plain(name)
    return 1 if fits and parts[1] == version else None
wrong = None
for index in filter(None, indexes):
    page = index.rstrip('/') + '/' + plain(name) + '/'
    try:
        kinds = 'application/vnd.pypi.simple.v1+json, text/html;q=0.5'
        text = get(page, 32 << 20, kinds).decode('utf-8', 'replace')
    except (OSError, ValueError) as error:
        wrong = error
        continue
    found = [(rank(f), f, url, told) for f, url, told in files(page, text) if rank(f) is not None]
    if not found: continue
    _, file, url, told = min(found, key=lambda each: each[:2])
    data = get(url, largest)
    if told and len(data) < largest and hashlib.sha256(data).hexdigest() != told:
        sys.exit('error: the file is not the one that the index names')
    open(out, 'wb').write(data)
    sys.exit()
sys.exit('error: %s' % (wrong or 'no index has a file of this version'))
"""


async def archive(shop: Shop, update: Update) -> bytes:
    """Of the target. Raises `ToolFailed` and `Unavailable` as the shop does."""
    node = update.ecosystem in _NODE
    if not node and update.ecosystem not in _PYTHON:
        raise ToolFailed(f"Archives of {update.ecosystem} are not fetched here.")
    named = is_name(update.package, Grammar.NPM if node else Grammar.PYTHON)
    if not named or not is_version(update.target):
        raise ToolFailed("Its name or version is unusual.")
    if node:
        shop.hand_in("packed/.made", "")
        argv = [NPM, "pack", "--ignore-scripts", f"--pack-destination={NIGHT}/packed"]
        spec = f"{update.package}@{update.target}"
        await shop.run(["bash", "-c", _PACK, "sh", *argv, "--", spec], called=NPM)
    else:
        wanted = [str(LARGEST), update.package, update.target]
        argv = [PYTHON, "-I", "-S", "-c", _FETCH, f"{NIGHT}/{_FILE}", *wanted]
        await shop.run(argv, called="the package index")
    data = shop.handed_out(_FILE)
    if len(data) >= LARGEST:
        raise ToolFailed(f"The package is larger than {LARGEST // 2**20} MB.")
    return data
