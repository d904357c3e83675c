"""Streaming reductions: several reductions over one axis, done in one ordered pass.

    m[i] = max[j] x[i, j]                        -->   the same, and
    l[i] = sum[j] exp(x[i, j] - m[i])                  stream[j] { m; l repair  l * exp(old.m - new.m) }

A sum whose summand refers to earlier results over the same axis keeps its state relative to the results so far; when
these change, the state is multiplied by T(old, new), which action.py derives and sampling.py tests (docs/rules.md,
section 1). The repair keeps a state whose references did not change, and resets one whose maximum was still the
identity: exp(-inf + inf) is never formed, and what a masked prefix left behind is dropped. What makes summands fit:

  - pointwise definitions in between are inlined:  e = exp(x - m); l = sum e
  - references are running maxima and minima, and no summand may overflow before they have come (`stays_bounded`)
  - a factor that does not move along the axis, and refers to a sum, leaves the sum:
        o = sum[j] e / l * v  -->  o$0 = sum[j] e * v; o = o$0 / l       (over nothing it stays the identity)
  - a square about the mean becomes one about the running mean, merged by counts (Chan, Golub, LeVeque 1983):
        q = sum[j] (x - s / N)**2  -->  c = sum[j] 1; q = sum[j] (x - s / c)**2, repair old.q + old.c * (difference)**2

Reductions that refer to nothing join a stream that reads the same elements. Runs when names have been seen through
(inline) and equal definitions merged (cse); what it leaves unread is removed after it (dce).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

from ...ir.dtypes import DType
from ...ir.expr import Call, Cast, Const, Expr, Fn, Read, Var, as_int, reads, rewrite, variables
from ...ir.monoids import builtin
from ...ir.op import Component, Definition, Op, Pointwise, Reduction, Stream, Tensor
from ...ir.typing import TypeEnv, infer
from ..remembered import positions
from .action import ONE, transfer
from .compose import compose, size
from .elaborating import elaborated, elaborated_stream, state_types, tensor_types
from .hoist import PLACEHOLDER, hoist
from .inline import MAX_SIZE, inlinable
from .names import fresh, used_names
from .repair import chan_repair, factor_repair
from .sampling import equal_on_samples, stays_bounded
from .stream_group import Group, align
from .summand import Summand


@dataclass(frozen=True)
class Streaming:
    """`independent`: let reductions that refer to nothing share a pass over what they read. `nested`: also stream
    reductions over several axes, by their first one, the others inside each step. `most`: components of one stream,
    whose states are all alive at once. `reach`: reductions that are tried for one stream."""

    independent: bool = True
    nested: bool = False
    most: int = 16
    reach: int = 64
    name: ClassVar[str] = "streaming"
    form: ClassVar[str] = "op"

    def run(self, op: Op) -> Op:
        return _Streams(op, self).run()


@dataclass
class _Seen:
    """The definitions of `op` before number `upto`: which tensors depend on `members`, other than the members, and
    which of these cannot be inlined all the way back to the members."""

    op: Op
    upto: int
    members: tuple[str, ...]
    dependent: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)


class _Streams:
    def __init__(self, op: Op, options: Streaming) -> None:
        self.op = op
        self.options = options
        self.taken = used_names(op)
        self.grouped = {c.target for s in op.streams for c in s.components}
        self.reductions = [d.name for d in op.definitions if self.streamable(d)]
        self.seen = _Seen(op, 0, ())

    def run(self) -> Op:
        streams = list(self.op.streams)
        for number, name in enumerate(self.reductions):
            d = self.op.definition_of(name)
            if d is None or name in self.grouped or not self.streamable(d):
                continue
            group = self.collect(d, self.reductions[number + 1 : number + 1 + self.options.reach])
            if len(group.components) > 1:
                self.grouped |= {c.target for c in group.components}
                streams.append(elaborated_stream(Stream(group.bound[0].name, tuple(group.components)), self.op))
        return replace(self.op, streams=tuple(streams))

    def collect(self, d: Definition, others: list[str]) -> Group:
        assert isinstance(d.body, Reduction)
        group = Group(d.body.axes, d.body.guard, d.axes)
        group.members[d.name] = d
        group.components.append(Component(d.name))
        for name in others:
            candidate = self.op.definition_of(name)
            if len(group.components) >= self.options.most:
                break
            if candidate is not None and name not in self.grouped and self.streamable(candidate):
                self.admit(candidate, group)
        return group

    # admission -----------------------------------------------------------------------------------------------------

    def admit(self, d: Definition, group: Group) -> None:
        """Adds `d` to the group, with what has to be rewritten for it, where the rules allow."""
        seen = self.look_back(d, group)
        if any(r.tensor in seen.kept for r in d.reads):
            return  # it would have to wait for something that the group must finish first
        exposed = self.expose(d, group)
        refers = {r.tensor for r in exposed.reads} & set(group.members)
        if not refers and not self.options.independent:
            return
        named = align(exposed, group, bool(refers), self.taken)
        if named is None or self.depends_otherwise(named, d, group):
            return
        if not refers:
            if 2 * len(group.components) >= self.options.most:
                return  # half the room is for what refers to these
            self.commit(group, d, (named,), Component(d.name))
            return
        if _monoid_fn(named) is not Fn.ADD or any(not self.is_exact(t, group) for t in refers):
            return
        _ = self.admit_factor(d, named, group) or self.admit_square(d, named, group)

    def admit_factor(self, d: Definition, named: Definition, group: Group) -> bool:
        assert isinstance(named.body, Reduction)
        summand = Summand(named.body.args[0], frozenset(group.members), group.bound_names)
        sums = frozenset(m for m, x in group.members.items() if _monoid_fn(x) not in (Fn.MAX, Fn.MIN))
        inner, outer = hoist(summand, sums)
        t = self.factor_of(replace(summand, expr=inner), group)
        if t is None:
            return False
        if outer is not None:
            return self.admit_hoisted(d, named, inner, outer, t, group)
        repair = None if t == ONE else factor_repair(d.name, t, group.members)
        self.commit(group, d, (named,), Component(d.name, repair))
        return True

    def factor_of(self, s: Summand, group: Group) -> Expr | None:
        """T of a summand that can be streamed: stated by references and symbols alone, and safe on the way. A sum is no
        safe reference: it may pass through any value before its last."""
        own: dict[str, Expr] = {}
        for name in {r.tensor for r in reads(s.expr)} & set(group.members):
            m = group.members[name]
            if _monoid_fn(m) not in (Fn.MAX, Fn.MIN):
                return None
            assert isinstance(m.body, Reduction)
            own[name] = m.body.args[0]
        types = tensor_types(self.op)
        t = transfer(s, types)
        if t is None or reads(t) or not variables(t) <= {x.name for x in self.op.symbols}:
            return None
        return t if not own or stays_bounded(s, own, types) else None

    def admit_hoisted(self, d: Definition, named: Definition, inner: Expr, outer: Expr, t: Expr, group: Group) -> bool:
        """`outer` is what becomes of the sum once `inner` has been summed."""
        body = named.body
        assert isinstance(body, Reduction)
        state = state_types(body, d)[0] or d.targets[0].dtype.arithmetic
        part = fresh(d.name, self.taken, "sum")
        here = tuple(Var(a.name) for a in named.axes)
        target = replace(named.targets[0], name=part, dtype=state)
        summed = replace(named, targets=(target,), body=replace(body, args=(inner,)))
        done: Expr = rewrite(
            outer,
            lambda e: replace(e, tensor=part, index=here) if isinstance(e, Read) and e.tensor == PLACEHOLDER else None,
        )
        extra: tuple[Definition, ...] = ()
        nothing, count = self.nothing(Read(part, here), group, named)
        if count is not None:
            extra = (count,)
        if nothing is not None:
            done = Call(Fn.SELECT, (nothing, body.monoid.identity[0], done))
        scaled = replace(named, body=Pointwise(done))
        for c in extra:
            self.join(group, c, Component(c.name))
        repair = None if t == ONE else factor_repair(part, t, group.members)
        self.commit(group, d, (*extra, summed, scaled), Component(part, repair))
        return True

    def nothing(self, total: Read, group: Group, named: Definition) -> tuple[Expr | None, Definition | None]:
        """The condition under which nothing was summed (None: never), and a count to be added if that needs one."""
        inner = any(variables(e) & group.bound_names for a in group.bound for e in (a.lo, a.hi))
        if group.guard is None and not inner:
            empty: Expr | None = None
            for a in group.bound:
                lo, hi = as_int(a.lo), as_int(a.hi)
                if lo is None or hi is None or lo >= hi:
                    test = Call(Fn.GE, (a.lo, a.hi))
                    empty = test if empty is None else Call(Fn.OR, (empty, test))
            return empty, None
        for name, m in group.members.items():
            assert isinstance(m.body, Reduction)
            if _monoid_fn(m) in (Fn.MAX, Fn.MIN) and m.targets[0].dtype.is_float:
                # Elements that are all the identity themselves left a NaN in the total, or nothing worth keeping.
                unseen = Call(Fn.EQ, (Read(name, tuple(Var(a.name) for a in m.axes)), m.body.monoid.identity[0]))
                zero = Call(Fn.EQ, (total, Const(0.0)))
                return Call(Fn.AND, (unseen, zero)), None
        count = self.count(group)
        if count.name in group.members:
            return Call(Fn.EQ, (Read(count.name, tuple(Var(a.name) for a in count.axes)), Const(0.0))), None
        return Call(Fn.EQ, (Read(count.name, tuple(Var(a.name) for a in count.axes)), Const(0.0))), count

    def admit_square(self, d: Definition, named: Definition, group: Group) -> bool:
        """A sum of squares about the mean of a member."""
        body = named.body
        assert isinstance(body, Reduction)
        if group.guard is not None or any(as_int(a.lo) != 0 for a in group.bound):
            return False
        referred = {r.tensor for r in named.reads} & set(group.members)
        if len(referred) != 1:
            return False
        name = referred.pop()
        s = group.members[name]
        assert isinstance(s.body, Reduction)
        if _monoid_fn(s) is not Fn.ADD or s.targets[0].dtype is not (state := s.targets[0].dtype.arithmetic):
            return False
        if not state.is_float or (state_types(body, d)[0] or state) is not state:
            return False
        here = Read(name, tuple(Var(a.name) for a in s.axes))
        x = s.body.args[0]
        extent = group.bound[0].hi
        for a in group.bound[1:]:
            extent = Call(Fn.MUL, (extent, a.hi))
        from_mean = Call(Fn.SUB, (x, Call(Fn.DIV, (here, Cast(state, extent)))))
        types = tensor_types(self.op)
        if not equal_on_samples(body.args[0], Call(Fn.MUL, (from_mean, from_mean)), types):
            return False
        count = self.count(group, state)
        running = Call(Fn.DIV, (here, Read(count.name, here.index)))
        away = Call(Fn.SUB, (x, running))
        squared = replace(named, body=replace(body, args=(Call(Fn.MUL, (away, away)),)))
        extra = () if count.name in group.members else (count,)
        for c in extra:
            self.join(group, c, Component(c.name))
        repair = chan_repair(d.name, name, count.name)
        self.commit(group, d, (*extra, squared), Component(d.name, repair))
        return True

    def count(self, group: Group, dtype: DType = DType.F32) -> Definition:
        """How many elements the pass has seen: a member of the group, or a new definition."""
        one = Const(1.0, dtype)
        for m in group.members.values():
            if isinstance(m.body, Reduction) and m.body.args == (one,) and _monoid_fn(m) is Fn.ADD:
                return m
        shape = tuple(a.hi for a in group.free)
        target = Tensor(fresh(next(iter(group.members)), self.taken, "count"), dtype, shape)
        return Definition((target,), group.free, Reduction(builtin("sum", dtype), group.bound, (one,), group.guard))

    # pieces --------------------------------------------------------------------------------------------------------

    def streamable(self, d: Definition) -> bool:
        """One value, reduced in an order that may be chosen."""
        if not isinstance(d.body, Reduction) or len(d.targets) != 1 or not d.body.monoid.commutative:
            return False
        return len(d.body.axes) == 1 or self.options.nested

    def expose(self, d: Definition, group: Group) -> Definition:
        """`d` with the pointwise definitions inlined that depend on the group."""
        whole = d
        dependent = self.look_back(d, group).dependent
        while any(r.tensor in dependent for r in d.reads):
            axes = d.axes + (d.body.axes if isinstance(d.body, Reduction) else ())

            def rule(e: Expr) -> Expr | None:
                if not isinstance(e, Read) or e.tensor not in dependent:
                    return None
                found = self.op.definition_of(e.tensor)
                if found is None or not inlinable(found):
                    return None
                return compose(e, found, self.op, axes)  # noqa: B023

            assert isinstance(d.body, Reduction)
            args = tuple(rewrite(a, rule) for a in d.body.args)
            if any(size(a) > MAX_SIZE for a in args):
                return whole  # too much hangs between the reductions to recompute it
            if args == d.body.args:
                break
            d = replace(d, body=replace(d.body, args=args))
        return d

    def look_back(self, d: Definition, group: Group) -> _Seen:
        """What stands between the group and `d`, a definition of the op."""
        place = positions(self.op)
        seen = self.seen
        if seen.op is not self.op or seen.members != tuple(group.members):
            first = min(place[m] for m in group.members)
            self.seen = seen = _Seen(self.op, first, tuple(group.members))
        for x in self.op.definitions[seen.upto : place[d.name]]:
            if x.name in group.members:
                continue
            tensors = {r.tensor for r in x.reads}
            if not tensors.isdisjoint(seen.dependent) or not tensors.isdisjoint(group.members):
                seen.dependent.update(x.target_names)
                if not inlinable(x) or not tensors.isdisjoint(seen.kept):
                    seen.kept.update(x.target_names)
        seen.upto = max(seen.upto, place[d.name])
        return seen

    def depends_otherwise(self, d: Definition, whole: Definition, group: Group) -> bool:
        """Whether `d`, made of `whole`, depends on the group in another way than through references in its summand."""
        assert isinstance(d.body, Reduction)
        dependent = self.look_back(whole, group).dependent
        if any(r.tensor in dependent for r in d.reads):
            return True
        plain = [e for a in d.body.axes for e in (a.lo, a.hi)] + ([d.body.guard] if d.body.guard is not None else [])
        inner = [e for r in d.reads for e in (*r.index, *((r.fill,) if r.fill is not None else ()))]
        return any(r.tensor in group.members for e in plain + inner for r in reads(e))

    def is_exact(self, name: str, group: Group) -> bool:
        """Whether the running value of a member is the value that a read of its tensor gives: nothing is rounded."""
        d = group.members[name]
        assert isinstance(d.body, Reduction)
        state = state_types(d.body, d)[0] or infer(d.body.args[0], TypeEnv(tensor_types(self.op)))
        target = d.targets[0].dtype
        if state is target:
            return True
        arg = d.body.args[0]
        if _monoid_fn(d) not in (Fn.MAX, Fn.MIN) or state is not target.arithmetic:
            return False
        return isinstance(arg, Read) and self.op.tensors[arg.tensor].dtype is target and arg.fill is None

    def join(self, group: Group, d: Definition, component: Component) -> None:
        group.members[component.target] = d
        group.components.append(component)

    def commit(self, group: Group, d: Definition, new: tuple[Definition, ...], component: Component) -> None:
        """Puts `new` in the place of `d` and makes the component's definition a member."""
        types = tensor_types(self.op) | {t.name: t.dtype for x in new for t in x.targets}
        typed = tuple(elaborated(x, types) for x in new)
        out = []
        for old in self.op.definitions:
            out += list(typed) if old.name == d.name else [old]
        self.op = replace(self.op, definitions=tuple(out))
        self.join(group, next(x for x in typed if x.name == component.target), component)


def _monoid_fn(d: Definition) -> Fn | None:
    return d.body.monoid.fn if isinstance(d.body, Reduction) else None
