import { originPolicy } from "../engine/origin.js";
import { type Logger, log } from "../logger.js";
import type { Exchange } from "./exchange.js";

/** Origins that are remembered, so that a stranger cannot fill the log or the memory. */
const maxOrigins = 100;

const isSameOrigin = originPolicy("same-origin");

/** Says once per origin why a browser will refuse an answer, since the browser tells only its user. */
export class BrowserAdvice {
  readonly #logger: Logger;
  readonly #warned = new Set<string>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Looks at a request of a page whose answer is about to leave, or is left to others. */
  look(exchange: Exchange): void {
    const { origin } = exchange.request.headers;
    if (!origin || this.#warned.has(origin) || this.#warned.size >= maxOrigins) return;
    if (exchange.hasHeader("access-control-allow-origin")) return;
    if (isSameOrigin(origin, exchange.request)) return;
    this.#warned.add(origin);
    log(
      this.#logger,
      "warn",
      "a page of another origin cannot use this path: put CORS middleware in front that allows its origin, credentials, and the headers x-requested-with, x-signalr-user-agent, authorization and content-type",
      { origin: origin.slice(0, 200), path: exchange.path },
    );
  }
}
