// The goals, as multiples of the floor and of ws, for what a server does per second of its CPU; for
// memory, the largest multiple of what ws needs.

/**
 * @typedef {object} Goal
 * @property {number} [floor] - At least this many times the floor. Where it is given, it decides.
 * @property {number} [ws] - At least this many times ws.
 * @property {number} [memory] - At most this many times what ws needs.
 * @property {boolean} [bufferutil] - Not below ws with bufferutil either.
 * @property {boolean} [belowAspnet] - May be below ASP.NET Core: node:http's parser is in the way.
 */

/** @type {Readonly<Record<string, Goal>>} */
export const goals = {
  "echo-32-1": { floor: 1, ws: 1.2 },
  "echo-32-16": { floor: 0.85, ws: 10 },
  "echo-1k-1": { floor: 1, ws: 1.2 },
  "echo-1k-16": { floor: 1.2, ws: 6 },
  "echo-16k-1": { floor: 1.15, ws: 1.25, bufferutil: true },
  "echo-16k-16": { floor: 1.15, ws: 1.25, bufferutil: true },
  "echo-1m-1": { floor: 1.5, ws: 1.4, bufferutil: true },
  "utf8-1k-16": { floor: 0.75, ws: 5 },
  "connections-1000": { floor: 1.1, ws: 1.3 },
  "broadcast-500": { floor: 1.1, ws: 1.5 },
  "open-close": { floor: 0.8, ws: 1.8, belowAspnet: true },
  "deflate-1k-1": { ws: 5 },
  "deflate-1k-16": { ws: 5 },
  "idle-5000": { memory: 1 },
  "idle-deflate-1000": { memory: 0.2 },
};

/**
 * Says whether Halyard's goal is met, and what stands in the way; empty without a goal or figures.
 *
 * @param {string} scenario
 * @param {(rival: string) => number | undefined} ratioTo - Halyard's figure over that of a rival.
 */
export function judge(scenario, ratioTo) {
  const goal = goals[scenario] ?? {};
  const verdicts = [];
  const check = (rival, text, isMet) => {
    const ratio = ratioTo(rival);
    if (ratio !== undefined) verdicts.push({ rival, text, isMet: isMet(ratio) });
  };
  const atLeast = (rival, bound) => {
    check(rival, `${bound} × ${rival}`, (ratio) => ratio >= bound);
  };
  if (goal.memory !== undefined) {
    check("ws", `at most ${goal.memory} × ws`, (ratio) => ratio <= goal.memory);
  }
  if (goal.floor !== undefined) atLeast("floor", goal.floor);
  if (goal.ws !== undefined) atLeast("ws", goal.ws);
  if (goal.bufferutil) atLeast("ws+bufferutil", 1);
  if (!goal.belowAspnet && goal.memory === undefined) atLeast("aspnet", 1);

  const missed = verdicts.filter(({ rival, isMet }) => {
    const isOverruled =
      rival === "ws" && verdicts.some((other) => other.rival === "floor" && other.isMet);
    return !isMet && !isOverruled;
  });
  if (verdicts.length === 0) return "";
  if (missed.length === 0) return "yes";
  return `no: ${missed.map(({ text }) => text).join(", ")}`;
}
