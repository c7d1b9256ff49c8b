"""Build the docs site: notebooks, library and pages in, `_docs/` out.

    python docs/build.py [--out _docs]

In order: npm fetches what docs/package-lock.json names; nbdev's processors make `_proc/` from the notebooks; the pages (notebooks,
API reference, gallery, guides) are written to `_proc/site/`; Sphinx turns them into HTML and treats a warning as an error; the demo,
the original notebooks and llms.txt are put beside them. No page loads anything from another host.
"""
import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from sitegen import DOCS, ROOT, api, llms, notebooks, pages
from sitegen.notebooks import SiteError


def npm_install(folder):
    "Fetch what the lock file in `folder` names, unless it is there"
    lock, done = folder/'package-lock.json', folder/'node_modules/.package-lock.json'
    if done.exists() and done.stat().st_mtime >= lock.stat().st_mtime: return
    npm = shutil.which('npm')
    if npm is None: raise SiteError('there is no npm here: install Node.js 18 or newer (on Debian and Ubuntu: apt install nodejs npm)')
    r = subprocess.run([npm, 'ci', '--no-audit', '--no-fund'], cwd=folder, capture_output=True, text=True)
    if r.returncode: raise SiteError(f'npm ci failed in {folder}: {r.stderr.strip().splitlines()[-1] if r.stderr.strip() else r.stdout}')
    done.touch()


def process_notebooks():
    "nbdev's processors, without Quarto; the folder that they fill"
    from nbdev.serve import proc_nbs
    os.chdir(ROOT)
    return Path(proc_nbs(n_workers=0, force=True))


def sphinx(source, out):
    from sphinx.cmd.build import build_main
    if build_main(['-W', '--keep-going', '-q', '-b', 'html', '-d', str(source.parent/'doctrees'), '-c', str(DOCS), str(source), str(out)]):
        raise SiteError('Sphinx has warnings: see above')


def build(out):
    "Build the whole site into the folder `out`, in the place of what is there"
    start = time.time()
    npm_install(DOCS)
    proc = process_notebooks()
    site = proc/'site'
    site.mkdir()
    notebooks.write(proc, site)
    mods = api.modules()
    api.write(site, mods)
    pages.write(site)
    new = proc/'html'
    sphinx(site, new)
    pages.finish(new)
    llms.write(new, site, mods)
    shutil.rmtree(out, ignore_errors=True)  # only now: a build that fails leaves the old site
    shutil.move(new, out)
    print(f'{out}: {len(list(out.rglob("*.html")))} pages in {time.time() - start:.0f} s')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description='Build the docs site.')
    parser.add_argument('--out', type=Path, default=ROOT/'_docs', help='folder for the site (default: _docs)')
    try: build(parser.parse_args().out.resolve())
    except SiteError as e: sys.exit(f'docs: {e}')
