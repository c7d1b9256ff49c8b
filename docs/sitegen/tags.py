"""HTML for the pages: built from fastcore's tags, like the library's own pages (nbs/library/web_page.ipynb), so that text can't become markup."""
import re

from fastcore.xml import A, Code, Safe, ft, to_xml


def html(*tags):
    "Tags as text; the same tags always give the same text"
    return Safe(''.join(to_xml(o, indent=False) for o in tags))


def raw(*tags):
    "A block of HTML in a Markdown page, which MyST passes on as it is"
    return f'```{{raw}} html\n{html(*tags)}\n```'


def page_link(*text, href):
    "A link to another page of the site"
    return A(*text, href=href, cls='reference internal')


def inline(text):
    "Plain text and `code` of a piece of Markdown"
    return tuple(Code(o) if n % 2 else o for n, o in enumerate(re.split(r'`([^`]+)`', text)) if o)


def icon(name):
    "A picture sign of Font Awesome, which screen readers skip"
    return ft('i', cls=name, aria_hidden='true')
