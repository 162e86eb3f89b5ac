"""The candidates' shares equal those of a fine sampling of the line and those by hand."""

import pytest
import torch

from tests.engine.methods.deeplift.running import scores
from unitrank_engine.methods.deeplift.maxima import shares


def test_shares_when_lines_cross_then_are_the_parts_on_which_each_is_highest() -> None:
    start, end = torch.tensor([[4.0, 0.0, 1.0]]), torch.tensor([[0.0, 4.0, 1.0]])

    assert shares(start, end).tolist() == [[0.5, 0.5, 0.0]]


def test_shares_when_lines_are_equal_then_the_first_has_all() -> None:
    same = torch.tensor([[1.0, 1.0, 0.0]])

    assert shares(same, same + 2).tolist() == [[1.0, 0.0, 0.0]]


def test_shares_when_a_line_is_highest_at_one_end_only_then_its_share_is_zero() -> None:
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


def test_shares_when_a_candidate_is_infinite_at_one_end_then_its_value_at_x_counts_and_the_search_ends() -> None:
    inf = torch.inf
    start = torch.tensor([[-inf, 1.0, 2.0], [3.0, 1.0, 2.0], [-inf, -inf, -inf], [inf, 1.0, 2.0]])
    end = torch.tensor([[5.0, 4.0, 0.0], [-inf, 1.0, 4.0], [-inf, 1.0, 0.0], [inf, 3.0, 1.0]])

    assert shares(start, end).tolist() == [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]


def test_shares_when_values_are_nan_then_the_search_ends() -> None:
    assert shares(torch.full((2, 3), torch.nan), torch.ones(2, 3)).shape == (2, 3)


def test_scores_of_half_precision_when_values_are_very_low_then_padding_does_not_win() -> None:
    net = torch.nn.Sequential(torch.nn.MaxPool1d(2, padding=1), torch.nn.Flatten(), torch.nn.Linear(3, 1)).half()
    x, start = torch.tensor([[[-35000.0, -36000, -34000, -33000]]]).half(), torch.full((1, 1, 4), -35000.0).half()

    got, change, _ = scores(net, x, start)

    assert got.sum().item() == pytest.approx(change.item(), rel=1e-2)
