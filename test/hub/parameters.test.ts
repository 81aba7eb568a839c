import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parametersOf } from "#dist/hub/parameters.js";

/** Methods in the ways they can be written; made from text, so that no compiler changes them. */
const rows: [source: string, required: number, maximum: number][] = [
  ["m() {}", 0, 0],
  ["m( ) { return f(1, 2); }", 0, 0],
  ["m(a) {}", 1, 1],
  ["m(a, b) {}", 2, 2],
  ["m(a, b,) {}", 2, 2],
  ["m(a, b = 1) {}", 1, 2],
  ["m(a, b = 1, c) {}", 1, 3],
  ["m(a, b = f(1, 2)) {}", 1, 2],
  ["m(a, b = [1, 2], c = { d: 1, e: 2 }) {}", 1, 3],
  ["m(a, b = (c, d) => c + d) {}", 1, 2],
  ["m(a, b = function (c, d) { return c; }) {}", 1, 2],
  ["m({ a, b }, [c, d]) {}", 2, 2],
  ["m({ a, b } = {}, [c, d] = []) {}", 0, 2],
  ["m(...rest) {}", 0, Infinity],
  ["m(a, ...rest) {}", 1, Infinity],
  ["m(a, b = 1, ...[c, d]) {}", 1, Infinity],
  ["async m(a, b) {}", 2, 2],
  ["*m(a, b) {}", 2, 2],
  ["async *m(a, b = 1) {}", 1, 2],
  ["m(/* a, b */ a /* , */) {}", 1, 1],
  ["m(\n  a, // first, and only\n  b,\n) {}", 2, 2],
  ['m(a = ",", b = ")") {}', 0, 2],
  ["m(a = '(', b = '\\'') {}", 0, 2],
  ["m(a = `,$" + "{1}`, b = `)`) {}", 0, 2],
  ['m(a = "http://x", b) {}', 0, 2],
  ["'a(b, c'(a) {}", 1, 1],
  ["['m' + f(1, 2)](a, b = 1) {}", 1, 2],
];

describe("parameters", () => {
  for (const [source, required, maximum] of rows) {
    it(`of ${source.replace(/\s+/g, " ")}`, () => {
      const [method] = Object.values(new Function("f", `return { ${source} };`)(() => "m"));
      assert.deepEqual(parametersOf(method as () => void), { required, maximum });
    });
  }

  const lenient: [name: string, method: (...args: never[]) => unknown, required: number][] = [
    ["a native function", Math.max, 2],
    ["a wrapper that takes anything", (...args) => args, 0],
  ];
  for (const [name, method, required] of lenient) {
    it(`of ${name} let everything pass`, () => {
      const count = parametersOf(method);
      assert.equal(count.required, required);
      assert.ok(count.maximum >= required);
    });
  }

  it("are counted for each call", async () => {
    // A regular expression that looks like the end of the list errs on the side of more.
    const method = new Function("return { m(a = /\\(/, b) {} }.m;")();
    assert.ok(parametersOf(method).maximum >= 2);
  });
});
