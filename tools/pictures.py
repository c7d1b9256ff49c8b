"""Make the picture that README.md and the index show: the embedded photos, coloured by the shipped model, three to a row.

    python tools/pictures.py         writes nbs/images/demo.jpg
"""
from pathlib import Path

from PIL import Image

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
columns = [[o.resize((o.width*150//o.height, 150), Image.Resampling.LANCZOS) for o in c] for c in columns]
out.parent.mkdir(exist_ok=True)
photo_grid([list(r) for r in zip(*columns)], row_titles=["grey", "coloured", "original"], tile=150).save(out)
print(out)
