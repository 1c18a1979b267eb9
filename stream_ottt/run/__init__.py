"""One run: settings, what is built from them, what is left at its end."""
