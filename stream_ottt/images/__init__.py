"""Data sets of still images: one file each. To add one: write the file, add its line here."""

from stream_ottt.registry import Registry

IMAGES = Registry(
    "image data set",
    {
        "cifar10": "stream_ottt.images.cifar:Cifar10",
        "cifar100": "stream_ottt.images.cifar:Cifar100",
        "mnist": "stream_ottt.images.mnist:Mnist",
        "folder": "stream_ottt.images.folder:ImageFolder",
    },
)
