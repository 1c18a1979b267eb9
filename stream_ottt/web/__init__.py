"""The page: a server that shows a run to browsers and takes their commands."""
