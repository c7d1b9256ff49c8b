import os

__version__ = "0.1.0"
# ONNX Runtime reads this when it is imported; without it, it writes a device id and looks up a host
os.environ.setdefault('ORT_DISABLE_TELEMETRY', '1')


def __getattr__(name):
    "`colorizer.Colorizer` without the cost of its imports until somebody asks for it"
    if name == "Colorizer":
        from .inference.colorizer import Colorizer
        return Colorizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
