import type { IncomingMessage } from "node:http";
import { type UpgradableServer, upgradesFor } from "../engine/upgrade.js";

/** What one can ask a server. */
type AnyServer = UpgradableServer & { readonly listening: boolean };

/**
 * The servers that requests come by, and whether they close.
 *
 * One that `handleUpgrades` was called for says so; of others it is noticed that they listen no
 * more, since node:http tells nobody.
 */
export class Servers {
  readonly #onClosing: (server: object) => Promise<void>;
  /** Whether each was seen listening: one that never does is fed by other means. */
  readonly #seen = new Map<AnyServer, boolean>();

  constructor(onClosing: (server: object) => Promise<void>) {
    this.#onClosing = onClosing;
  }

  /** The server of a request, remembered. */
  note(request: IncomingMessage): AnyServer | undefined {
    const server = serverOf(request);
    if (typeof server?.listening !== "boolean") return undefined;
    const wasListening = this.#seen.get(server);
    if (wasListening === undefined) {
      upgradesFor(server)?.beforeClose(() => this.#onClosing(server));
    }
    if (wasListening !== true) this.#seen.set(server, server.listening);
    return server;
  }

  /** Whether a server takes WebSockets; one that is not known may. */
  takesWebSockets(server: AnyServer | undefined): boolean {
    return server === undefined || upgradesFor(server) !== undefined;
  }

  isClosing(server: AnyServer | undefined): boolean {
    return server !== undefined && !server.listening && this.#seen.get(server) === true;
  }

  /** Looks whether one closes. */
  look(): void {
    for (const server of this.#seen.keys()) {
      if (this.isClosing(server)) void this.#onClosing(server);
    }
  }
}

function serverOf(request: IncomingMessage): AnyServer | undefined {
  try {
    return (request.socket as { server?: AnyServer } | null)?.server;
  } catch {
    // The socket of a request over HTTP/2 throws when it is asked after its end.
    return undefined;
  }
}
