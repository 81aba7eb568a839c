// How a generator obeys: one command per line on standard input, one line of JSON for an answer.

import process from "node:process";
import { createInterface } from "node:readline";

/** Connections that are opened at a time, well below any backlog. */
export const openAtOnce = 100;

/** Whatever goes wrong in a callback ends the process, because its counts mean nothing. */
export function fail(error) {
  console.log(JSON.stringify({ error: error?.message ?? String(error) }));
  process.exit(1);
}

/** @param {Record<string, (argument: number) => Promise<object | void>>} commands */
export async function obey(commands) {
  process.on("uncaughtException", fail);
  process.on("unhandledRejection", fail);
  for await (const line of createInterface({ input: process.stdin })) {
    const [name, argument] = line.split(" ");
    const result = await commands[name](Number(argument));
    console.log(JSON.stringify(result ?? {}));
  }
  process.exit(0);
}

/**
 * Starts a load, stops it after a time, and reports when nothing is in flight any more.
 *
 * @param {number} milliseconds
 * @param {(load: { isOver: boolean, count: number }) => Promise<void>} start
 */
export async function runLoad(milliseconds, start) {
  const load = { isOver: false, count: 0 };
  const before = process.cpuUsage();
  const began = performance.now();
  const finished = start(load);
  setTimeout(() => {
    load.isOver = true;
  }, milliseconds);
  await finished;
  const seconds = (performance.now() - began) / 1000;
  const { user, system } = process.cpuUsage(before);
  return { count: load.count, seconds, cpuSeconds: (user + system) / 1e6 };
}

/**
 * Makes things in groups of `openAtOnce`.
 *
 * @template T
 * @param {number} count
 * @param {(index: number) => Promise<T>} make
 * @returns {Promise<T[]>}
 */
export async function inGroups(count, make) {
  const made = [];
  while (made.length < count) {
    const first = made.length;
    const length = Math.min(openAtOnce, count - first);
    made.push(...(await Promise.all(Array.from({ length }, (_, i) => make(first + i)))));
  }
  return made;
}

/** Closes by the closing handshake, and whoever does not answer without. */
export async function closeClients(clients) {
  for (const client of clients) {
    client.onBytes = () => {};
    client.close();
  }
  const patience = new Promise((resolve) => setTimeout(resolve, 2000));
  await Promise.race([Promise.all(clients.map(({ closed }) => closed)), patience]);
  for (const client of clients) client.destroy();
}

export function deferred() {
  let resolve;
  const promise = new Promise((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
