"""The queue of calls keeps its promises for any order of arrivals, uploads, cancels and runs."""

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st
from ringside_worker.queue import CallQueue


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
def test_the_queue(moves):
    blocked, reported, order, number = set(), {}, {}, 0
    queue = CallQueue(6, lambda owner: owner not in blocked)
    for move, pick in moves:
        some = queue.waiting[pick % len(queue.waiting)] if queue.waiting else None
        if move == "join" and not queue.full:
            number += 1
            queue.join(Call("abc"[pick % 3], number, pick % 2 == 0))
        elif move == "ready" and some:
            some.ready = True
        elif move == "leave" and some:
            assert queue.leave(some) and not queue.leave(some)
        elif move == "next":
            before = list(queue.waiting)
            was = queue.running
            call = queue.next()
            if was is not None:
                assert call is None and queue.running is was
            elif call is None:
                firsts = [
                    next(each for each in before if each.owner == owner) for owner in {each.owner for each in before}
                ]
                assert not any(each.ready and each.owner not in blocked for each in firsts), "one could have run"
            else:
                assert call is queue.running and call.ready and call.owner not in blocked
                assert call.number > order.get(call.owner, 0), "the calls of a connection keep their order"
                order[call.owner] = call.number
                # No call before it could have run.
                for each in before[: before.index(call)]:
                    assert (
                        not each.ready
                        or each.owner in blocked
                        or any(other.owner == each.owner for other in before[: before.index(each)])
                    )
        elif move == "done":
            queue.done()
        elif move == "block":
            blocked ^= {"abc"[pick % 3]}
        news = queue.news()
        for call, place in news:
            assert reported.get(call) != place, "news has only places that changed"
            reported[call] = place
        assert [reported[call] for call in queue.waiting if call.ready] == list(
            range(1, 1 + sum(call.ready for call in queue.waiting))
        )
        assert queue.news() == []
        assert len(queue.waiting) + (queue.running is not None) <= 7
