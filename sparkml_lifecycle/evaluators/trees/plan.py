"""What the kernel reads: conditions, circuits and nodes out of an ensemble."""

from collections.abc import Iterator, Sequence

import numpy as np

from sparkml_lifecycle.evaluators.trees.answers import Unknown
from sparkml_lifecycle.evaluators.trees.circuit import (
    MOST_BITS,
    SCRATCH,
    Circuit,
    Nodes,
    Segment,
    Shape,
    number_name,
    set_name,
)
from sparkml_lifecycle.evaluators.trees.ensemble import Ensemble, Feature

BLOCK = 512  # rows; the kernel's
PAGE = 254  # ranks to a byte, beside missing on the left and on the right
_CONDITIONS = 2048  # that are kept at once: 128 KB
_TILE = 8  # blocks that go through a tree that is walked
MET = {"missing": 1, "infinite": 2, "unknown": 4}  # bits of what a block holds
_WALKS, _HAS_SETS, _BY_RANK = 1, 2, 4
_MOST_FEATURES, _MOST_DISTANCE, _MOST_RANK = 1 << 8, 1 << 22, 1 << 24  # of a walked node


class Plan:
    """The arrays that the kernel reads, and how large its scratch is.

    Parameters
    ----------
    ensemble : Ensemble

    Raises
    ------
    Unknown
        If a tree is too large for the kernel.
    """

    def __init__(self, ensemble: Ensemble) -> None:
        self.ensemble = ensemble
        trees = ensemble.trees
        trees.check(len(ensemble.features))
        self.real, self.sum = np.dtype(ensemble.real), ensemble.base.dtype
        self.cuts = self._thresholds()
        shape = Shape(trees)
        nodes = Nodes(shape, self._conditions())
        segments: list[Segment] = [Segment()]
        circuits = []
        for tree, root in enumerate(trees.at[:-1].tolist()):
            large = nodes.count[root] > 1 << MOST_BITS
            if segments[-1].size > _CONDITIONS or (large and segments[-1].trees):
                segments.append(Segment())
            circuits.append(Circuit(nodes, root, segments[-1]))
            segments[-1].trees.append(tree)
        self.tile = _TILE if any(circuit.walks for circuit in circuits) else 1
        self._lay_out(segments, circuits, shape)

    def _thresholds(self) -> list[np.ndarray]:
        """The different cuts of each feature, sorted."""
        trees = self.ensemble.trees
        asks = (trees.left >= 0) & (trees.group < 0) & ~np.isnan(trees.cut)
        order = np.lexsort((trees.cut[asks], trees.feature[asks]))
        feature, cut = trees.feature[asks][order], trees.cut[asks][order]
        bounds = np.searchsorted(feature, np.arange(len(self.ensemble.features) + 1))
        return [np.unique(cut[bounds[f] : bounds[f + 1]]) for f in range(len(self.ensemble.features))]

    def _ranks(self) -> np.ndarray:
        """Of every node the number of cuts of its feature that are not above its own; 0 where it has none."""
        trees = self.ensemble.trees
        ranks = np.zeros(len(trees.left), np.int64)
        asks = (trees.left >= 0) & (trees.group < 0) & ~np.isnan(trees.cut)
        for feature, cuts in enumerate(self.cuts):
            own = asks & (trees.feature == feature)
            ranks[own] = np.searchsorted(cuts, trees.cut[own], side="right")
        return ranks

    def _conditions(self) -> list[tuple[int, int, bool]]:
        """(feature, rank, missing on the right) of every node; a set's number stands as a negative rank."""
        trees = self.ensemble.trees
        self._rank_of = self._ranks()
        missing = trees.missing_right & self.ensemble.takes_missing
        ranks = np.where(trees.group >= 0, -1 - trees.group, self._rank_of)
        return list(zip(trees.feature.tolist(), ranks.tolist(), missing.tolist(), strict=True))

    # -- arrays ----------------------------------------------------------------------------------------------------------

    def _lay_out(self, segments: list[Segment], circuits: list[Circuit], shape: Shape) -> None:
        scratch = max((circuit.used for circuit in circuits), default=SCRATCH)
        wanted = {_plane_of(key) for segment in segments for key in segment.numbers}
        planes = {key: number for number, key in enumerate(sorted(wanted))}
        chunks = self._set_tables(segments)
        conditions: list[tuple[int, ...]] = []
        groups: list[tuple[int, ...]] = []
        segment_rows: list[tuple[int, ...]] = []
        ops: list[np.ndarray] = []
        self._walked(circuits, shape)
        self.registers = scratch
        rows = _TreeRows(self, circuits)
        op_count = 0
        for segment, own in zip(segments, chunks, strict=True):
            began = len(conditions), len(groups), len(rows.rows)
            slot, place = scratch, {}
            for key in sorted(segment.numbers, key=lambda key: (planes[_plane_of(key)], key[1])):
                page = _plane_of(key)[1]
                rank = 255 if key[1] == 0 else key[1] - page * PAGE
                place[number_name(segment.numbers[key])] = slot
                conditions.append((64 * slot, BLOCK * planes[_plane_of(key)], rank))
                slot += 1
            for (feature, chunk), members in own.items():
                for offset, member in enumerate(members):
                    place[set_name(segment.sets[member])] = slot + offset
                groups.append((feature, self.table_at[feature], self.table_width[feature], chunk, 64 * slot))
                slot += 64
            self.registers = max(self.registers, slot)
            for tree in segment.trees:
                placed = [64 * place.get(one, one) for op in circuits[tree].ops for one in op]
                rows.add(tree, op_count, op_count + len(circuits[tree].ops))
                op_count += len(circuits[tree].ops)
                ops.append(np.array(placed, np.int32))
            segment_rows.append((began[0], len(conditions), began[1], len(groups), began[2], len(rows.rows)))
        self.conditions = _array(conditions, 3)
        self.groups = _array(groups, 5)
        self.segments = _array(segment_rows, 6)
        self.ops = np.concatenate(ops)
        self.tree_rows = _array(rows.rows, 7)
        self.exits = np.concatenate([*rows.exits, np.zeros(1, np.int32)])
        self.leaves = np.concatenate(rows.leaves)
        self.planes = _array([(page * PAGE, int(missing)) for _, page, missing in planes], 2)
        self._features(planes)

    def _set_tables(self, segments: list[Segment]) -> list[dict[tuple[int, int], list[tuple[int, int]]]]:
        """For each segment its sets in chunks of 64 to a feature; and for each feature the bits of every code."""
        chunks: list[dict[tuple[int, int], list[tuple[int, int]]]] = []
        self.table_width: dict[int, int] = {}
        for segment in segments:
            own: dict[tuple[int, int], list[tuple[int, int]]] = {}
            by_feature: dict[int, list[tuple[int, int]]] = {}
            for key in segment.sets:
                by_feature.setdefault(key[0], []).append(key)
            for feature, keys in by_feature.items():
                for first in range(0, len(keys), 64):
                    own[feature, self.table_width.get(feature, 0)] = keys[first : first + 64]
                    self.table_width[feature] = self.table_width.get(feature, 0) + 1
            chunks.append(own)
        self.table_at: dict[int, int] = {}
        pieces, at = [np.zeros(1, np.uint64)], 1
        for feature, width in self.table_width.items():
            bits = np.zeros((int(self.ensemble.features[feature].size or 0) + 2, width, 64), bool)
            for own in chunks:
                for (of, chunk), keys in own.items():
                    if of == feature:
                        for c, (_, group) in enumerate(keys):
                            bits[:, chunk, c] = self.ensemble.sets[group]
            table = np.packbits(bits, axis=2, bitorder="little").view(np.uint64)[..., 0]
            self.table_at[feature] = at
            pieces.append(table.ravel())
            at += table.size
        self.tables = np.concatenate(pieces)
        return chunks

    def _walked(self, circuits: list[Circuit], shape: Shape) -> None:
        """The nodes of trees that are walked, as the kernel has them."""
        trees = self.ensemble.trees
        sizes = np.diff(trees.at)
        walked = np.repeat(np.array([circuit.walks for circuit in circuits], bool), sizes)
        self.walks = _WALKS if walked.any() else 0
        self.nodes, self.sets = np.zeros(1, np.uint64), np.zeros(1, np.uint64)
        self.row_of = np.zeros(0, np.int64)
        if not self.walks:
            return
        if len(self.ensemble.features) > _MOST_FEATURES:
            raise Unknown(f"its trees are large and it has more than {_MOST_FEATURES} features")
        before = shape.order()
        order = np.argsort(before)
        order = order[walked[order]]
        self.row_of = np.full(len(walked), -1, np.int64)
        self.row_of[order] = np.arange(len(order))
        leaf = trees.left[order] < 0
        distance = np.where(leaf, 0, self.row_of[shape.right[order]] - np.arange(len(order)))
        if distance.max() >= _MOST_DISTANCE:
            raise Unknown("it has a tree of more than four million nodes")
        by_rank = self.real == np.float64
        if by_rank and max(map(len, self.cuts)) >= _MOST_RANK:
            raise Unknown("it has a feature of more than sixteen million thresholds")
        # NaN: a cut that no number reaches
        cut = np.where(self._rank_of[order] == 0, np.nan, self._rank_of[order]) if by_rank else trees.cut[order]
        low = cut.astype(np.float32).view(np.uint32).astype(np.uint64)
        number = np.cumsum(trees.left < 0) - 1
        first = np.repeat(np.concatenate([[0], np.cumsum(np.add.reduceat(trees.left < 0, trees.at[:-1]))[:-1]]), sizes)
        low[leaf] = (number - first)[order][leaf].astype(np.uint64)
        is_set = (trees.group[order] >= 0) & ~leaf
        low[is_set] = self._walked_sets(trees.group[order][is_set])
        missing_right = trees.missing_right[order] & self.ensemble.takes_missing & ~leaf
        words = low | (np.where(leaf, 0, trees.feature[order]).astype(np.uint64) << np.uint64(32))
        words |= missing_right.astype(np.uint64) << np.uint64(40) | is_set.astype(np.uint64) << np.uint64(41)
        self.nodes = words | (distance.astype(np.uint64) << np.uint64(42))
        self.walks |= (_HAS_SETS if is_set.any() else 0) | (_BY_RANK if by_rank else 0)

    def _walked_sets(self, groups: np.ndarray) -> np.ndarray:
        """Where the bits of each set begin."""
        asked, number = np.unique(groups, return_inverse=True)
        bits = [self.ensemble.sets[group] for group in asked.tolist()]
        starts = np.cumsum([0, *(-(-len(one) // 64) for one in bits)])
        self.sets = np.zeros(max(int(starts[-1]), 1), np.uint64)
        packed = self.sets.view(np.uint8)
        for start, one in zip((8 * starts[:-1]).tolist(), bits, strict=True):
            packed[start : start + -(-len(one) // 8)] = np.packbits(one, bitorder="little")
        where: np.ndarray = starts[:-1].astype(np.uint64)[number]
        return where

    def _features(self, planes: dict[tuple[int, int, bool], int]) -> None:
        rows, tables, at = [], [], 0
        self.missing_values = np.array(
            [np.nan if f.missing_value is None else self.real.type(f.missing_value) for f in self.ensemble.features],
            np.float64,
        )
        first_plane = 0
        for number, feature in enumerate(self.ensemble.features):
            kind = {"missing": 0, "zero": 1, "zero is missing": 2}[feature.nan]
            kind = 3 if feature.missing_value is not None else kind
            if feature.size is not None:
                rows.append(
                    (0, feature.size, 0, 0, self._refused(feature), feature.column, kind, 0, self._most(feature))
                )
                continue
            cuts = self.cuts[number]
            count = sum(key[0] == number for key in planes)
            # thresholds that only walked nodes ask for need no rank where values are walked with
            is_ranked = count > 0 or self.walks & _BY_RANK
            step = 1 << (len(cuts).bit_length() - 1) if len(cuts) and is_ranked else int(count > 0)
            table = np.full(max(2 * step, 1), np.nan, self.real)
            table[: len(cuts)] = cuts[: len(table)]
            start = at * self.real.itemsize
            rows.append(
                (start, step, first_plane, count, self._refused(feature), feature.column, kind, 0, self._most(feature))
            )
            first_plane += count
            tables.append(table)
            at += len(table)
        self.features = _array(rows, 9)
        self.cut_table = np.concatenate([*tables, np.zeros(1, self.real)])

    def _most(self, feature: Feature) -> int:
        """The bits of the largest number that is not infinite."""
        most = np.finfo(self.real).max if feature.most is None else feature.most
        return int(np.array([most], self.real).view(np.uint32 if self.real.itemsize == 4 else np.int64)[0])

    def _refused(self, feature: Feature) -> int:
        """The bits of what is left to the framework."""
        refused = set(feature.refuses)
        refused |= set() if self.ensemble.takes_missing else {"missing"}
        refused |= set() if self.ensemble.takes_infinite else {"infinite"}
        return sum(bit for name, bit in MET.items() if name in refused)

    def arrays(self) -> Iterator[np.ndarray]:
        """All that is kept while the model is loaded."""
        yield from (self.features, self.planes, self.segments, self.conditions, self.groups, self.ops, self.tree_rows)
        yield from (self.exits, self.nodes, self.sets, self.tables, self.cut_table, self.leaves, self.missing_values)


class _TreeRows:
    """Rows of trees, with their leaves and exits."""

    def __init__(self, plan: Plan, circuits: list[Circuit]) -> None:
        self.plan, self.circuits = plan, circuits
        self.rows: list[tuple[int, ...]] = []
        self.exits: list[np.ndarray] = []
        self.leaves: list[np.ndarray] = []
        self._leaf_at = self._exit_at = 0

    def add(self, tree: int, first_op: int, last_op: int) -> None:
        plan, circuit = self.plan, self.circuits[tree]
        trees = plan.ensemble.trees
        own = slice(trees.at[tree], trees.at[tree + 1])
        exit_at = -1
        if circuit.walks:
            ends = np.zeros(1 << circuit.bits, np.int32)
            for node, (start, size) in circuit.exits.items():
                ends[start : start + size] = plan.row_of[node]
            self.exits.append(ends)
            exit_at, self._exit_at = self._exit_at, self._exit_at + len(ends)
            values = trees.value[own][trees.left[own] < 0]
        else:
            at = np.zeros(1 << circuit.bits, np.int64)
            for node, (start, size) in circuit.exits.items():
                at[start : start + size] = node
            values = trees.value[at]
        itemsize = plan.sum.itemsize
        output = int(plan.ensemble.output[tree])
        self.rows.append((first_op, last_op, circuit.bits, self._leaf_at * itemsize, exit_at, output, itemsize))
        self.leaves.append(np.ascontiguousarray(values, plan.sum).ravel())
        self._leaf_at += values.size


def _plane_of(key: tuple[int, int, bool]) -> tuple[int, int, bool]:
    feature, rank, missing = key
    return feature, max(rank - 1, 0) // PAGE, missing


def _array(rows: Sequence[tuple[int, ...]], width: int) -> np.ndarray:
    return np.array(rows, np.int64).reshape(-1, width) if rows else np.zeros((1, width), np.int64)
