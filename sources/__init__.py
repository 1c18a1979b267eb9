"""Ways in: one file each. To add one: write the file, add its line here."""

from stream_ottt.registry import Registry

SOURCES = Registry(
    "source",
    {
        "aedat4": "stream_ottt.sources.aedat4.source:Aedat4Source",
        "aedat2": "stream_ottt.sources.aedat2:Aedat2Source",
        "aedat31": "stream_ottt.sources.aedat31:Aedat31Source",
        "evt2": "stream_ottt.sources.prophesee.evt2:Evt2Source",
        "evt21": "stream_ottt.sources.prophesee.evt21:Evt21Source",
        "evt3": "stream_ottt.sources.prophesee.evt3:Evt3Source",
        "dat": "stream_ottt.sources.prophesee.dat:DatSource",
        "rosbag": "stream_ottt.sources.ros.source:RosbagSource",
        "es": "stream_ottt.sources.es:EventStreamSource",
        "npz": "stream_ottt.sources.npz:NpzSource",
        "npy": "stream_ottt.sources.npy:NpySource",
        "hdf5": "stream_ottt.sources.hdf5:Hdf5Source",
        "mat": "stream_ottt.sources.mat:MatSource",
        "csv": "stream_ottt.sources.csv:CsvSource",
        "synthetic": "stream_ottt.sources.synthetic:SyntheticSource",
        "rcls": "stream_ottt.sources.rcls:RclsSource",
        "nmnist": "stream_ottt.sources.nmnist:NmnistSource",
        "folder": "stream_ottt.sources.folder:FolderSource",
        "tonic": "stream_ottt.sources.tonic_data:TonicSource",
        "stdin": "stream_ottt.sources.stdin:StdinSource",
        "zmq": "stream_ottt.sources.zmq:ZmqSource",
        "tcp": "stream_ottt.sources.tcp:TcpSource",
        "zenoh": "stream_ottt.sources.zenoh:ZenohSource",
        "udp": "stream_ottt.sources.udp:UdpSource",
        "camera": "stream_ottt.sources.camera:CameraSource",
    },
)
