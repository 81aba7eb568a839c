/** Where the suites expect another thing of Halyard than of ASP.NET Core, the documentation says so. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { it } from "node:test";
import { allGroups } from "./suite/all.js";

const page = "docs/signalr-differences.md";

it(`${page} has a row for each difference and no other`, () => {
  const expected = new Set<string>();
  const situations = new Set<string>();
  for (const { differs } of allGroups.flatMap(({ cases }) => cases)) {
    if (differs === undefined) continue;
    const { situation, aspNetCore, halyard, why } = differs;
    expected.add(`| ${situation} | ${aspNetCore} | ${halyard} | ${why} |`);
    situations.add(situation);
  }
  assert.equal(expected.size, situations.size, "one situation has two descriptions");
  const rows = readFileSync(page, "utf8")
    .split("\n")
    .filter((line) => line.startsWith("| "))
    .slice(2);
  assert.deepEqual([...rows].sort(), [...expected].sort());
});

it("no two cases of a group have the same title", () => {
  for (const { title, cases } of allGroups) {
    const titles = cases.map((each) => each.title);
    assert.equal(new Set(titles).size, titles.length, title);
  }
  assert.equal(new Set(allGroups.map(({ title }) => title)).size, allGroups.length);
});
