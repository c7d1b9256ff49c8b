"""Sphinx's settings for the site. `docs/build.py` writes the sources that it reads."""
import re
import sys
from pathlib import Path

from sphinxcontrib import katex

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS))
from sitegen import BRANCH, REPOSITORY, ROOT, SETTINGS  # noqa: E402

project = 'colorizer'
author = SETTINGS['author']
release = version = re.search(r'__version__ = "(.+?)"', (ROOT/'colorizer/__init__.py').read_text(encoding='utf-8'))[1]
copyright = f'{author}, Apache-2.0'

extensions = ['myst_nb', 'sphinx_design', 'sphinx_copybutton', 'sphinxcontrib.katex', 'sitegen.extension']
exclude_patterns = ['_build']
suppress_warnings = ['mystnb.unknown_mime_type']

nb_execution_mode = 'off'  # the outputs are those that are stored
nb_merge_streams = True
nb_render_markdown_format = 'gfm'
nb_number_source_lines = False
myst_enable_extensions = ['dollarmath', 'amsmath', 'attrs_inline', 'attrs_block', 'colon_fence', 'deflist', 'fieldlist']
myst_heading_anchors = 4
copybutton_exclude = '.linenos, .gp, .go'
python_maximum_signature_line_length = 60
add_module_names = False
toc_object_entries_show_parents = 'hide'

# Formulas are set when the site is built, by the KaTeX that comes with the extension; its style sheet and typefaces come from npm.
html_math_renderer = 'katex'
katex_prerender = True
katex_css_path = 'katex/katex.min.css'
katex.KATEX_DEFAULT_OPTIONS['throwOnError'] = True  # what KaTeX doesn't understand stops the build
katex.STARTUP_TIMEOUT = katex.RENDER_TIMEOUT = 60  # on a busy machine, too
# Its Unix socket exists a moment before anybody listens, and the extension doesn't try again there; on a port of this machine it does.
katex.KaTeXServer.start_server_process = katex.KaTeXServer.start_network_socket

html_theme = 'sphinx_book_theme'
html_title = 'colorizer'
html_logo = None
html_favicon = str(DOCS/'static/favicon.svg')
html_static_path = [str(DOCS/'static'), str(ROOT/'_proc/static')]
templates_path = [str(DOCS/'templates')]
html_css_files = ['fonts.css', 'site.css', 'demo/slider.css']
html_js_files = [('site.js', {'type': 'module'}), ('demo/slider.js', {'type': 'module'})]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_domain_indices = False
html_use_index = False
html_last_updated_fmt = None
html_sidebars = {'**': ['site-sidebar.html']}
html_context = {'default_mode': 'auto', 'repository': REPOSITORY}
html_theme_options = {
    'repository_url': REPOSITORY,
    'repository_branch': BRANCH,
    'use_repository_button': False,
    'use_download_button': False,
    'use_fullscreen_button': False,
    'home_page_in_toc': False,
    'show_navbar_depth': 1,
    'max_navbar_depth': 2,
    'show_toc_level': 2,
    'navbar_persistent': [],
    'toc_title': 'On this page',
    'pygments_light_style': 'a11y-high-contrast-light',
    'pygments_dark_style': 'a11y-high-contrast-dark',
    'logo': {'text': 'colorizer'},
    'footer_content_items': ['site-footer.html'],
    'back_to_top_button': False,
}
