"""What holds for all tests, and what several use."""
import copy, json, shutil, signal

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


# The longest files begin first, the longest of all in front: one that begins late leaves a process alone with it at the end.
LONGEST = [f'test_{o}' for o in 'train docs course archive cli guides files beyond app export video benchmark'.split()]


def pytest_collection_modifyitems(items):
    items.sort(key=lambda o: LONGEST.index(o.path.stem) if o.path.stem in LONGEST else len(LONGEST))


GRAPHS = {}


@pytest.fixture(scope='module')
def trace_once():
    "Tracing a network takes ten seconds. Each kind is traced once in a process here, and gets other weights (test_export)"
    from onnx import numpy_helper

    from colorizer.training import export
    trace = export._trace
    def traced(model):
        weights = export.ChromaNet(model).state_dict()
        key = json.dumps([model.config, sorted(weights)], default=str)
        proto = copy.deepcopy(GRAPHS[key] if key in GRAPHS else GRAPHS.setdefault(key, trace(model)))
        for t in proto.graph.initializer:  # tracing adds zeros where a bias is missing
            if t.name in weights: t.CopyFrom(numpy_helper.from_array(weights[t.name].numpy(), t.name))
        return proto
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, '_trace', traced)
        yield trace
