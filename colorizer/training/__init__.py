"The article: data, network, loss and recipe, with torch and fastai."
import os

# Before torch is imported: its threads wait by spinning, and on a machine that does something else as well an epoch of 4 s then takes 90 s
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
