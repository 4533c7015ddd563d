// Learn's address and controls, and every chapter at the ends of its sliders.
import assert from "node:assert/strict";
import { test } from "node:test";
import { fromQuery, read } from "../../../web/lib/experiment/experiment.ts";
import { readPlace, writePlace } from "../../../web/views/learn/address.ts";
import { settled, valuesOf } from "../../../web/views/learn/chapter.ts";
import { chapters } from "../../../web/views/learn/chapters.ts";
import { slow } from "../../../web/views/learn/models/slow.ts";
import { say } from "../../../web/views/learn/say.ts";
import { fromQuery as planFrom, read as planRead } from "../../../web/views/planner/state.ts";
import { fromQuery as talkFrom, read as talkRead } from "../../../web/views/conversation/model.ts";

test("a place survives the address, and keeps what other views wrote there", () => {
  const given = readPlace("", chapters);
  assert.equal(given.chapter, 0);
  assert.equal(writePlace(given, chapters, "?T=7&N=2"), "T=7&N=2&learn=softmax");
  const query = "?T=7&learn=merge&merge.parts=6&merge.order=first&ring.ranks=8&ring.hop=7";
  const place = readPlace(query, chapters);
  assert.equal(chapters[place.chapter].id, "merge");
  assert.deepEqual(readPlace(writePlace(place, chapters, query), chapters), place);
  assert.equal(place.states[2].parts, 6);
  assert.equal(place.states[2].order, "first");
  assert.equal(place.states[4].hop, 7);
});

test("a wrong value in an address becomes the nearest possible one, or the initial one", () => {
  const { chapter, states } = readPlace(
    "?learn=nothing&merge.parts=5&merge.order=sideways&merge.row=many&ring.ranks=2&ring.hop=7",
    chapters,
  );
  assert.equal(chapter, 0);
  assert.ok([4, 6].includes(Number(states[2].parts)));
  assert.equal(states[2].order, "last");
  assert.equal(states[2].row, 0);
  assert.equal(states[4].hop, 1, "a ring of two has hops 0 and 1");
});

for (const { id, title, controls, model, onward } of chapters) {
  test(`${title}: computes at both ends of every control, and links to experiments that can run`, async () => {
    const initial = settled(controls, {});
    for (const [name, control] of Object.entries(controls)) {
      const values = valuesOf(control, initial);
      assert.ok(values.includes(control.initial), `${id}.${name} starts with a possible value`);
      for (const value of [values[0], values.at(-1)!]) {
        const state = settled(controls, { ...initial, [name]: value });
        assert.equal(state[name], value);
        const page = { model: await model(state, slow), state, controls: () => assert.fail() };
        for (const { href, words } of onward(page)) {
          assert.doesNotMatch(words, /NaN|undefined/);
          const [query, view] = href.split("#");
          const { problems } = view === "lab"
            ? read(fromQuery(query))
            : view === "planner"
            ? planRead(planFrom(query).draft)
            : talkRead(talkFrom(query));
          assert.deepEqual([...problems.values()], [], href);
        }
      }
    }
  });
}

test("numbers have four digits and a real minus sign; infinities and NaN have names", () => {
  assert.deepEqual([1.23456, -0.051234, 0, 12345, -Infinity, NaN, 2e-7, 1e38].map(say), [
    "1.235",
    "−0.0512",
    "0",
    "12345",
    "−∞",
    "NaN",
    "2.0e−7",
    "1.0e38",
  ]);
});
