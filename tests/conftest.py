"""What holds for all tests, and what several use."""
import shutil, signal

import pytest

# Whoever starts the tests in the background of a shell has them ignore Ctrl-C, and all that they start, too: those that test Ctrl-C would
# wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)

CHROMIUM = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)


@pytest.fixture(scope='module')
def browser():
    "A headless Chromium that is already on this machine"
    sync = pytest.importorskip('playwright.sync_api', reason='playwright is not installed (pip install playwright)')
    if CHROMIUM is None: pytest.skip('there is no Chromium on this machine')
    with sync.sync_playwright() as p:
        flags = ['--no-sandbox', '--no-first-run',
                 *(f'--disable-{o}' for o in 'gpu quic background-networking component-update sync'.split())]
        b = p.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield b
        b.close()
