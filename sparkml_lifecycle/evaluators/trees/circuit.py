"""Trees as circuits: multiplexers over the bits of conditions, whose answer is a leaf's number."""

import heapq
from dataclasses import dataclass, field

import numpy as np

from sparkml_lifecycle.evaluators.trees.ensemble import Trees

NONE, ZEROS, ONES, BITS, SCRATCH = -1, 0, 1, 2, 10  # registers of 64 bytes
LEAST_BITS, MOST_BITS = 4, 8  # of a leaf's number
UPPER = 7  # levels of a tree that is walked below them


# by the number of a node
Counts = list[int] | dict[int, int]


@dataclass
class Segment:
    """Trees that share conditions."""

    numbers: dict[tuple[int, int, bool], int] = field(default_factory=dict)
    sets: dict[tuple[int, int], int] = field(default_factory=dict)
    trees: list[int] = field(default_factory=list)

    @property
    def size(self) -> int:
        return len(self.numbers) + len(self.sets)

    def condition(self, asked: tuple[int, int, bool]) -> int:
        """A name of a condition: a register to be placed later, as a number below -1, or a constant."""
        feature, rank, missing_right = asked
        if rank < 0:
            return set_name(self.sets.setdefault((feature, -1 - rank), len(self.sets)))
        if rank == 0 and not missing_right:
            return ZEROS
        return number_name(self.numbers.setdefault(asked, len(self.numbers)))


def set_name(number: int) -> int:
    """What a condition about categories is called until it has a register."""
    return -2 - 2 * number


def number_name(number: int) -> int:
    """What a condition about a rank is called until it has a register."""
    return -3 - 2 * number


class Shape:
    """Children counted from the first node of all, and of every node how many leaves and nodes it has below and how high it is."""

    def __init__(self, trees: Trees) -> None:
        first = np.repeat(trees.at[:-1], np.diff(trees.at))
        inner = trees.left >= 0
        self.left = np.where(inner, trees.left + first, -1)
        self.right = np.where(inner, trees.right + first, -1)
        self.leaves = np.ones(len(first), np.int64)
        self.nodes = np.ones(len(first), np.int64)
        self.height = np.zeros(len(first), np.int64)
        self.levels = []
        level = trees.at[:-1].astype(np.int64)
        while len(level):
            level = level[inner[level]]
            self.levels.append(level)
            level = np.concatenate([self.left[level], self.right[level]])
        for level in reversed(self.levels):
            left, right = self.left[level], self.right[level]
            self.leaves[level] = self.leaves[left] + self.leaves[right]
            self.nodes[level] = 1 + self.nodes[left] + self.nodes[right]
            self.height[level] = 1 + np.maximum(self.height[left], self.height[right])

    def order(self) -> np.ndarray:
        """The position of every node in an order in which a left child follows its parent."""
        position = np.zeros(len(self.left), np.int64)
        roots = np.ones(len(self.left), bool)
        for level in self.levels:
            roots[self.left[level]] = roots[self.right[level]] = False
        root = np.flatnonzero(roots)
        position[root] = np.concatenate([[0], np.cumsum(self.nodes[root])[:-1]])
        for level in self.levels:
            left = self.left[level]
            position[left] = position[level] + 1
            position[self.right[level]] = position[level] + 1 + self.nodes[left]
        return position


class Nodes:
    """All nodes as lists, because circuits ask for one at a time.

    Parameters
    ----------
    shape : Shape
    asked : list of (feature, rank, missing on the right)
        A set's number stands as a negative rank.
    """

    def __init__(self, shape: Shape, asked: list[tuple[int, int, bool]]) -> None:
        self.left, self.right = shape.left.tolist(), shape.right.tolist()
        self.count, self.height = shape.leaves.tolist(), shape.height.tolist()
        self.asked = asked


class Circuit:
    """The multiplexers of one tree, or of its upper part."""

    def __init__(self, nodes: Nodes, root: int, segment: Segment) -> None:
        self.asked, self.segment = nodes.asked, segment
        self.left, self.right = nodes.left, nodes.right
        self.count: Counts = nodes.count
        self.height: Counts = nodes.height
        self.ops: list[list[int]] = []
        self.free: list[int] = []
        self.made: dict[int, int] = {}  # scratch registers that hold a result, and the position of its operation
        self.used = SCRATCH
        self.exits: dict[int, tuple[int, int]] = {}
        self.cut: set[int] = set()
        self.walks = self.count[root] > 1 << MOST_BITS
        if self.walks:
            self._cut_off(root)
        least = max(LEAST_BITS, (self.count[root] - 1).bit_length())
        self.bits = min(max(least, min(self.height[root], least + 1)), MOST_BITS)
        self._finish(self._subtree(root, self.bits, 0))

    def _cut_off(self, root: int) -> None:
        """Exits at the depth of the upper part."""
        levels = [[root]]
        for _ in range(UPPER):
            levels.append([c for n in levels[-1] if self.left[n] >= 0 for c in (self.left[n], self.right[n])])
        self.cut = set(levels[-1])
        self.count, self.height = {}, {}
        for level in reversed(levels):
            for node in level:
                if self._is_exit(node):
                    self.count[node], self.height[node] = 1, 0
                else:
                    left, right = self.left[node], self.right[node]
                    self.count[node] = self.count[left] + self.count[right]
                    self.height[node] = 1 + max(self.height[left], self.height[right])

    def _is_exit(self, node: int) -> bool:
        return self.left[node] < 0 or node in self.cut

    def _subtree(self, node: int, bits: int, start: int) -> list[int]:
        """The registers of the bits of a leaf's number below ``node``, where 2**bits numbers from ``start`` on are to be had."""
        if self._is_exit(node):
            self.exits[node] = (start, 1 << bits)
            return [NONE] * bits
        left, right, half = self.left[node], self.right[node], 1 << (bits - 1)
        if self.count[left] > half or self.count[right] > half:
            return self._in_order(node, bits, start)
        goes = self.segment.condition(self.asked[node])
        below, above = self._subtree(left, bits - 1, start), self._subtree(right, bits - 1, start + half)
        return [self._choose(goes, lo, hi) for lo, hi in zip(below, above, strict=True)] + [goes]

    def _in_order(self, node: int, bits: int, start: int) -> list[int]:
        """Where halves do not fit, exits have consecutive numbers."""
        following = 0

        def below(node: int) -> list[int]:
            nonlocal following
            if self._is_exit(node):
                number, following = following, following + 1
                self.exits[node] = (start + number, 1)
                return [ONES if number >> b & 1 else ZEROS for b in range(bits)]
            low, high = below(self.left[node]), below(self.right[node])
            goes = self.segment.condition(self.asked[node])
            return [self._choose(goes, lo, hi) for lo, hi in zip(low, high, strict=True)]

        return below(node)

    def _choose(self, goes: int, low: int, high: int) -> int:
        if low == high or high == NONE or goes == ZEROS:
            return low
        if low == NONE:
            return high
        if low == ZEROS and high == ONES:
            return goes
        for operand in (low, high):
            if operand in self.made:
                heapq.heappush(self.free, operand)
        if self.free:
            to = heapq.heappop(self.free)
        else:
            to, self.used = self.used, self.used + 1
        self.made[to] = len(self.ops)
        self.ops.append([goes, low, high, to])
        return to

    def _finish(self, found: list[int]) -> None:
        """The bits into their own registers."""
        for bit, register in enumerate(found):
            if register in self.made:
                self.ops[self.made[register]][3] = BITS + bit
            else:
                source = ZEROS if register == NONE else register
                self.ops.append([ZEROS, source, source, BITS + bit])
