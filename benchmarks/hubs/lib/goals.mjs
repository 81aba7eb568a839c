// Halyard's goals for hubs, for what a server does per second of its CPU; for memory, bytes. Pairs
// are for JSON and for MessagePack.

/**
 * @typedef {object} Goal
 * @property {readonly [number, number]} [socketio] - At least this many times Socket.IO.
 * @property {readonly [number, number]} [aspnet] - At least this many times ASP.NET Core SignalR in
 *   the same protocol.
 * @property {number} [resident] - At most this many bytes of RAM.
 * @property {number} [heap] - At most this many bytes of what the collector manages.
 */

const both = (bound) => /** @type {const} */ ([bound, bound]);

/** @type {Readonly<Record<string, Goal>>} */
export const goals = {
  "call-32-1": { socketio: [1.35, 1.5], aspnet: both(1.1) },
  "call-32-16": { socketio: [5.5, 12], aspnet: [1.3, 2.2] },
  "call-1k-1": { socketio: [1.7, 2.3], aspnet: [1, 1.15] },
  "call-1k-16": { socketio: [4.5, 10], aspnet: [1.7, 3.2] },
  "send-32": { socketio: [3.5, 7], aspnet: [1.25, 2.5] },
  "broadcast-100-1": { socketio: both(1.7), aspnet: both(1.5) },
  "broadcast-100-4": { socketio: both(4), aspnet: both(1.9) },
  "broadcast-2k-1": { socketio: both(1.1), aspnet: both(1.35) },
  "group-50": { socketio: both(1.6), aspnet: both(1.3) },
  "stream-32": { aspnet: [1, 1.1] },
  connect: { socketio: both(2), aspnet: both(0.85) },
  "connect-negotiate": { aspnet: both(0.65) },
  "idle-5000": { resident: 7500, heap: 3000 },
};

/**
 * @param {string} scenario
 * @param {string} protocol
 * @param {"socketio" | "aspnet"} family
 */
export function bound(scenario, protocol, family) {
  return goals[scenario]?.[family]?.[protocol === "json" ? 0 : 1];
}
