"""The built-in scene and the camera that films it."""
