"""ResNet-34 and VGG-16 with an eighth of their channels: layers and names are the same, and a step takes a fraction of the time."""
from safetensors.torch import save_file
from torchvision.models import resnet, resnet34, vgg

SHARE = 8


def make_thin():
    "Let torchvision build thin networks in this process, from now on"
    wide = resnet.ResNet._make_layer
    resnet.ResNet._make_layer = lambda self, block, planes, *args, **kw: wide(self, block, planes//SHARE, *args, **kw)
    vgg.cfgs['D'] = [o if o == 'M' else o//SHARE for o in vgg.cfgs['D']]


def save_thin(resnet_path, vgg_path):
    "Write random weights of both, in torchvision's layout"
    save_file(resnet34(weights=None).state_dict(), resnet_path)
    save_file({f'features.{k}': v for k, v in vgg.make_layers(vgg.cfgs['D']).state_dict().items()}, vgg_path)
