"Measures, benchmark and report for ONNX models, commands and folders of pictures."
