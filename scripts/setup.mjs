// What `npm start` and `npm test` need before they can begin, on a bare clone.

import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import process from "node:process";

/** Runs a command in the foreground and ends this process with its status if it fails. */
export function run(command, args) {
  const { status, error } = spawnSync(command, args, { stdio: "inherit" });
  if (error) console.error(`${command}: ${error.message}`);
  if (status !== 0) process.exit(status ?? 1);
}

/** Installs the packages of the lock file, unless that was done since it changed. */
export function installPackages() {
  const installed = "node_modules/.package-lock.json";
  if (existsSync(installed) && modified(installed) >= modified("package-lock.json")) return;
  run("npm", ["ci", "--no-audit", "--no-fund"]);
}

/** Compiles one project and what it refers to; quick when nothing changed. */
export function build(project) {
  run(process.execPath, ["node_modules/typescript/bin/tsc", "-b", project]);
}

/** Makes sure of Chromium. On Debian as root it is installed; elsewhere the command is printed. */
export function installChromium() {
  const chromium = process.env.CHROMIUM_PATH ?? "/usr/bin/chromium";
  // The fonts are for the screenshots in Chinese; without them there are boxes, and no test fails.
  const fonts = "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc";
  if (isDebian() && process.getuid?.() === 0 && !(existsSync(chromium) && existsSync(fonts))) {
    run("apt-get", ["update", "-qq"]);
    run("apt-get", ["install", "-y", "-qq", "chromium", "fonts-noto-cjk"]);
  }
  if (existsSync(chromium)) return;
  const hint = "Chromium is missing: apt-get install chromium, or set CHROMIUM_PATH.";
  if (process.env.CI) {
    console.error(hint);
    process.exit(1);
  }
  console.warn(`${hint} The browser tests will be reported as skipped.`);
}

function isDebian() {
  return (
    existsSync("/etc/os-release") &&
    /^(ID|ID_LIKE)=.*debian/m.test(readFileSync("/etc/os-release", "utf8"))
  );
}

function modified(path) {
  return statSync(path).mtimeMs;
}
