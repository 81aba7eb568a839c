import { randomBytes } from "node:crypto";
import { HandshakeError } from "../errors.js";
import {
  type DeflateAgreement,
  type DeflateWishes,
  offerDeflate,
  readDeflateAnswer,
} from "./deflate-offer.js";
import { acceptKey, webSocketVersion } from "./handshake.js";
import { isToken, listIncludes } from "./headers.js";

/**
 * Headers for the request: an object whose values are strings or lists of strings, or pairs, which
 * is also what `Headers` and `Map` are.
 */
export type RequestHeaders =
  | Readonly<Record<string, string | readonly string[] | undefined>>
  | Iterable<readonly [name: string, value: string]>;

/** One line of a request's head. */
export type HeaderLine = readonly [name: string, value: string];

/** Where to connect, and what to say there besides the handshake itself. */
export interface Target {
  /** Its scheme is `ws:` or `wss:`; it has neither credentials nor a fragment. */
  readonly url: URL;
  readonly headers: readonly HeaderLine[];
}

/** What a client puts into its opening handshake, and holds the answer against. */
export interface HandshakeOffer {
  /** The base64 form of 16 random bytes. */
  readonly key: string;
  readonly subprotocols: readonly string[];
  /** What to agree on for permessage-deflate; without it, it is not offered. */
  readonly deflate?: DeflateWishes | undefined;
  /** Whether it goes over HTTP/2, where there is no key, and 200 is the answer that accepts. */
  readonly isHttp2?: boolean;
}

/** The parts of a response that the opening handshake looks at. */
export interface HandshakeAnswer {
  readonly status: number;
  /** Names and values in turn, as node:http gives them. */
  readonly rawHeaders: readonly string[];
  /** The beginning of the body, for an answer that is a refusal. */
  readonly body?: string;
}

/** What both sides have agreed on. */
export interface Agreement {
  /** One of the offered subprotocols, or `undefined` when the server chose none. */
  readonly subprotocol: string | undefined;
  /** What was agreed on for permessage-deflate, or `undefined` when the server declined it. */
  readonly deflate: DeflateAgreement | undefined;
}

const redirectStatuses = new Set([301, 302, 303, 307, 308]);

/** What the handshake says itself, or what would change how the request is framed. */
const reservedHeaders = new Set([
  "connection",
  "content-length",
  "expect",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/**
 * Reads the address of a WebSocket and the headers that go there.
 *
 * `http:` and `https:` mean `ws:` and `wss:`. Credentials in the URL become an Authorization
 * header, unless `headers` has one.
 * @throws TypeError for a URL that is none, has another scheme, a fragment or unreadable
 *   credentials; and for a header that is malformed or that the handshake sets itself. No message
 *   repeats the URL or a value: they can hold secrets.
 * @see RFC 6455 §3
 */
export function parseTarget(url: string | URL, headers: RequestHeaders = {}): Target {
  const parsed = parseUrl(url, "The URL");
  if (parsed.protocol === "http:") parsed.protocol = "ws:";
  if (parsed.protocol === "https:") parsed.protocol = "wss:";
  if (parsed.protocol !== "ws:" && parsed.protocol !== "wss:") {
    throw new TypeError(`The URL must begin with ws: or wss:, not ${parsed.protocol}`);
  }
  if (parsed.href.includes("#")) {
    throw new TypeError("The URL of a WebSocket has no fragment (#).");
  }
  const lines = checkHeaders(headers);
  const authorization = basicAuthorization(parsed);
  if (authorization !== undefined && !hasHeader(lines, "authorization")) {
    lines.push(["Authorization", authorization]);
  }
  parsed.username = "";
  parsed.password = "";
  return { url: parsed, headers: lines };
}

/**
 * A URL object of its own.
 *
 * @param what - The beginning of the error's message.
 * @throws TypeError that does not repeat the URL, as the one of `new URL()` does.
 */
export function parseUrl(url: string | URL, what: string): URL {
  if (!URL.canParse(String(url))) throw new TypeError(`${what} is not an absolute URL.`);
  return new URL(url);
}

/**
 * The Basic credentials of a URL's user name and password; `undefined` when it has none.
 *
 * @throws TypeError when they are not percent-encoded UTF-8, or the name has a colon.
 * @see RFC 7617 §2
 */
export function basicAuthorization(url: URL): string | undefined {
  if (url.username === "" && url.password === "") return undefined;
  let name: string;
  let password: string;
  try {
    name = decodeURIComponent(url.username);
    password = decodeURIComponent(url.password);
  } catch {
    throw new TypeError("The credentials in the URL are not percent-encoded UTF-8.");
  }
  if (name.includes(":")) throw new TypeError("The user name in the URL contains a colon.");
  return `Basic ${Buffer.from(`${name}:${password}`).toString("base64")}`;
}

/**
 * Checks the subprotocols to offer.
 *
 * @throws TypeError for one that is not a token or is there twice.
 * @see RFC 6455 §4.1 item 10
 */
export function checkSubprotocols(protocols: string | readonly string[]): readonly string[] {
  const list = typeof protocols === "string" ? [protocols] : [...protocols];
  for (const protocol of list) {
    if (typeof protocol !== "string" || !isToken(protocol)) {
      throw new TypeError(`A subprotocol must be a token; ${JSON.stringify(protocol)} is none.`);
    }
  }
  if (new Set(list).size < list.length) throw new TypeError("A subprotocol is there twice.");
  return list;
}

function checkHeaders(headers: RequestHeaders): HeaderLine[] {
  const entries = isIterable(headers) ? headers : Object.entries(headers);
  const lines: HeaderLine[] = [];
  for (const [name, value] of entries) {
    if (value === undefined) continue;
    if (typeof name !== "string" || !isToken(name)) {
      throw new TypeError(`${JSON.stringify(name)} cannot be the name of a header.`);
    }
    const lowerCase = name.toLowerCase();
    if (reservedHeaders.has(lowerCase) || lowerCase.startsWith("sec-websocket-")) {
      throw new TypeError(`The header ${name} belongs to the handshake; it cannot be set.`);
    }
    for (const line of typeof value === "string" ? [value] : value) {
      if (typeof line !== "string" || !isFieldValue(line)) {
        throw new TypeError(`The value of the header ${name} has characters that are not allowed.`);
      }
      if (lowerCase === "host" && hasHeader(lines, "host")) {
        throw new TypeError("A request has one Host header.");
      }
      lines.push([name, line]);
    }
  }
  return lines;
}

function isIterable(headers: RequestHeaders): headers is Iterable<readonly [string, string]> {
  return Symbol.iterator in headers;
}

/** Whether `text` can stand in a header: no control character but the tab (RFC 9110 §5.5). */
function isFieldValue(text: string): boolean {
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if ((code < 0x20 && code !== 0x09) || code === 0x7f || code > 0xff) return false;
  }
  return true;
}

function hasHeader(lines: readonly HeaderLine[], lowerCase: string): boolean {
  return lines.some(([name]) => name.toLowerCase() === lowerCase);
}

/** A new value for Sec-WebSocket-Key. @see RFC 6455 §4.1 item 7 */
export function createKey(): string {
  return randomBytes(16).toString("base64");
}

/** The head of the request, in order. @see RFC 6455 §4.1 */
export function requestHeaders({ url, headers }: Target, offer: HandshakeOffer): HeaderLine[] {
  const lines: HeaderLine[] = hasHeader(headers, "host") ? [] : [["Host", url.host]];
  lines.push(
    ["Upgrade", "websocket"],
    ["Connection", "Upgrade"],
    ["Sec-WebSocket-Key", offer.key],
    ["Sec-WebSocket-Version", webSocketVersion],
  );
  return [...lines, ...negotiationHeaders(offer), ...headers];
}

/**
 * The head of the request over HTTP/2, as node:http2 takes it. A Host header is its authority.
 *
 * @see RFC 8441 §5
 */
export function http2RequestHeaders(
  { url, headers }: Target,
  offer: HandshakeOffer,
): Record<string, string | string[]> {
  const lines: Record<string, string | string[]> = {
    ":method": "CONNECT",
    ":protocol": "websocket",
    ":scheme": url.protocol === "wss:" ? "https" : "http",
    ":path": url.pathname + url.search,
    ":authority": headers.find(([name]) => name.toLowerCase() === "host")?.[1] ?? url.host,
    "sec-websocket-version": webSocketVersion,
  };
  for (const [name, value] of [...negotiationHeaders(offer), ...headers]) {
    const lowerCase = name.toLowerCase();
    if (lowerCase === "host") continue;
    const before = lines[lowerCase];
    lines[lowerCase] = before === undefined ? value : [before, value].flat();
  }
  return lines;
}

function negotiationHeaders({ subprotocols, deflate }: HandshakeOffer): HeaderLine[] {
  const lines: HeaderLine[] = [];
  if (subprotocols.length > 0) lines.push(["Sec-WebSocket-Protocol", subprotocols.join(", ")]);
  if (deflate !== undefined) lines.push(["Sec-WebSocket-Extensions", offerDeflate(deflate)]);
  return lines;
}

/** Whether an answer sends the client elsewhere. */
export function isRedirect({ status, rawHeaders }: HandshakeAnswer): boolean {
  return redirectStatuses.has(status) && valuesOf(rawHeaders, "location").length > 0;
}

/**
 * Where a redirect leads. What was meant for one origin alone (Authorization, Cookie, Host and
 * everything that begins with Proxy-) does not go to another.
 *
 * @throws HandshakeError `ERR_HANDSHAKE_REDIRECT` when it leads from wss to ws, or nowhere.
 */
export function redirectTarget(from: Target, answer: HandshakeAnswer): Target {
  const [location, ...others] = valuesOf(answer.rawHeaders, "location");
  if (location === undefined || others.length > 0 || !URL.canParse(location, from.url.href)) {
    throw refusedRedirect(answer, "it has no usable Location");
  }
  const url = new URL(location, from.url);
  const hasSameOrigin = originOf(url) === originOf(from.url);
  const headers = hasSameOrigin ? from.headers : from.headers.filter(isForEveryOrigin);
  let target: Target;
  try {
    target = parseTarget(url, headers);
  } catch {
    throw refusedRedirect(answer, "its Location is not the address of a WebSocket");
  }
  if (from.url.protocol === "wss:" && target.url.protocol !== "wss:") {
    throw refusedRedirect(answer, "it leads from wss to ws");
  }
  return target;
}

/** The origin of a WebSocket's URL, `http:` meaning `ws:`. */
export function originOf(url: URL): string {
  return url.origin.replace(/^http/, "ws");
}

function isForEveryOrigin([name]: HeaderLine): boolean {
  const lowerCase = name.toLowerCase();
  return (
    !["authorization", "cookie", "host"].includes(lowerCase) && !lowerCase.startsWith("proxy-")
  );
}

/** The error for a redirect that is not followed. */
export function refusedRedirect(answer: HandshakeAnswer, why: string): HandshakeError {
  return refused(
    "ERR_HANDSHAKE_REDIRECT",
    `The server redirects (status ${answer.status}), which is not followed: ${why}.`,
    answer,
  );
}

/**
 * Checks the answer to an opening handshake.
 *
 * A server may choose no subprotocol at all.
 * @returns What it agrees to, of what was offered.
 * @throws HandshakeError with the answer as `response`: `ERR_HANDSHAKE_STATUS` for
 *   another status than 101 (200 over HTTP/2); `…_UPGRADE`, `…_CONNECTION`, `…_ACCEPT`, `…_EXTENSION` and
 *   `…_SUBPROTOCOL` for a header that is missing, wrong, or was not asked for.
 * @see RFC 6455 §4.1, the numbered list after "Once the client's opening handshake has been sent";
 *   RFC 8441 §5
 */
export function checkAnswer(answer: HandshakeAnswer, offer: HandshakeOffer): Agreement {
  const { status, rawHeaders } = answer;
  const expected = offer.isHttp2 ? 200 : 101;
  if (status !== expected) {
    const message = `The server answered ${status} instead of ${expected}.`;
    throw refused("ERR_HANDSHAKE_STATUS", message, answer);
  }
  if (!offer.isHttp2) checkSwitch(answer, offer);
  const extensions = valuesOf(rawHeaders, "sec-websocket-extensions");
  const deflate =
    offer.deflate && extensions.length > 0
      ? readDeflateAnswer(extensions.join(", "), offer.deflate)
      : undefined;
  if (extensions.length > 0 && deflate === undefined) {
    throw refused(
      "ERR_HANDSHAKE_EXTENSION",
      "The server wants an extension that was not offered, or not so.",
      answer,
    );
  }
  const [subprotocol, ...otherSubprotocols] = valuesOf(rawHeaders, "sec-websocket-protocol");
  if (
    otherSubprotocols.length > 0 ||
    (subprotocol !== undefined && !offer.subprotocols.includes(subprotocol))
  ) {
    throw refused(
      "ERR_HANDSHAKE_SUBPROTOCOL",
      "The server wants a subprotocol that was not offered.",
      answer,
    );
  }
  return { subprotocol, deflate };
}

/** That the server has switched protocols, and read our key. */
function checkSwitch(answer: HandshakeAnswer, offer: HandshakeOffer): void {
  const { rawHeaders } = answer;
  const [upgrade, ...otherUpgrades] = valuesOf(rawHeaders, "upgrade");
  if (upgrade?.toLowerCase() !== "websocket" || otherUpgrades.length > 0) {
    throw refused("ERR_HANDSHAKE_UPGRADE", "The answer's Upgrade is not websocket.", answer);
  }
  if (!listIncludes(valuesOf(rawHeaders, "connection"), "upgrade")) {
    throw refused(
      "ERR_HANDSHAKE_CONNECTION",
      "The answer's Connection does not list Upgrade.",
      answer,
    );
  }
  const [accept, ...otherAccepts] = valuesOf(rawHeaders, "sec-websocket-accept");
  if (accept !== acceptKey(offer.key) || otherAccepts.length > 0) {
    throw refused(
      "ERR_HANDSHAKE_ACCEPT",
      "The answer's Sec-WebSocket-Accept does not prove that our key was read.",
      answer,
    );
  }
}

function valuesOf(rawHeaders: readonly string[], lowerCase: string): string[] {
  return rawHeaders.filter(
    (_, index) => index % 2 === 1 && rawHeaders[index - 1]?.toLowerCase() === lowerCase,
  );
}

/** An error that carries an answer. */
export function refused(code: string, message: string, answer: HandshakeAnswer): HandshakeError {
  const { status, rawHeaders, body } = answer;
  const values = new Map<string, string>();
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = String(rawHeaders[index]).toLowerCase();
    const before = values.get(name);
    const value = String(rawHeaders[index + 1]);
    values.set(name, before === undefined ? value : `${before}, ${value}`);
  }
  const response = { status, headers: Object.fromEntries(values), body };
  return new HandshakeError(code, message, 502, {}, response);
}

/** Longest part of a refusal's body that is kept, in bytes. */
export const maxAnswerBody = 16 * 1024;

/** Gathers the beginning of a body. */
export class AnswerBody {
  readonly #chunks: Buffer[] = [];
  #room: number;

  /** @param length - Bytes wanted, if fewer than {@link maxAnswerBody}. */
  constructor(length = maxAnswerBody) {
    this.#room = Math.min(length, maxAnswerBody);
  }

  /** Whether there is no use in more. */
  get isFull(): boolean {
    return this.#room <= 0;
  }

  push(chunk: Buffer): void {
    if (this.isFull) return;
    this.#chunks.push(chunk.subarray(0, this.#room));
    this.#room -= chunk.length;
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  /** As UTF-8; a character that was cut in two at the end is left out. */
  get text(): string {
    return new TextDecoder().decode(this.bytes, { stream: true });
  }
}
