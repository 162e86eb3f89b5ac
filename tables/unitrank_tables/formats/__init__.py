"""Formats of files with arrays: the fields of an npz and of a safetensors file from their headers, and writing an npz."""
