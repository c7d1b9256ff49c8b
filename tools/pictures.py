"""Make the picture that README.md and the index show: the embedded photos, coloured by the shipped model, in two bands of six.

    python tools/pictures.py         writes nbs/images/demo.jpg
"""
from pathlib import Path

from PIL import Image, ImageOps

from colorizer import Colorizer
from colorizer.inference.photo import open_photo, sample_photos
from colorizer.inference.show import photo_grid

out = Path(__file__).resolve().parent.parent/"nbs/images/demo.jpg"
colorizer = Colorizer()
columns = []
for path in sample_photos().values():
    photo = open_photo(path)
    grey = photo.convert("L")
    columns.append([grey, colorizer.colorize(grey), photo])
columns = [[ImageOps.fit(o, (150, 112), Image.Resampling.LANCZOS, centering=(.5, .3)) for o in c] for c in columns]
out.parent.mkdir(exist_ok=True)
half = -(-len(columns)//2)
rows = [list(r) for band in (columns[:half], columns[half:]) for r in zip(*band)]
out.write_bytes(photo_grid(rows, row_titles=["grey", "coloured", "original"]*2, tile=150)._repr_jpeg_())
print(out)
