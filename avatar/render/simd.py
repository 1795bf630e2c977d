"""Eight pixels at a time: the inner loops of the CPU rasterizer as explicit <8 x float> LLVM IR.

LLVM does not vectorize these loops from plain numba (rows are short, their ends ragged, the stores masked, ten planes
might alias): written out they run several times faster. The vector type is portable: AVX2 on x86, two NEON registers
on ARM. Addresses are byte addresses of float32 data, unaligned; eight floats from each must be readable and writable
(row padding sees to it).
"""

from __future__ import annotations

from time import CLOCK_MONOTONIC

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from avatar.render.contract import CUTOFF, HIT_FULL, OPEN_FULL

LANES = 8
TINY = 1e-9  # a sum of weights is 0 or at least .016, the weight at the cut-off
WEIGHT_FLOOR = float(np.float32(1 - CUTOFF / 32))  # of the base that is raised to the sixteenth: below it, weight 0

_FLOAT, _I32, _I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_VECTOR = ir.VectorType(_FLOAT, LANES)


class _Lanes:
    """Shorthand around an IR builder for <8 x float> arithmetic."""

    def __init__(self, builder):
        self.b = builder
        fma = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
        self._fma = cgutils.get_or_insert_function(builder.module, fma, f"llvm.fma.v{LANES}f32")
        self.iota = ir.Constant(_VECTOR, [float(i) for i in range(LANES)])

    def fma(self, a, b, c):
        return self.b.call(self._fma, [a, b, c])

    def constant(self, x: float):
        return ir.Constant(_VECTOR, [float(np.float32(x))] * LANES)

    def splat(self, scalar):
        undefined = ir.Constant(_VECTOR, ir.Undefined)
        one = self.b.insert_element(undefined, scalar, ir.Constant(_I32, 0))
        return self.b.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES))

    def at_least(self, a, b):
        return self.b.select(self.b.fcmp_ordered(">", a, b), a, b)

    def at_most(self, a, b):
        return self.b.select(self.b.fcmp_ordered("<", a, b), a, b)

    def pointer(self, address):
        return self.b.inttoptr(address, _VECTOR.as_pointer())

    def load(self, pointer):
        return self.b.load(pointer, align=4)

    def store(self, value, pointer):
        self.b.store(value, pointer, align=4)

    def any(self, mask):
        bits = self.b.bitcast(mask, ir.IntType(LANES))
        return self.b.icmp_unsigned("!=", bits, ir.Constant(ir.IntType(LANES), 0))


@intrinsic
def splat_row8(typing, sums, plane, depth, t0, curvature, peak, limit, c0, c1, c2, deficit):
    """Add one Gaussian to eight pixels of a row.

    sums: address of the weight sum; the sums of colour (3) and of weight times deficit follow, `plane` bytes apart.
    depth: address of the inverse depth of the occluder (0: none). The base is peak - curvature (t0 + lane)^2, the
    weight its sixteenth power; it counts where the base is over WEIGHT_FLOOR and the inverse depth at most `limit`.
    deficit: 1 - opacity; its plane is left alone when it is 0.
    """
    f = types.float32
    signature = types.void(types.int64, types.int64, types.int64, f, f, f, f, f, f, f, f)

    def generate(context, builder, signature, args):
        sums, plane, depth, t0, curvature, peak, limit, c0, c1, c2, deficit = args
        v = _Lanes(builder)
        t = builder.fadd(v.splat(t0), v.iota)
        base = v.fma(builder.fmul(t, v.splat(builder.fneg(curvature))), t, v.splat(peak))
        inside = builder.fcmp_ordered(">", base, v.constant(WEIGHT_FLOOR))
        seen = builder.fcmp_ordered("<=", v.load(v.pointer(depth)), v.splat(limit))
        mask = builder.and_(inside, seen)
        with builder.if_then(v.any(mask), likely=True):
            w = base
            for _ in range(4):
                w = builder.fmul(w, w)
            w = builder.select(mask, w, v.constant(0))
            address = sums
            p = v.pointer(address)
            v.store(builder.fadd(v.load(p), w), p)
            for c in (c0, c1, c2):
                address = builder.add(address, plane)
                p = v.pointer(address)
                v.store(v.fma(w, v.splat(c), v.load(p)), p)
            with builder.if_then(builder.fcmp_ordered("!=", deficit, ir.Constant(_FLOAT, 0.0)), likely=False):
                p = v.pointer(builder.add(address, plane))
                v.store(v.fma(w, v.splat(deficit), v.load(p)), p)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def depth_row8(typing, depth, w1, w2, step1, step2, slack, i0, i01, i02):
    """Draw eight pixels of a triangle's row into the inverse-depth buffer at address `depth`, nearest wins.

    w1, w2: barycentrics of the second and third corner at the first pixel; step1, step2: their change per pixel. A
    pixel is covered when no barycentric is under -slack. i0 + w1 i01 + w2 i02 is the inverse depth.
    """
    f = types.float32
    signature = types.void(types.int64, f, f, f, f, f, f, f, f)

    def generate(context, builder, signature, args):
        depth, w1, w2, step1, step2, slack, i0, i01, i02 = args
        v = _Lanes(builder)
        a = v.fma(v.splat(step1), v.iota, v.splat(w1))
        b = v.fma(v.splat(step2), v.iota, v.splat(w2))
        low = v.splat(builder.fneg(slack))
        high = v.splat(builder.fadd(ir.Constant(_FLOAT, 1.0), slack))
        mask = builder.fcmp_ordered("<=", builder.fadd(a, b), high)
        for w in (a, b):
            mask = builder.and_(mask, builder.fcmp_ordered(">=", w, low))
        with builder.if_then(v.any(mask)):
            p = v.pointer(depth)
            old = v.load(p)
            inverse = v.fma(b, v.splat(i02), v.fma(a, v.splat(i01), v.splat(i0)))
            mask = builder.and_(mask, builder.fcmp_ordered(">", inverse, old))
            v.store(builder.select(mask, inverse, old), p)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def resolve_row8(typing, sums, plane, depth, out, out_plane):
    """Rule 4 for eight pixels: ten planes of sums -> colour times alpha (3 planes) and alpha at `out`; clears the sums.

    Planes as in splat_row8, solid then fringe. Where none of the eight has any fringe its half of the work is skipped.
    """
    signature = types.void(types.int64, types.int64, types.int64, types.int64, types.int64)

    def generate(context, builder, signature, args):
        sums, plane, depth, out, out_plane = args
        v = _Lanes(builder)
        fadd, fsub, fmul, fdiv = builder.fadd, builder.fsub, builder.fmul, builder.fdiv
        zero, one, tiny = v.constant(0), v.constant(1), v.constant(TINY)

        def planes(base, step, first, count):
            offsets = [builder.mul(step, ir.Constant(_I64, k)) for k in range(first, first + count)]
            return [v.pointer(builder.add(base, o)) for o in offsets]

        def take(pointers):
            values = [v.load(p) for p in pointers]
            for p in pointers:
                v.store(zero, p)
            return values

        def share(w, d, full):
            """A / W min(W / full, 1) and 1 / W."""
            per_w = fdiv(one, v.at_least(w, tiny))
            return fmul(fmul(fsub(w, d), per_w), v.at_most(fmul(w, full), one)), per_w

        result = planes(out, out_plane, 0, 4)
        ws, s0, s1, s2, ds = take(planes(sums, plane, 0, 5))
        hit = builder.fcmp_ordered(">", v.load(v.pointer(depth)), zero)
        open_full = v.constant(1 / OPEN_FULL)
        solid, per_s = share(ws, ds, builder.select(hit, v.constant(1 / HIT_FULL), open_full))
        fringe = planes(sums, plane, 5, 5)
        soft = v.any(builder.fcmp_ordered(">", v.load(fringe[0]), zero))
        with builder.if_else(soft, likely=False) as (both, solid_alone):
            with both:
                wf, f0, f1, f2, df = take(fringe)
                a, per_f = share(wf, df, open_full)
                over = fdiv(wf, v.at_least(fadd(ws, wf), tiny))
                a = fmul(a, builder.select(hit, over, one))
                under = fmul(solid, fsub(one, a))
                kf, ks = fmul(a, per_f), fmul(under, per_s)
                for p, s, f in zip(result, (s0, s1, s2), (f0, f1, f2)):
                    v.store(v.fma(s, ks, fmul(f, kf)), p)
                v.store(fadd(a, under), result[3])
            with solid_alone:
                ks = fmul(solid, per_s)
                for p, s in zip(result, (s0, s1, s2)):
                    v.store(fmul(s, ks), p)
                v.store(solid, result[3])
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def fetch_add(typing, address, step):
    """Atomically add to the int64 at `address`; returns what was there before."""
    signature = types.int64(types.int64, types.int64)

    def generate(context, builder, signature, args):
        pointer = builder.inttoptr(args[0], _I64.as_pointer())
        return builder.atomic_rmw("add", pointer, args[1], "monotonic")

    return signature, generate


@intrinsic
def seconds(typing):
    """Seconds on a clock that only runs forward (POSIX clock_gettime), without the interpreter."""
    signature = types.float64()

    def generate(context, builder, signature, args):
        kind = ir.FunctionType(_I32, [_I32, _I64.as_pointer()])
        clock = cgutils.get_or_insert_function(builder.module, kind, "clock_gettime")
        moment = cgutils.alloca_once(builder, _I64, 2)
        builder.call(clock, [ir.Constant(_I32, CLOCK_MONOTONIC), moment])
        whole, nano = (builder.load(builder.gep(moment, [ir.Constant(_I32, k)])) for k in range(2))
        to_float = lambda x: builder.sitofp(x, ir.DoubleType())  # noqa: E731
        return builder.fadd(to_float(whole), builder.fmul(to_float(nano), ir.Constant(ir.DoubleType(), 1e-9)))

    return signature, generate


@intrinsic
def prefetch(typing, address):
    """Have the cache line at `address` fetched for reading; any address will do."""
    signature = types.void(types.int64)

    def generate(context, builder, signature, args):
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, _I32, _I32, _I32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [builder.inttoptr(args[0], byte), *(ir.Constant(_I32, x) for x in (0, 3, 1))])
        return context.get_dummy_value()

    return signature, generate
