"""The data sets: one file each. To add one: write the file, add its line here."""

from __future__ import annotations

from stream_ottt.registry import Registry
from stream_ottt.replay.config import DataConfig
from stream_ottt.replay.datasets.base import DataSet

DATASETS = Registry(
    "dataset",
    {
        "stream": "stream_ottt.replay.datasets.stream:StreamData",
        "nmnist": "stream_ottt.replay.datasets.nmnist:NMnist",
        "ncaltech101": "stream_ottt.replay.datasets.ncaltech101:NCaltech101",
        "ncars": "stream_ottt.replay.datasets.ncars:NCars",
        "cifar10-dvs": "stream_ottt.replay.datasets.cifar10_dvs:Cifar10Dvs",
        "dvs-gesture": "stream_ottt.replay.datasets.dvs_gesture:DvsGesture",
        "cifar10": "stream_ottt.replay.datasets.images:Cifar10Data",
        "cifar100": "stream_ottt.replay.datasets.images:Cifar100Data",
        "mnist": "stream_ottt.replay.datasets.images:MnistData",
        "folder": "stream_ottt.replay.datasets.images:FolderData",
    },
)


def open_dataset(config: DataConfig) -> DataSet:
    """The data set that the ``[data]`` table describes.

    Raises:
        UsageError: no such data set.
        InputError: its files are missing or not as published.
    """
    dataset: DataSet = DATASETS.get(config.name)(config)
    return dataset
