"""Write README.md from nbs/index.ipynb: its markdown, its code, and the text that the code printed.

    python tools/readme.py           write it
    python tools/readme.py --check   exit 1 if it is stale
"""
import re
import sys
from pathlib import Path

from nbconvert import MarkdownExporter
from nbconvert.preprocessors import Preprocessor
from nbformat import read

root = Path(__file__).resolve().parent.parent


class ForReaders(Preprocessor):
    "Leave out hidden cells, directives and pictures: a README shows files, not data embedded in it"
    def preprocess(self, nb, resources):
        nb.cells = [c for c in nb.cells if "#| hide" not in c.source]
        for c in nb.cells:
            c.source = "\n".join(o for o in c.source.split("\n") if not o.startswith("#| "))
            for o in c.get("outputs", []):
                if "data" in o: o.data = {k: v for k, v in o.data.items() if k == "text/plain"}
        return nb, resources


def readme():
    "The text of README.md"
    nb = read(root/"nbs/index.ipynb", as_version=4)
    nb.metadata["language_info"] = {"name": "python"}  # what the code fences are marked with
    body, _ = MarkdownExporter(preprocessors=[ForReaders]).from_notebook_node(nb)
    body = re.sub(r"\]\((?!https?:|#|\.\./)", "](nbs/", body).replace("](../", "](")  # links as seen from the root
    body = re.sub(r"\n{3,}", "\n\n", body)
    note = "<!-- Made from nbs/index.ipynb by `make readme`: edit the notebook. -->\n"
    return note + "\n".join(o.rstrip() for o in body.strip().splitlines()) + "\n"


if __name__ == "__main__":
    path, text = root/"README.md", readme()
    if "--check" in sys.argv[1:]: sys.exit(0 if path.read_text(encoding="utf-8") == text else "README.md is stale: run `make readme`")
    path.write_text(text, encoding="utf-8")
