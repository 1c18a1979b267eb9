"""AEDAT4, the format of dv-processing and DV."""
