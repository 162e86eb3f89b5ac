"""The result of a job: verdicts, numbers as numpy arrays, plots, and saving to a file."""

from unitrank.results.files import add_summary, read_npz
from unitrank.results.job_result import JobResult
from unitrank.results.layered import LayeredJobResult
from unitrank.results.reading import job_result, load_result, parsed_summary
from unitrank.results.tables import markdown, summary_table

__all__ = [
    "JobResult",
    "LayeredJobResult",
    "add_summary",
    "job_result",
    "load_result",
    "markdown",
    "parsed_summary",
    "read_npz",
    "summary_table",
]
