// The rivals, and how each is started.

import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

export const folder = dirname(dirname(fileURLToPath(import.meta.url)));

/**
 * @typedef {object} Rival
 * @property {string} name - What --servers takes.
 * @property {(scenario: import("./scenarios.mjs").Scenario) => string[]} command
 * @property {Record<string, string>} [env]
 * @property {readonly string[]} [kinds] - Left out of all scenarios but these.
 * @property {boolean} [canCompress]
 * @property {boolean} [inPieces] - May answer one message in several frames.
 * @property {boolean} [isSlowToWarm] - Its compiler needs most of a minute of load.
 * @property {boolean} [isExtra] - Measured only when --servers names it.
 * @property {string} [missing] - Why it cannot run here.
 */

/**
 * @param {{ node: string, halyard?: string, profiles?: string }} options
 * @returns {Rival[]}
 */
export function listRivals({ node, halyard, profiles }) {
  const flags = ({ compress = false }) => (compress ? ["--compress"] : []);
  const profiling = (scenario, name) =>
    profiles === undefined
      ? []
      : [
          ...["--cpu-prof", `--cpu-prof-dir=${profiles}`],
          `--cpu-prof-name=${scenario.name}-${name}.cpuprofile`,
        ];
  const onNode = (file, name) => (scenario) => [
    ...[node, "--expose-gc", ...profiling(scenario, name), join(folder, "servers", file)],
    ...flags(scenario),
  ];
  const entry = halyard === undefined ? {} : { HALYARD_ENTRY: halyard };
  const bun = findBun();
  const deno = findBinary(["deno/deno", "@deno/*/deno"]);
  const dotnet = spawnSync("dotnet", ["--version"]).status === 0;
  return [
    { name: "halyard", command: onNode("halyard.mjs", "halyard"), env: entry, canCompress: true },
    {
      name: "halyard-pieces",
      command: onNode("halyard.mjs", "halyard-pieces"),
      env: { ...entry, HALYARD_PIECES: "1" },
      canCompress: true,
      inPieces: true,
      isExtra: true,
    },
    {
      name: "ws",
      command: onNode("ws.mjs", "ws"),
      env: { WS_NO_BUFFER_UTIL: "1" },
      canCompress: true,
    },
    { name: "ws+bufferutil", command: onNode("ws.mjs", "ws+bufferutil"), canCompress: true },
    { name: "floor", command: onNode("floor.mjs", "floor") },
    {
      name: "bun",
      command: (scenario) => [bun ?? "", join(folder, "servers/bun.mjs"), ...flags(scenario)],
      canCompress: true,
      ...(bun === undefined && { missing: "its binary is not installed" }),
    },
    {
      name: "deno",
      command: () => [
        ...[deno ?? "", "run", "--allow-net", "--no-config", "--no-lock"],
        ...["--v8-flags=--expose-gc", join(folder, "servers/deno.mjs")],
      ],
      ...(deno === undefined && { missing: "its binary is not installed" }),
    },
    {
      name: "aspnet",
      command: (scenario) => [
        "dotnet",
        join(folder, "build/aspnet/aspnet-echo.dll"),
        ...flags(scenario),
      ],
      canCompress: true,
      inPieces: true,
      isSlowToWarm: true,
      ...(!dotnet && { missing: "there is no dotnet on the PATH" }),
    },
  ];
}

export function findBun() {
  return findBinary(["bun/bin/bun.exe", "@oven/*/bin/bun"]);
}

/** The binary itself, not the script in front of it: its CPU time is what counts. */
function findBinary(candidates) {
  for (const candidate of candidates) {
    const [scope, rest] = candidate.split("/*/");
    const paths =
      rest === undefined ? [join(folder, "node_modules", candidate)] : underScope(scope, rest);
    const found = paths.find((path) => existsSync(path) && runs(path));
    if (found !== undefined) return found;
  }
  return undefined;
}

function underScope(scope, rest) {
  const parent = join(folder, "node_modules", scope);
  return existsSync(parent) ? readdirSync(parent).map((name) => join(parent, name, rest)) : [];
}

function runs(path) {
  return spawnSync(path, ["--version"]).status === 0;
}

/** Builds the ASP.NET Core server; quick when nothing changed. @returns {string | undefined} Why not. */
export function buildAspnet() {
  const args = ["publish", "servers/aspnet", "-c", "Release", "-o", "build/aspnet"];
  const env = { ...process.env, DOTNET_CLI_TELEMETRY_OPTOUT: "1", DOTNET_NOLOGO: "1" };
  const { status, stdout } = spawnSync("dotnet", args, { cwd: folder, env, timeout: 180_000 });
  return status === 0 ? undefined : `dotnet publish failed: ${String(stdout).slice(-500)}`;
}
