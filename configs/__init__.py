"""Presets, TOML: one file each. To add one: write the file."""
