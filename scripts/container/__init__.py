"""Running a command in a container: engines, images, mounts, and the command line that puts them together.

Standard library only, so that an image can be built where nothing is installed. `inputs.py` alone reads presets, with
the converter's own reader, and imports it when it is called.
"""
