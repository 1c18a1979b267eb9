"""Event file writers for ``stream-ottt convert``: one file each. To add one: write the file, add its line here."""

from stream_ottt.registry import Registry

WRITERS = Registry(
    "writer",
    {
        "aedat4": "stream_ottt.sinks.writers.aedat4:Aedat4Writer",
        "evt3": "stream_ottt.sinks.writers.evt3:Evt3Writer",
        "evt2": "stream_ottt.sinks.writers.evt2:Evt2Writer",
        "dat": "stream_ottt.sinks.writers.dat:DatWriter",
        "es": "stream_ottt.sinks.writers.es:EventStreamWriter",
        "csv": "stream_ottt.sinks.writers.csv:CsvWriter",
        "hdf5": "stream_ottt.sinks.writers.hdf5:Hdf5Writer",
        "npz": "stream_ottt.sinks.writers.npz:NpzWriter",
    },
)
