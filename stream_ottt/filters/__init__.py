"""Filters of events, between source and binner: one file each. To add one: write the file, add its line here."""

from stream_ottt.registry import Registry

FILTERS = Registry(
    "filter",
    {
        "background": "stream_ottt.filters.background:BackgroundFilter",
        "hot": "stream_ottt.filters.hot:HotPixelFilter",
        "refractory": "stream_ottt.filters.refractory:RefractoryFilter",
        "roi": "stream_ottt.filters.roi:RegionFilter",
        "flip": "stream_ottt.filters.flip:FlipFilter",
        "rotate": "stream_ottt.filters.rotate:RotateFilter",
        "transpose": "stream_ottt.filters.transpose:TransposeFilter",
        "polarity": "stream_ottt.filters.polarity:PolarityFilter",
        "undistort": "stream_ottt.filters.undistort:UndistortFilter",
    },
)
