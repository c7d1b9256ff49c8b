"""The Sphinx extension of the site: backticks become links, alt texts are asked for."""
import json
import re
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging

log = logging.getLogger(__name__)


def within(node, *kinds):
    "Whether one of the nodes around `node` is of these kinds: a link in a link is no HTML"
    while node := node.parent:
        if isinstance(node, kinds): return True
    return False


class BacktickLinks(SphinxPostTransform):
    "A name of the library in backticks leads to its place in the reference"
    default_priority = 5  # before references are resolved

    def run(self):
        # elsewhere `luma` is a word
        if not self.env.docname.startswith(('course/', 'library/', 'essays/', 'api/', 'guides/', 'start')): return
        symbols = self.env.colorizer_symbols
        for node in list(self.document.findall(nodes.literal)):
            if 'xref' in node['classes'] or within(node, nodes.reference, addnodes.pending_xref, nodes.title): continue
            name = node.astext().removesuffix('()')
            target = self.target(name, symbols)
            if target is None: continue
            xref = addnodes.pending_xref('', refdomain='py', reftype='obj', reftarget=target, refexplicit=True, refdoc=self.env.docname,
                                         refwarn=True)
            node['classes'] += ['api-link']
            node.parent.replace(node, xref)
            xref += node

    def target(self, name, symbols):
        "The full name that `name` means, with its module or without, or None where it means nothing or several things"
        words = name.split('.')
        for n in range(len(words)):  # `loss.FeatureLoss.forward`: all of it, then without `loss`, …
            module, symbol = '.'.join(words[:n]), '.'.join(words[n:])
            homes = [o for o in symbols['symbols'].get(symbol, []) if not module or f'.{o}'.endswith(f'.{module}')]
            here = symbols['module_of_page'].get(self.env.docname)
            if len(homes) > 1: homes = [o for o in homes if o == here]
            if homes: return f'{homes[0]}.{symbol}'


def load_symbols(app):
    app.env.colorizer_symbols = json.loads((Path(app.srcdir)/'symbols.json').read_text(encoding='utf-8'))


def ask_for_alt(app, doctree, docname):
    "A picture without words is a mistake of ours"
    for image in doctree.findall(nodes.image):
        if not image.get('alt', '').strip(): log.warning('a picture without alt text: %s', image['uri'], location=docname)


def pages_below(app, docname):
    "What the tables of contents of a page list: (page, title)"
    entries = [o for toctree in app.env.tocs[docname].findall(addnodes.toctree) for o in toctree['entries'] if o[1] in app.env.titles]
    return [(page, title or app.env.titles[page].astext()) for title, page in entries]


def menu(app, pagename, templatename, context, doctree):
    "The list of all pages for the sidebar, (page, title, pages below): made once, where the theme would make it anew for every page"
    if not hasattr(app, 'colorizer_menu'):
        app.colorizer_menu = [(page, title, pages_below(app, page)) for page, title in pages_below(app, app.config.root_doc)]
    context['menu'] = app.colorizer_menu


def finish_page(app, pagename, templatename, context, doctree):
    "Parameters that stand on lines of their own: Sphinx writes them as half a definition list, which no screen reader can make sense of"
    body = context.get('body', '')
    if '<dl>\n<dd><em class="sig-param">' in body or '<dl>\n<dd>' in body:
        def lines(m):
            return '<span class="sig-lines">' + re.sub(r'<(/?)dd>', lambda o: '</span>' if o[1] else '<span class="sig-line">',
                                                       m[1]) + '</span>'
        context['body'] = re.sub(r'(?s)<dl>\n(<dd>(?:(?!<dt|<dl).)*?)</dl>', lines, body)
    # MyST-NB gives a folded cell a label that hides what is written on it
    context['body'] = context.get('body', '').replace('<summary aria-label="Toggle hidden content">', '<summary>')
    if doctree is not None:
        lead = re.search(r'<p class="lead">(.*?)</p>', body, re.S)
        if lead: context['description'] = ' '.join(re.sub(r'<[^>]+>', '', lead[1]).split())


def setup(app):
    app.connect('builder-inited', load_symbols)
    app.connect('doctree-resolved', ask_for_alt)
    app.connect('html-page-context', menu)
    app.connect('html-page-context', finish_page, priority=900)
    app.add_post_transform(BacktickLinks)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
