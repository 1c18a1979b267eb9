"""Ways out: one file each. To add one: write the file, add its line here."""

from stream_ottt.registry import Registry

SINKS = Registry(
    "sink",
    {
        "terminal": "stream_ottt.sinks.terminal:TerminalSink",
        "progress": "stream_ottt.sinks.progress:ProgressSink",
        "jsonl": "stream_ottt.sinks.jsonl:JsonLinesSink",
        "record": "stream_ottt.sinks.record:RecordSink",
        "tensorboard": "stream_ottt.sinks.tensorboard:TensorBoardSink",
        "csv": "stream_ottt.sinks.csv:CsvSink",
        "video": "stream_ottt.sinks.video:VideoSink",
        "window": "stream_ottt.sinks.window:WindowSink",
        "web": "stream_ottt.sinks.web:WebSink",
        "metrics": "stream_ottt.sinks.metrics:MetricsSink",
        "zmq": "stream_ottt.sinks.zmq:ZmqSink",
        "zenoh": "stream_ottt.sinks.zenoh:ZenohSink",
    },
)
