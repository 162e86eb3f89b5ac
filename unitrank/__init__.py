"""The client and the command line."""

from unitrank.exporting import ExportRefused, export, export_folder

__all__ = ["ExportRefused", "export", "export_folder"]
