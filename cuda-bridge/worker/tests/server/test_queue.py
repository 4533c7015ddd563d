"""The line of calls by itself, against what is said of it, for any order of arrivals, uploads, cancels and runs."""

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st
from ringside_worker.queue import Line


@dataclass(eq=False)
class Call:
    owner: str
    number: int
    ready: bool


steps = st.lists(
    st.tuples(st.sampled_from(["join", "join", "ready", "leave", "next", "done", "block"]), st.integers(0, 30)),
    max_size=60,
)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(steps)
def test_the_line(moves):
    blocked, told, order, number = set(), {}, {}, 0
    line = Line(6, lambda owner: owner not in blocked)
    for move, pick in moves:
        some = line.waiting[pick % len(line.waiting)] if line.waiting else None
        if move == "join" and not line.full:
            number += 1
            line.join(Call("abc"[pick % 3], number, pick % 2 == 0))
        elif move == "ready" and some:
            some.ready = True
        elif move == "leave" and some:
            assert line.leave(some) and not line.leave(some)
        elif move == "next":
            before = list(line.waiting)
            was = line.running
            call = line.next()
            if was is not None:
                assert call is None and line.running is was
            elif call is None:
                firsts = [
                    next(each for each in before if each.owner == owner) for owner in {each.owner for each in before}
                ]
                assert not any(each.ready and each.owner not in blocked for each in firsts), "one could have run"
            else:
                assert call is line.running and call.ready and call.owner not in blocked
                assert call.number > order.get(call.owner, 0), "the calls of a connection keep their order"
                order[call.owner] = call.number
                # It was the first of those that could run.
                for each in before[: before.index(call)]:
                    assert (
                        not each.ready
                        or each.owner in blocked
                        or any(other.owner == each.owner for other in before[: before.index(each)])
                    )
        elif move == "done":
            line.done()
        elif move == "block":
            blocked ^= {"abc"[pick % 3]}
        news = line.news()
        for call, place in news:
            assert told.get(call) != place, "only what has changed is told"
            told[call] = place
        assert [told[call] for call in line.waiting if call.ready] == list(
            range(1, 1 + sum(call.ready for call in line.waiting))
        )
        assert line.news() == []
        assert len(line.waiting) + (line.running is not None) <= 7
