// @ts-check
"use strict";

/** What users' clients have published that nobody could hear goes back in order, however it ends and however much it is. */

const assert = require("node:assert");
const { Returns } = require("../lib/link/returns");
const { UnheardError } = require("../lib/clients/shard-publisher");

/**
 * Publishes `count` messages, of which each second one is not heard; `order` says in which order they end. Resolves to
 * those that were given back.
 *
 * @param {number} count
 * @param {(ends: (() => void)[]) => (() => void)[]} order
 */
async function given(count, order) {
  /** @type {number[]} */
  const back = [];
  /** @type {(() => void)[]} */
  const ends = [];
  const returns = new Returns(() => {});
  const published = Array.from({ length: count }, (_, n) =>
    returns.publish(
      () =>
        new Promise((resolve, reject) =>
          ends.push(() => (n % 2 ? reject(new UnheardError("nobody", true)) : resolve(1))),
        ),
      () => void back.push(n),
    ),
  );
  for (const end of order(ends)) end();
  const results = await Promise.all(published);
  assert.deepStrictEqual(
    results,
    results.map((_, n) => (n % 2 ? null : 1)),
  );
  assert.strictEqual(returns.count, back.length);
  return back;
}

describe("what is given back", () => {
  for (const [name, order] of /** @type {[string, (ends: (() => void)[]) => (() => void)[]][]} */ ([
    ["in the order of publishing", (ends) => ends],
    ["the other way round", (ends) => ends.reverse()],
    [
      "the odd ones first",
      (ends) => [...ends.filter((_, n) => n % 2), ...ends.filter((_, n) => n % 2 === 0)],
    ],
  ]))
    it(`is in order if publishes end ${name}`, async () => {
      const odd = Array.from({ length: 500 }, (_, n) => 2 * n + 1);
      assert.deepStrictEqual(await given(1000, order), odd);
    });

  it("may be as much as there is", async () => {
    assert.strictEqual((await given(200_000, (ends) => ends.reverse())).length, 100_000);
  });
});
