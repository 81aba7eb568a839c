// What the servers on Node have in common.

import process from "node:process";

/** Whether the server offers permessage-deflate. */
export const compress = process.argv.includes("--compress");

/**
 * Listens on a free port of the loopback interface and tells the runner which.
 *
 * @param {import("node:net").Server} server
 */
export function listen(server) {
  // The rate of new connections is measured in bursts that the default backlog would cut.
  server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => {
    const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
    console.log(`listening ${port}`);
  });
}

// The runner asks for a collection before it reads the memory of idle connections.
process.on("SIGUSR2", () => globalThis.gc?.());

// An ordinary exit, so that a profile is written where one was asked for.
process.on("SIGTERM", () => process.exit(0));
