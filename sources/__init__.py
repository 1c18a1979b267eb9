"""Ways in: one file each. To add one: write the file, add its line here."""

from stream_ottt.registry import Registry

SOURCES = Registry(
    "source",
    {
        "aedat4": "stream_ottt.sources.aedat4:Aedat4Source",
        "aedat2": "stream_ottt.sources.aedat2:Aedat2Source",
        "aedat31": "stream_ottt.sources.aedat31:Aedat31Source",
        "npz": "stream_ottt.sources.npz:NpzSource",
        "npy": "stream_ottt.sources.npy:NpySource",
        "synthetic": "stream_ottt.sources.synthetic:SyntheticSource",
        "nmnist": "stream_ottt.sources.nmnist:NmnistSource",
    },
)
