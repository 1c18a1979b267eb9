"""Prophesee's formats: EVT2, EVT3, DAT."""
