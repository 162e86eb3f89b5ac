"""The commands of `unitrank`."""
