/** Builds the C# projects beside this file, once for each state of their sources, and runs them. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { once, timeLimit, withTimeout } from "../support/network.js";
import type { Target } from "./suite/case.js";
import { selfSigned } from "./tls.js";

const sources = "test/signalr";
const output = ".cache/dotnet";
const leastVersion = 10;

type Project = "Oracle" | "DotnetClient";

/** Why C# can't be built on this machine; `undefined` if it can. Nothing else is left out for it. */
export class Unavailable extends Error {}

const builds = new Map<string, Promise<string>>();

/** As {@link buildNow}, once in this process. */
export function build(project: Project, folder: string): Promise<string> {
  const known = builds.get(project) ?? buildNow(project, folder);
  builds.set(project, known);
  return known;
}

/**
 * Builds a project.
 *
 * @returns The path of what `dotnet` is to run.
 * @throws Unavailable where there is no SDK or its packages can't be had.
 */
async function buildNow(project: Project, folder: string): Promise<string> {
  const file = `${sources}/${folder}/${project}.csproj`;
  const assembly = join(output, project, "out", `${project}.dll`);
  const stamp = join(output, project, "built-from");
  const state = stateOf(folder);
  const isBuilt = () => existsSync(stamp) && readFileSync(stamp, "utf8") === state;
  const version = dotnet(["--version"]);
  if (version.error !== undefined || version.status !== 0) {
    throw new Unavailable("there is no .NET SDK on this machine");
  }
  if (Number.parseInt(version.stdout, 10) < leastVersion) {
    throw new Unavailable(`the .NET SDK is ${version.stdout.trim()}, not ${leastVersion} or later`);
  }
  await using _lock = await lock(join(output, project, "lock"));
  if (isBuilt()) return assembly;
  const restored = dotnet(["restore", file, "--nologo", "--verbosity", "quiet"]);
  if (restored.status !== 0) {
    // What NuGet has to say, in one line; anything else is a mistake in the project.
    const reason = /\bNU1\d{3}: .*/.exec(restored.stdout)?.[0];
    assert.ok(reason, `${file} can't be restored:\n${restored.stdout}${restored.stderr}`);
    throw new Unavailable(`its packages can't be had (${reason})`);
  }
  const options = ["--no-restore", "--nologo", "--configuration", "Release"];
  const built = dotnet(["build", file, ...options, "--verbosity", "quiet"]);
  assert.equal(built.status, 0, `${file} does not compile:\n${built.stdout}${built.stderr}`);
  writeFileSync(stamp, state);
  return assembly;
}

function dotnet(args: readonly string[]) {
  // A server that stays behind for the next build would hold the test's pipes open.
  const env = { ...process.env, DOTNET_CLI_TELEMETRY_OPTOUT: "1", MSBUILDDISABLENODEREUSE: "1" };
  return spawnSync("dotnet", args, { encoding: "utf8", env });
}

function stateOf(folder: string): string {
  const hash = createHash("sha256");
  const files = readdirSync(join(sources, folder)).map((name) => join(sources, folder, name));
  for (const file of [join(sources, "Directory.Build.props"), ...files.sort()]) {
    hash.update(`${file}\0`).update(readFileSync(file));
  }
  return hash.digest("hex");
}

/** Two test files may want the same project at the same time. */
async function lock(path: string): Promise<AsyncDisposable> {
  mkdirSync(join(path, ".."), { recursive: true });
  const owner = join(path, "owner");
  for (;;) {
    try {
      mkdirSync(path);
      writeFileSync(owner, String(process.pid));
      return {
        async [Symbol.asyncDispose]() {
          rmSync(path, { recursive: true, force: true });
        },
      };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      if (isAbandoned(owner)) rmSync(path, { recursive: true, force: true });
      else await sleep(50);
    }
  }
}

function isAbandoned(owner: string): boolean {
  try {
    process.kill(Number(readFileSync(owner, "utf8")), 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
}

/** Starts the application on ASP.NET Core. */
export async function startOracle(): Promise<Target> {
  const assembly = await build("Oracle", "oracle");
  const { certificatePath, keyPath } = selfSigned();
  const child = spawn("dotnet", [assembly, "--certificate", certificatePath, "--key", keyPath], {
    stdio: ["pipe", "pipe", "inherit"],
    env: { ...process.env, DOTNET_ENVIRONMENT: "Production", ASPNETCORE_URLS: "" },
  });
  const lines = createInterface({ input: child.stdout });
  const [ready] = await once(lines, "line", 4 * timeLimit);
  const [baseUrl, secureBaseUrl] = JSON.parse(ready) as [string, string];
  return {
    name: "ASP.NET Core",
    baseUrl,
    secureBaseUrl,
    startAnother: startOracle,
    stop: () => end(child),
  };
}

/** Ends a process by ending its input. */
async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  child.stdin?.end();
  await withTimeout(exited, timeLimit, "the end of the process").catch((error) => {
    child.kill("SIGKILL");
    throw error;
  });
}
