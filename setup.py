"""Package metadata for setuptools: all of it read from settings.ini, the version from colorizer/__init__.py."""
import re
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
cfg = ConfigParser(delimiters=["="])
cfg.read(here / "settings.ini", encoding="utf-8")
meta = cfg["DEFAULT"]


def lines(text):
    "The non-empty lines of a multi-line setting"
    return [o.strip() for o in text.splitlines() if o.strip()]


extras, total = {}, []
for name, reqs in cfg["extras"].items():
    if name in meta:  # ConfigParser shows the defaults in every section
        continue
    total += lines(reqs)
    extras[name] = list(total)
for name, reqs in cfg["extras_alone"].items():
    if name in meta:
        continue
    extras[name] = lines(reqs)
    extras["dev"] += extras[name]

setup(
    name=meta["name"],
    version=re.search(r'__version__ = "(.+?)"', (here / "colorizer/__init__.py").read_text(encoding="utf-8"))[1],
    description=meta["description"],
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author=meta["author"],
    license=meta["license"],
    license_files=["LICENSE"],
    keywords=meta["keywords"],
    classifiers=lines(meta["classifiers"]),
    python_requires=f">={meta['min_python']}",
    packages=find_packages(include=["colorizer", "colorizer.*"]),
    package_data={"colorizer": ["py.typed", "photos/*", "models/*", "pages/*"]},
    include_package_data=False,
    install_requires=lines(meta["requirements"]),
    extras_require=extras,
    # An editable install puts the checkout on Python's path. The default, a finder that comes last, loses against the checkout's own
    # folder: in the folder above a clone called colorizer, `import colorizer` would find that, as an empty namespace package.
    options={"editable_wheel": {"mode": "compat"}},
    entry_points={"console_scripts": [f"{k} = {v}" for k, v in cfg["scripts"].items() if k not in meta]},
)
