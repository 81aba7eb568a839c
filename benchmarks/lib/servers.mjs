// The rivals, and how each is started.

import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

export const folder = dirname(dirname(fileURLToPath(import.meta.url)));

/**
 * @param {{ node: string, halyard?: string, profiles?: string }} options
 * @returns {import("./measure.mjs").Rival[]}
 */
export function listRivals({ node, halyard, profiles }) {
  const flags = ({ compress = false }) => (compress ? ["--compress"] : []);
  const compression = ({ compress = false }) => compress;
  const onNode = (file, name) => (scenario) => [
    ...nodeCommand(node, profiles && `${scenario.name}-${name}`, profiles),
    ...[join(folder, "servers", file), ...flags(scenario)],
  ];
  const entry = halyard === undefined ? {} : { HALYARD_ENTRY: halyard };
  const bun = findBun();
  const deno = findBinary(["deno/deno", "@deno/*/deno"]);
  return [
    { name: "halyard", command: onNode("halyard.mjs", "halyard"), env: entry },
    {
      name: "halyard-pieces",
      command: onNode("halyard.mjs", "halyard-pieces"),
      env: { ...entry, HALYARD_PIECES: "1" },
      job: { inPieces: true },
      isExtra: true,
    },
    {
      name: "ws",
      command: onNode("ws.mjs", "ws"),
      env: { WS_NO_BUFFER_UTIL: "1" },
    },
    { name: "ws+bufferutil", command: onNode("ws.mjs", "ws+bufferutil") },
    { name: "floor", command: onNode("floor.mjs", "floor"), lacks: compression },
    {
      name: "bun",
      command: (scenario) => [bun ?? "", join(folder, "servers/bun.mjs"), ...flags(scenario)],
      ...(bun === undefined && { missing: "its binary is not installed" }),
    },
    {
      name: "deno",
      lacks: compression,
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
      job: { inPieces: true },
      isSlowToWarm: true,
      ...(!hasDotnet() && { missing: "there is no dotnet on the PATH" }),
    },
  ];
}

/** A server's Node, with a profile if a folder for profiles is given. */
export function nodeCommand(node, profile, profiles) {
  const profiling = profiles && [
    ...["--cpu-prof", `--cpu-prof-dir=${profiles}`],
    `--cpu-prof-name=${profile}.cpuprofile`,
  ];
  return [node, "--expose-gc", ...(profiling ?? [])];
}

export function hasDotnet() {
  return spawnSync("dotnet", ["--version"]).status === 0;
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

/**
 * Builds an ASP.NET Core server; quick when nothing changed.
 *
 * @param {string} project - Its folder below benchmarks/.
 * @returns {string | undefined} Why not.
 */
export function buildAspnet(project) {
  const output = `build/${project.replace("servers/", "").replace("/", "-")}`;
  const args = ["publish", project, "-c", "Release", "-o", output];
  const env = { ...process.env, DOTNET_CLI_TELEMETRY_OPTOUT: "1", DOTNET_NOLOGO: "1" };
  const { status, stdout } = spawnSync("dotnet", args, { cwd: folder, env, timeout: 180_000 });
  return status === 0 ? undefined : `dotnet publish failed: ${String(stdout).slice(-500)}`;
}
