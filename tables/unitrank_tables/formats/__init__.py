"""File formats: reads the headers of npz and safetensors files, and writes npz files."""
