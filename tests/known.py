"""What several tests use."""
import pytest


def known_model(path):
    "Write a tiny model whose answer is known: Cb = 0.1, Cr = luma - 0.5"
    onnx = pytest.importorskip('onnx')
    h = onnx.helper
    w, b = h.make_tensor('w', 1, (2, 1, 1, 1), [0., 1.]), h.make_tensor('b', 1, (2,), [.1, -.5])
    ports = [h.make_tensor_value_info(k, 1, ['N', n, 'H', 'W']) for k, n in (('luma', 1), ('chroma', 2))]
    graph = h.make_graph([h.make_node('Conv', ['luma', 'w', 'b'], ['chroma'])], 'known', ports[:1], ports[1:], [w, b])
    m = h.make_model(graph, opset_imports=[h.make_opsetid('', 17)], ir_version=9)
    h.set_model_props(m, {'colorizer.format': '1'})
    onnx.save(m, path)
    return path
