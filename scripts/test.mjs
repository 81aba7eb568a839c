// `npm test`: types, lint, every test, a count. Arguments choose test files by a part of their path.

import { readdirSync } from "node:fs";
import process from "node:process";
import { build, installChromium, installPackages, run } from "./setup.mjs";

installPackages();
installChromium();
console.log("\n— types —");
build(".");
console.log("\n— lint and format —");
run(process.execPath, [
  "node_modules/@biomejs/biome/bin/biome",
  "check",
  "--error-on-warnings",
  ".",
]);

const wanted = process.argv.slice(2);
// By the sources, so that what an older build left behind does not run.
const files = readdirSync("test", { recursive: true })
  .map((name) => String(name).replaceAll("\\", "/"))
  .filter((name) => name.endsWith(".test.ts"))
  .filter((name) => wanted.length === 0 || wanted.some((part) => name.includes(part)))
  .map((name) => `build/test/${name.replace(/\.ts$/, ".js")}`)
  .sort();
if (files.length === 0) {
  console.error(`No test file has ${wanted.join(" or ")} in its path.`);
  process.exit(1);
}
console.log(`\n— tests on Node ${process.version} —`);
run(process.execPath, [
  "--test",
  "--test-concurrency=2",
  "--test-timeout=600000",
  "--test-reporter=spec",
  "--test-reporter-destination=stdout",
  "--test-reporter=./scripts/count-reporter.mjs",
  "--test-reporter-destination=stdout",
  ...files,
]);
