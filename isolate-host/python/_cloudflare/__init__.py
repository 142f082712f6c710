"""Hooks into the import of packages that a snapshot makes necessary.

The SDK's `.pth` file brings its own list of patches and registers them here.
"""
