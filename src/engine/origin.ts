import type { IncomingMessage } from "node:http";
import type { WebSocketOptions } from "./options.js";

/** Says whether pages of `origin` may connect by `request`. */
export type OriginPolicy = (origin: string, request: IncomingMessage) => boolean;

/**
 * Builds the check behind `allowedOrigins`.
 *
 * @throws TypeError for a list entry that is not an origin, such as one with a path.
 * @see RFC 6455 §10.2, RFC 6454 §6
 */
export function originPolicy(allowed: WebSocketOptions["allowedOrigins"]): OriginPolicy {
  if (allowed === "*") return () => true;
  if (allowed === undefined || allowed === "same-origin") return isSameOrigin;
  if (!Array.isArray(allowed)) {
    throw new TypeError('allowedOrigins must be "same-origin", "*" or a list of origins.');
  }
  if (allowed.includes("*")) return () => true;
  const origins = new Set(allowed.map(normalise));
  return (origin) => origins.has(origin.toLowerCase());
}

function normalise(entry: unknown): string {
  if (entry === "null") return "null";
  const url = typeof entry === "string" && URL.canParse(entry) ? new URL(entry) : undefined;
  // `origin` is "null" for schemes without one, such as those of apps and extensions.
  const origin = url && (url.origin === "null" ? `${url.protocol}//${url.host}` : url.origin);
  const isOrigin = url && `${origin}/` === (url.href.endsWith("/") ? url.href : `${url.href}/`);
  // A URL's host may have an asterisk, but here it would look like a pattern and match nothing.
  if (!isOrigin || url.host.includes("*")) {
    throw new TypeError(
      `allowedOrigins: ${JSON.stringify(entry)} is not an origin; write scheme://host[:port], such as "https://example.com".`,
    );
  }
  return (origin as string).toLowerCase();
}

/**
 * Whether the page comes from the host and port that it connects to. Behind a proxy that ends TLS
 * the scheme is not known, so that it counts only where TLS ends here or the request names it: then
 * it must be https.
 */
function isSameOrigin(origin: string, request: IncomingMessage): boolean {
  const { headers } = request;
  // RFC 9113 §8.3.1: where there is :authority, Host means nothing.
  const host = (headers[":authority"] as string | undefined) ?? headers.host;
  if (host === undefined || !URL.canParse(origin)) return false;
  const page = new URL(origin);
  // With the page's scheme, so that a default port is left out on both sides.
  const server = `${page.protocol}//${host}`;
  if (!URL.canParse(server) || page.host === "" || page.host !== new URL(server).host) return false;
  if (page.protocol === "https:") return true;
  return !("encrypted" in request.socket) && headers[":scheme"] !== "https";
}
