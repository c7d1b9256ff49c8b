"Photos in, photos out: numpy, Pillow and ONNX Runtime, never torch."
