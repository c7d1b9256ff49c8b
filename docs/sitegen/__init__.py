"""What `docs/build.py` makes the pages of the site from, and the Sphinx extension that finishes them."""
import os
import posixpath
import re
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS = ROOT/'docs'

_cfg = ConfigParser(delimiters=['='])
_cfg.read(ROOT/'settings.ini', encoding='utf-8')
SETTINGS = _cfg['DEFAULT']
# GitHub's own workflow knows better than settings.ini where it runs
REPOSITORY = os.environ.get('COLORIZER_REPOSITORY', SETTINGS['repository']).rstrip('/')
BRANCH = 'main'

# Files of the checkout that are pages of the site. A notebook nbs/WING/NAME.ipynb is WING/NAME.
PAGES = {'nbs/index.ipynb': 'start.ipynb', 'README.md': 'start.ipynb', 'colorizer/models/README.md': 'model_card.md',
         'colorizer/photos/README.md': 'photos.md', 'CONTRIBUTING.md': 'contributing.md'}


def source_url(path, line=None):
    "Where a file of the checkout can be read in the repository"
    return f"{REPOSITORY}/blob/{BRANCH}/{path}" + (f'#L{line}' if line else '')


def site_path(path):
    "The source page that a file of the checkout became, or None"
    if path in PAGES: return PAGES[path]
    m = re.fullmatch(r'nbs/(\w+/\w+\.ipynb)', path)
    if m: return m[1]
    m = re.fullmatch(r'nbs/(\w+)', path)  # a whole wing
    return f'{m[1]}/index.md' if m and m[1] != 'images' else None


def adapt_links(text, was, now):
    "Markdown `text` of the file `was` (path in the checkout) with its relative links as seen from the page `now` (path in the site)"
    def adapt(m):
        target, _, fragment = m[1].partition('#')
        if not target or re.match(r'[a-z]+:', target): return m[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(was), target))
        page = site_path(path)
        if page: new = posixpath.relpath(page, posixpath.dirname(now) or '.')
        elif path.startswith('nbs/images/'): new = posixpath.relpath(path[4:], posixpath.dirname(now) or '.')
        else: new = source_url(path)
        return f"]({new}{'#' + fragment if fragment else ''})"
    text = re.sub(r'\]\(([^)\s]+)\)', adapt, text)
    parts = re.split(r'(^```.*?^```)', text, flags=re.M | re.S)  # a line that begins with % is a comment to MyST, and text to Jupyter
    return ''.join(o if o.startswith('```') else re.sub(r'^%', r'\\%', o, flags=re.M) for o in parts)
