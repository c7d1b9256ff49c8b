import os

__version__ = "0.1.0"
os.environ.setdefault('ORT_DISABLE_TELEMETRY', '1')  # ONNX Runtime asks for this when it is imported: else it writes a device id and looks up a host


def __getattr__(name):
    "`colorizer.Colorizer` without the cost of its imports until somebody asks for it"
    if name == "Colorizer":
        from .inference.colorizer import Colorizer
        return Colorizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
