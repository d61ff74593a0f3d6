"""The kernel of tree ensembles. It is imported where it is compiled (:mod:`sparkml_lifecycle.evaluators.compiled`), never to score.

512 rows go through at a time:

1. each value becomes its *rank* among the model's own thresholds of its feature (a branch-free binary search), in pages of 254
   so that a byte holds it; a missing value is rank 0 where a node sends it left and 255 where it goes right;
2. each different condition "rank >= k" is asked once, however many nodes ask it, and gives 512 bits;
3. a tree is a circuit of multiplexers over these bits: bit b of the leaf's number is, at a node, bit b of the right child where
   the condition holds and of the left child elsewhere. One instruction does that for 512 rows;
4. the bits become bytes, and the bytes leaf values, added in the order and precision of the framework;
5. trees too large for a byte have their upper part done so, and the rest walked node by node, 32 rows side by side.

A set of categories is a condition too: each code has a row of bits, one for each condition that asks for that feature, and a
transposition of 64 by 64 bits makes them 64 conditions for 64 rows.

The vector code is LLVM's own and knows no machine. Every address is a number, so that the compiled function is a plain one of C.
"""

import math

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

BLOCK = 512
_ZERO = float(np.float32(1e-35))  # LightGBM's
_WORDS = BLOCK // 64
_I64 = ir.IntType(64)


def _vector(bits, count):
    return ir.VectorType(ir.IntType(bits), count)


def _place(builder, address, kind):
    return builder.inttoptr(address, kind.as_pointer())


def _pointer_to(dtype):
    @intrinsic
    def at(typingctx, address):
        def codegen(context, builder, signature, args):
            return builder.inttoptr(args[0], context.get_value_type(types.CPointer(dtype)))

        return types.CPointer(dtype)(types.uint64), codegen

    return at


f64, f32 = _pointer_to(types.float64), _pointer_to(types.float32)
i64, i32 = _pointer_to(types.int64), _pointer_to(types.int32)
u64, u8 = _pointer_to(types.uint64), _pointer_to(types.uint8)


@intrinsic
def address(typingctx, pointer):
    """The number of a pointer."""

    def codegen(context, builder, signature, args):
        return builder.ptrtoint(args[0], _I64)

    return types.uint64(pointer), codegen


@intrinsic
def like(typingctx, pointer, number):
    """The address ``number`` as a pointer of the same type as ``pointer``."""

    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[1], context.get_value_type(pointer))

    return pointer(pointer, types.uint64), codegen


@intrinsic
def at_least(typingctx, to, ranks, rank):
    """512 bits at ``to``: set where the byte at ``ranks`` is not below ``rank``."""
    vector = _vector(8, 64)

    def codegen(context, builder, signature, args):
        undefined = ir.Constant(vector, ir.Undefined)
        one = builder.insert_element(undefined, args[2], ir.Constant(ir.IntType(32), 0))
        wanted = builder.shuffle_vector(one, undefined, ir.Constant(_vector(32, 64), [0] * 64))
        for word in range(_WORDS):
            values = builder.load(_place(builder, builder.add(args[1], _I64(64 * word)), vector), align=64)
            bits = builder.bitcast(builder.icmp_unsigned(">=", values, wanted), _I64)
            builder.store(bits, _place(builder, builder.add(args[0], _I64(8 * word)), _I64), align=8)
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64, types.uint8), codegen


@intrinsic
def choose(typingctx, to, goes, low, high):
    """512 bits at ``to``: those at ``high`` where the bits at ``goes`` are set, else those at ``low``."""
    vector = _vector(64, _WORDS)

    def codegen(context, builder, signature, args):
        right, below, above = (builder.load(_place(builder, one, vector), align=64) for one in args[1:])
        chosen = builder.or_(builder.and_(right, above), builder.and_(builder.not_(right), below))
        builder.store(chosen, _place(builder, args[0], vector), align=64)
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64, types.uint64, types.uint64), codegen


def _expander(count):
    vector, mask = _vector(8, 64), _vector(1, 64)

    @intrinsic
    def expand(typingctx, to, bits):
        """512 bytes at ``to``: bit b of a row's byte is its bit in the 512 bits at ``bits + 64 * b``."""

        def codegen(context, builder, signature, args):
            for word in range(_WORDS):
                total = ir.Constant(vector, [0] * 64)
                for bit in range(count):
                    place = _place(builder, builder.add(args[1], _I64(64 * bit + 8 * word)), _I64)
                    rows = builder.bitcast(builder.load(place, align=8), mask)
                    total = builder.select(rows, builder.or_(total, ir.Constant(vector, [1 << bit] * 64)), total)
                builder.store(total, _place(builder, builder.add(args[0], _I64(64 * word)), vector), align=64)
            return context.get_dummy_value()

        return types.void(types.uint64, types.uint64), codegen

    return expand


_expand4, _expand5, _expand6, _expand7, _expand8 = (_expander(count) for count in (4, 5, 6, 7, 8))


@numba.njit(inline="always")
def _transpose(m):
    """64 words of 64 bits: bit c of word r becomes bit r of word c."""
    step = 32
    mask = numba.uint64(0x00000000FFFFFFFF)
    while step != 0:
        shift = numba.uint64(step)
        for k in range(64):
            if k & step == 0:
                swapped = ((m[k] >> shift) ^ m[k | step]) & mask
                m[k] ^= swapped << shift
                m[k | step] ^= swapped
        step >>= 1
        mask ^= mask << numba.uint64(step)


@numba.njit(inline="always")
def _read(column, start, rows, feature, v):
    """A block of a feature into ``v``, missing as NaN. Bit 0 of the answer: something is missing; bit 1: something is infinite."""
    if column[1] == 0:
        doubles = f64(numba.uint64(column[0]))
        for r in range(rows):
            v[r] = doubles[start + r]
    else:
        floats = f32(numba.uint64(column[0]))
        for r in range(rows):
            v[r] = floats[start + r]
    for r in range(rows, BLOCK):
        v[r] = 0.0
    if column[2] != 0:
        valid = u8(numba.uint64(column[2]))
        for r in range(rows):
            at = column[3] + start + r
            if valid[at >> 3] & (1 << (at & 7)) == 0:
                v[r] = math.nan
    return _missing(feature, v)


@numba.njit(inline="always")
def _missing(feature, v):
    """What the framework takes for missing becomes NaN in ``v``, or NaN the number that it takes it for."""
    found = 0
    odd = 0
    most = like(v, address(feature) + numba.uint64(64))[0]
    for r in range(BLOCK):
        odd |= 0 if math.fabs(v[r]) <= most else 1
    if odd != 0:
        for r in range(BLOCK):
            found |= 1 if v[r] != v[r] else 0
            found |= 2 if math.fabs(v[r]) > most else 0
    kind = feature[6]
    if kind == 1:  # NaN is zero
        for r in range(BLOCK):
            v[r] = v[r] if v[r] == v[r] else 0.0
    elif kind == 2:  # zero is missing
        for r in range(BLOCK):
            v[r] = math.nan if math.fabs(v[r]) <= _ZERO else v[r]
    elif kind == 3:  # so is one value
        value = f64(numba.uint64(feature[7]))[0]
        for r in range(BLOCK):
            v[r] = math.nan if v[r] == value else v[r]
    return found


@numba.njit(inline="always")
def _rank(v, cuts, step, p):
    for r in range(BLOCK):
        p[r] = 0
    k = step
    while k > 0:
        for r in range(BLOCK):
            q = numba.int32(p[r] + k)
            p[r] = q if cuts[q - 1] <= v[r] else p[r]
        k >>= 1


@numba.njit(inline="always")
def _spread(v, p, plane, out):
    """A page of ranks as bytes; missing is 255 where the plane says so."""
    first = plane[0]
    for r in range(BLOCK):
        rank = p[r] - first
        out[r] = min(max(rank, 0), 254)
    if plane[1] != 0:
        for r in range(BLOCK):
            out[r] = out[r] if v[r] == v[r] else 255


@numba.njit(inline="always")
def _categories(column, feature, start, rows, codes):
    """Codes of a feature; what is missing or unknown is the last row of the table."""
    source = i32(numba.uint64(column[0]))
    size = feature[1]
    found = 0
    for r in range(rows):
        code = source[start + r]
        codes[r] = code if 0 <= code < size else size if code >= size else size + 1
    for r in range(rows, BLOCK):
        codes[r] = size
    for r in range(rows):
        found |= 1 if codes[r] == size + 1 else 0
        found |= 4 if codes[r] == size else 0
    return found


@numba.njit(inline="always")
def _ask_sets(codes, table, width, chunk, matrix, to):
    """64 conditions about a feature's categories, from ``to`` on."""
    for word in range(_WORDS):
        for r in range(64):
            matrix[r] = table[codes[word * 64 + r] * width + chunk]
        _transpose(matrix)
        for c in range(64):
            to[c * _WORDS + word] = matrix[c]


@numba.njit(inline="always")
def _prepare(columns, start, rows, n_features, features, planes, cuts, v, p, ranks, codes, keys, walks):
    """Ranks, codes and keys of a block; the bits of what was met and is refused."""
    status = 0
    for f in range(n_features):
        feature = i64(address(features) + numba.uint64(72 * f))
        column = i64(address(columns) + numba.uint64(32 * feature[5]))
        if column[1] == 2:
            own = i32(address(codes) + numba.uint64(4 * BLOCK * f))
            status |= _categories(column, feature, start, rows, own) & feature[4]
            if walks != 0:
                for r in range(BLOCK):
                    keys[r * n_features + f] = own[r]
        else:
            status |= _read(column, start, rows, feature, v) & feature[4]
            if feature[1] > 0:
                _rank(v, like(cuts, address(cuts) + numba.uint64(feature[0])), feature[1], p)
                for plane in range(feature[2], feature[2] + feature[3]):
                    _spread(
                        v, p, i64(address(planes) + numba.uint64(16 * plane)), u8(ranks + numba.uint64(BLOCK * plane))
                    )
            if walks & 4:
                for r in range(BLOCK):
                    keys[r * n_features + f] = p[r] if v[r] == v[r] else math.nan
            elif walks != 0:
                for r in range(BLOCK):
                    keys[r * n_features + f] = v[r]
    return status


@intrinsic
def low_float(typingctx, word):
    """The lower half of a word as a float32."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(builder.trunc(args[0], ir.IntType(32)), ir.FloatType())

    return types.float32(types.uint64), codegen


@numba.njit(inline="always")
def _walk(nodes, sets, has_sets, keys, width, ends):
    """From the exits of a tree's upper part to a leaf, 32 rows side by side.

    A node is a word: 32 bits of its cut (or where its set begins; or a leaf's number), 8 of its feature, one for missing on the
    right, one for a set, 22 of the distance to the right child. The left child follows its node; a leaf has no distance.
    """
    one = numba.uint64(1)
    for group in range(0, BLOCK, 32):
        walking = one
        while walking != 0:
            walking = numba.uint64(0)
            for i in range(group, group + 32):
                word = nodes[ends[i]]
                distance = word >> numba.uint64(42)
                x = keys[i * width + ((word >> numba.uint64(32)) & numba.uint64(255))]
                goes = (x >= low_float(word)) | ((x != x) & ((word & numba.uint64(1 << 40)) != 0))
                if has_sets != 0 and (word & numba.uint64(1 << 41)) != 0:
                    code = numba.uint64(x)
                    goes = (
                        sets[(word & numba.uint64(0xFFFFFFFF)) + (code >> numba.uint64(6))] >> (code & numba.uint64(63))
                    ) & one != 0
                step = distance if goes else min(distance, one)
                ends[i] += numba.int32(step)
                walking |= step


@numba.njit(inline="always")
def _add(total, leaves, numbers, per_leaf, rows_apart):
    for o in range(per_leaf):
        to = like(total, address(total) + numba.uint64(o * rows_apart))
        for r in range(BLOCK):
            to[r] += leaves[numbers[r] * per_leaf + o]


@numba.njit(error_model="numpy", nogil=True)
def evaluate(columns, start, n, spec, cuts, leaves, out, scratch):
    """Score ``n`` rows from row ``start`` on.

    The answer is not 0 where a row has something that is left to the framework. ``columns``: four words to a feature: address,
    kind, address of the validity bits or 0, first bit. ``spec``: addresses and sizes in the order in which
    :mod:`~sparkml_lifecycle.evaluators.trees.evaluator` writes them. ``out``: one output after the other. A tile of several
    blocks goes through a part of the trees before the next part is read.
    """
    n_features, n_planes, n_segments, n_outputs, per_leaf = spec[0], spec[1], spec[2], spec[3], spec[4]
    features, planes, segments = i64(numba.uint64(spec[5])), i64(numba.uint64(spec[6])), i64(numba.uint64(spec[7]))
    conditions, groups = i64(numba.uint64(spec[8])), i64(numba.uint64(spec[9]))
    ops, trees = i32(numba.uint64(spec[10])), i64(numba.uint64(spec[11]))
    exits, nodes, sets = i32(numba.uint64(spec[12])), u64(numba.uint64(spec[13])), u64(numba.uint64(spec[14]))
    walks, total_rows, tables = spec[15], spec[16], u64(numba.uint64(spec[17]))
    tile = spec[29]
    registers = scratch + numba.uint64(spec[18])
    ranks = scratch + numba.uint64(spec[19])
    keys, codes = f32(scratch + numba.uint64(spec[20])), i32(scratch + numba.uint64(spec[21]))
    p, index = i32(scratch + numba.uint64(spec[22])), u8(scratch + numba.uint64(spec[23]))
    index_at = scratch + numba.uint64(spec[23])
    matrix, ends = u64(scratch + numba.uint64(spec[24])), i32(scratch + numba.uint64(spec[25]))
    total, v = like(leaves, scratch + numba.uint64(spec[26])), like(cuts, scratch + numba.uint64(spec[27]))
    base = like(leaves, numba.uint64(spec[28]))
    bits = registers + numba.uint64(128)
    zeros = u64(registers)
    for w in range(_WORDS):
        zeros[w] = 0
        zeros[_WORDS + w] = 0xFFFFFFFFFFFFFFFF
    status = 0
    for first in range(0, n, tile * BLOCK):
        blocks = min(tile, (n - first + BLOCK - 1) // BLOCK)
        for b in range(blocks):
            status |= _prepare(
                columns, start + first + b * BLOCK, min(BLOCK, n - first - b * BLOCK), n_features, features, planes, cuts,
                v, p, ranks + numba.uint64(b * BLOCK * n_planes), i32(address(codes) + numba.uint64(4 * b * BLOCK * n_features)),
                f32(address(keys) + numba.uint64(4 * b * BLOCK * n_features)), walks,
            )  # fmt: skip
        for o in range(n_outputs):
            for r in range(blocks * BLOCK):
                total[o * tile * BLOCK + r] = base[o]
        for s in range(n_segments):
            for b in range(blocks):
                own_ranks = ranks + numba.uint64(b * BLOCK * n_planes)
                own_codes = address(codes) + numba.uint64(4 * b * BLOCK * n_features)
                own_keys = f32(address(keys) + numba.uint64(4 * b * BLOCK * n_features))
                for c in range(segments[6 * s], segments[6 * s + 1]):
                    at_least(
                        registers + numba.uint64(conditions[3 * c]),
                        own_ranks + numba.uint64(conditions[3 * c + 1]),
                        numba.uint8(conditions[3 * c + 2]),
                    )
                for g in range(segments[6 * s + 2], segments[6 * s + 3]):
                    _ask_sets(
                        i32(own_codes + numba.uint64(4 * BLOCK * groups[5 * g])),
                        u64(address(tables) + numba.uint64(8 * groups[5 * g + 1])),
                        groups[5 * g + 2],
                        groups[5 * g + 3],
                        matrix,
                        u64(registers + numba.uint64(groups[5 * g + 4])),
                    )
                for t in range(segments[6 * s + 4], segments[6 * s + 5]):
                    tree = i64(address(trees) + numba.uint64(56 * t))
                    for k in range(tree[0], tree[1]):
                        choose(
                            registers + numba.uint64(ops[4 * k + 3]),
                            registers + numba.uint64(ops[4 * k]),
                            registers + numba.uint64(ops[4 * k + 1]),
                            registers + numba.uint64(ops[4 * k + 2]),
                        )
                    if tree[2] <= 4:
                        _expand4(index_at, bits)
                    elif tree[2] == 5:
                        _expand5(index_at, bits)
                    elif tree[2] == 6:
                        _expand6(index_at, bits)
                    elif tree[2] == 7:
                        _expand7(index_at, bits)
                    else:
                        _expand8(index_at, bits)
                    own = like(leaves, address(leaves) + numba.uint64(tree[3]))
                    apart = tree[6] * tile * BLOCK
                    to = like(leaves, address(total) + numba.uint64(tree[5] * apart + tree[6] * b * BLOCK))
                    if tree[4] >= 0:
                        exit_of = i32(address(exits) + numba.uint64(4 * tree[4]))
                        for r in range(BLOCK):
                            ends[r] = exit_of[index[r]]
                        _walk(nodes, sets, walks & 2, own_keys, n_features, ends)
                        for r in range(BLOCK):
                            ends[r] = numba.int32(nodes[ends[r]] & numba.uint64(0xFFFFFFFF))
                        _add(to, own, ends, per_leaf, apart)
                    else:
                        _add(to, own, index, per_leaf, apart)
        rows = min(tile * BLOCK, n - first)
        for o in range(n_outputs):
            for r in range(rows):
                out[o * total_rows + start + first + r] = total[o * tile * BLOCK + r]
    return status


_REALS = {"f32": types.float32, "f64": types.float64}


def compiled(form):
    """The dispatcher and the signature of a form such as ``f32-f64``: the precision of comparing and of adding up."""
    compare, add = form.split("-")
    pointer = types.CPointer
    signature = (
        pointer(types.int64),
        types.int64,
        types.int64,
        pointer(types.int64),
        pointer(_REALS[compare]),
        pointer(_REALS[add]),
        pointer(_REALS[add]),
        types.uint64,
    )
    return evaluate, signature
