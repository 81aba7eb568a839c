import * as crypto from "node:crypto";
import { HandshakeError } from "../errors.js";
import { isToken, listIncludes, parseList } from "./headers.js";

/** The version of the protocol that RFC 6455 defines, and the only one spoken here. */
export const webSocketVersion = "13";

const keySuffix = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const maxSubprotocols = 100;

/** The parts of a request that the opening handshake looks at, as node:http names them. */
export interface HandshakeRequest {
  readonly method?: string | undefined;
  readonly httpVersionMajor: number;
  readonly httpVersionMinor: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

/** Whether a request asks for a WebSocket, well-formed or not. */
export function asksForWebSocket(request: HandshakeRequest): boolean {
  if (isExtendedConnect(request)) {
    return String(request.headers[":protocol"]).toLowerCase() === "websocket";
  }
  return listIncludes(request.headers.upgrade, "websocket");
}

/**
 * Whether a request is an extended CONNECT, which asks for its `:protocol`. The method is not looked
 * at: over HTTP/2 no other request may have that field.
 * @see RFC 8441 §4
 */
export function isExtendedConnect({ httpVersionMajor, headers }: HandshakeRequest): boolean {
  return httpVersionMajor >= 2 && headers[":protocol"] !== undefined;
}

/** The subprotocols a request offers, in its order of preference. @see RFC 6455 §11.3.4 */
export function offeredSubprotocols(request: HandshakeRequest): string[] {
  return parseList(request.headers["sec-websocket-protocol"]);
}

/**
 * Checks an opening handshake, before anything is written.
 *
 * @throws HandshakeError 426 for another version of the protocol (400 over HTTP/2, which has no
 *   Upgrade to name), 400 for anything else that is wrong; the message says what.
 * @see RFC 6455 §4.2.1, §4.4; RFC 8441 §5
 */
export function checkHandshake(request: HandshakeRequest): void {
  const { headers } = request;
  const isHttp2 = isExtendedConnect(request);
  if (isHttp2) checkExtendedConnect(request);
  else checkUpgrade(request);
  const length = headers["content-length"];
  if (
    headers["transfer-encoding"] !== undefined ||
    (length !== undefined && Number(length) !== 0)
  ) {
    throw badRequest("ERR_HANDSHAKE_BODY", "The request must not have a body.");
  }
  const versions = parseList(headers["sec-websocket-version"]);
  if (versions.length === 0) {
    throw badRequest("ERR_HANDSHAKE_VERSION", "The Sec-WebSocket-Version header is missing.");
  }
  if (!versions.includes(webSocketVersion)) {
    throw new HandshakeError(
      "ERR_HANDSHAKE_VERSION",
      `Only version ${webSocketVersion} of the WebSocket protocol is supported.`,
      // RFC 9110 §15.5.22 wants Upgrade in every 426; RFC 9113 §8.2.2 forbids it in HTTP/2.
      isHttp2 ? 400 : 426,
      { "Sec-WebSocket-Version": webSocketVersion, ...(!isHttp2 && { Upgrade: "websocket" }) },
    );
  }
  if (!isHttp2 && !isKey(headers["sec-websocket-key"])) {
    throw badRequest(
      "ERR_HANDSHAKE_KEY",
      "The Sec-WebSocket-Key header must be the base64 form of exactly 16 bytes.",
    );
  }
  const subprotocols = offeredSubprotocols(request);
  if (subprotocols.length > maxSubprotocols || !subprotocols.every(isToken)) {
    throw badRequest(
      "ERR_HANDSHAKE_SUBPROTOCOL",
      `The Sec-WebSocket-Protocol header must list tokens, ${maxSubprotocols} at most.`,
    );
  }
}

function checkUpgrade(request: HandshakeRequest): void {
  const { headers } = request;
  if (request.method !== "GET") {
    throw badRequest("ERR_HANDSHAKE_METHOD", `The method must be GET, not ${request.method}.`);
  }
  if (
    request.httpVersionMajor < 1 ||
    (request.httpVersionMajor === 1 && request.httpVersionMinor < 1)
  ) {
    throw badRequest("ERR_HANDSHAKE_HTTP_VERSION", "HTTP/1.1 or later is needed.");
  }
  if (!listIncludes(headers.upgrade, "websocket")) {
    throw badRequest("ERR_HANDSHAKE_UPGRADE", "The Upgrade header must list websocket.");
  }
  if (!listIncludes(headers.connection, "upgrade")) {
    throw badRequest("ERR_HANDSHAKE_CONNECTION", "The Connection header must list Upgrade.");
  }
}

function checkExtendedConnect({ headers }: HandshakeRequest): void {
  for (const name of [":scheme", ":path"]) {
    if (!headers[name]) {
      throw badRequest("ERR_HANDSHAKE_PSEUDO_HEADER", `The pseudo-header ${name} is missing.`);
    }
  }
}

function badRequest(code: string, message: string): HandshakeError {
  return new HandshakeError(code, message, 400);
}

/**
 * 22 characters of base64 hold 16 bytes and 4 bits, which may be anything: they are not 0 in the
 * example of RFC 6455 §4.1 item 7 itself.
 */
const keyForm = /^[A-Za-z0-9+/]{22}==$/;

function isKey(key: string | string[] | undefined): key is string {
  return typeof key === "string" && keyForm.test(key);
}

/** The value of Sec-WebSocket-Accept that proves that `key` was read. @see RFC 6455 §4.2.2 item 5 */
export function acceptKey(key: string): string {
  return sha1(key + keySuffix);
}

/** In one call where Node has it (20.12, 21.7 and later), which costs half as much. */
const sha1: (text: string) => string =
  typeof crypto.hash === "function"
    ? (text) => crypto.hash("sha1", text, "base64")
    : (text) => crypto.createHash("sha1").update(text).digest("base64");

/**
 * The headers of the answer that accepts a checked request: a 101, or the 200 of HTTP/2, which has
 * neither Upgrade nor a key to prove.
 *
 * @param subprotocol - One of the offered ones, or `undefined` for none.
 * @param extensions - The extension agreed on, or `undefined` for none.
 */
export function acceptHeaders(
  request: HandshakeRequest,
  subprotocol: string | undefined,
  extensions?: string,
): Record<string, string> {
  const headers: Record<string, string> = isExtendedConnect(request)
    ? {}
    : {
        Upgrade: "websocket",
        Connection: "Upgrade",
        "Sec-WebSocket-Accept": acceptKey(request.headers["sec-websocket-key"] as string),
      };
  if (subprotocol !== undefined) headers["Sec-WebSocket-Protocol"] = subprotocol;
  if (extensions !== undefined) headers["Sec-WebSocket-Extensions"] = extensions;
  return headers;
}
