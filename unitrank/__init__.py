"""The client and the command line."""

from unitrank.exporting import ExportRefused, export

__all__ = ["ExportRefused", "export"]
