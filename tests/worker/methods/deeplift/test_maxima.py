"""The shares of candidates against a fine sampling of the line, and by hand."""

import torch

from worker.methods.deeplift.maxima import shares


def test_shares_when_lines_cross_then_are_the_parts_on_which_each_is_highest() -> None:
    start, end = torch.tensor([[4.0, 0.0, 1.0]]), torch.tensor([[0.0, 4.0, 1.0]])

    assert shares(start, end).tolist() == [[0.5, 0.5, 0.0]]


def test_shares_when_lines_are_equal_then_the_first_has_all() -> None:
    same = torch.tensor([[1.0, 1.0, 0.0]])

    assert shares(same, same + 2).tolist() == [[1.0, 0.0, 0.0]]


def test_shares_when_a_line_is_touched_at_an_end_only_then_has_nothing() -> None:
    start, end = torch.tensor([[1.0, 1.0]]), torch.tensor([[2.0, 3.0]])

    assert shares(start, end).tolist() == [[0.0, 1.0]]


def test_shares_when_lines_are_many_then_equal_a_fine_sampling() -> None:
    torch.manual_seed(0)
    start, end = torch.randn(50, 9, 4, dtype=torch.float64), torch.randn(50, 9, 4, dtype=torch.float64)
    t = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000

    winners = (start[..., None] + t * (end - start)[..., None]).argmax(1)

    counted = torch.nn.functional.one_hot(winners, 9).double().mean(2).movedim(-1, 1)
    torch.testing.assert_close(shares(start, end), counted, rtol=0, atol=1e-3)
    torch.testing.assert_close((shares(start, end) * (end - start)).sum(1), end.amax(1) - start.amax(1))
