import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isToken, listIncludes, parseList } from "#dist/protocol/headers.js";

describe("isToken", () => {
  it("takes exactly the characters of RFC 9110 §5.6.2", () => {
    for (let code = 0; code < 0x180; code++) {
      const character = String.fromCharCode(code);
      assert.equal(isToken(character), /^[!#$%&'*+\-.^_`|~0-9A-Za-z]$/.test(character), `${code}`);
      assert.equal(isToken(`a${character}b`), isToken(character), `${code} between others`);
    }
  });

  it("takes no empty token and nothing beyond ASCII", () => {
    for (const text of ["", "é", "語", "😀", "chat😀"]) assert.equal(isToken(text), false, text);
    assert.equal(isToken("graphql-transport-ws"), true);
  });
});

describe("parseList", () => {
  const rows = [
    { name: "absent", value: undefined, list: [] },
    { name: "empty", value: "", list: [] },
    { name: "only commas and spaces", value: " , ,\t, ", list: [] },
    { name: "one", value: "chat", list: ["chat"] },
    { name: "several", value: "chat, superchat ,x", list: ["chat", "superchat", "x"] },
    { name: "empty elements", value: ",a,, b,", list: ["a", "b"] },
    { name: "several lines", value: ["a, b", "c"], list: ["a", "b", "c"] },
    {
      name: "names of prototypes",
      value: "__proto__, constructor",
      list: ["__proto__", "constructor"],
    },
  ];
  for (const { name, value, list } of rows) {
    it(name, () => assert.deepEqual(parseList(value), list));
  }

  it("takes time in proportion to its input", () => {
    // A quadratic parser needs minutes for this (CVE-2021-32640 was one).
    const spaces = `a${" ".repeat(1_000_000)},b`;
    assert.deepEqual(parseList(spaces), ["a", "b"]);
    assert.equal(parseList(`${",".repeat(1_000_000)}b`).length, 1);
  });
});

describe("listIncludes", () => {
  it("ignores the case of letters, and finds whole elements only", () => {
    assert.ok(listIncludes("keep-alive, UpGrade", "upgrade"));
    assert.ok(listIncludes(["keep-alive", "upgrade"], "upgrade"));
    assert.ok(!listIncludes("upgraded, xupgrade, up grade", "upgrade"));
    assert.ok(!listIncludes(undefined, "upgrade"));
  });
});
