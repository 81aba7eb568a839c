import { request as httpRequest } from "node:http";
import type { Socket } from "node:net";
import {
  AnswerBody,
  basicAuthorization,
  type HeaderLine,
  maxAnswerBody,
  parseUrl,
  refused,
} from "../protocol/client-handshake.js";

/** A proxy, and how to reach it. */
export interface ProxyServer {
  readonly host: string;
  readonly port: number;
  /** Whether the way to the proxy itself is TLS. */
  readonly isSecure: boolean;
  /** For the proxy alone; never in an error, never for the server behind it. */
  readonly authorization: string | undefined;
}

/**
 * Reads the address of a proxy: `http://user:password@host:port` or `https://…`.
 *
 * @throws TypeError, which does not repeat the address, for anything else.
 */
export function parseProxy(proxy: string | URL): ProxyServer {
  const url = parseUrl(proxy, "The address of the proxy");
  const isSecure = url.protocol === "https:";
  if (!isSecure && url.protocol !== "http:") {
    throw new TypeError(
      `The address of the proxy must begin with http: or https:, not ${url.protocol}`,
    );
  }
  return { ...endpointOf(url), isSecure, authorization: basicAuthorization(url) };
}

/** Host (an IPv6 address without brackets) and port that a URL stands for. */
export function endpointOf(url: URL): { host: string; port: number } {
  const isSecure = url.protocol === "https:" || url.protocol === "wss:";
  return {
    host: url.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: url.port === "" ? (isSecure ? 443 : 80) : Number(url.port),
  };
}

/**
 * Asks the proxy at the other end of `socket` for a tunnel; afterwards the socket is the tunnel.
 *
 * @param socket - Connected; whoever destroys it ends the waiting.
 * @param authority - Host and port of the tunnel's end.
 * @throws HandshakeError `ERR_HANDSHAKE_PROXY` for another status than 200, or when bytes follow
 *   before anything was asked of the server: those would be the proxy's own. The socket's error
 *   when that fails.
 * @see RFC 9110 §9.3.6
 */
export function openTunnel(
  socket: Socket,
  authority: string,
  authorization: string | undefined,
): Promise<void> {
  const headers: HeaderLine[] = [["Host", authority]];
  if (authorization !== undefined) headers.push(["Proxy-Authorization", authorization]);
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      createConnection: () => socket,
      method: "CONNECT",
      path: authority,
      headers: headers.flat(),
      maxHeaderSize: 16 * 1024,
    });
    request.on("connect", (response, _, head) => {
      const { statusCode: status = 0, rawHeaders } = response;
      if (status === 200 && head.length === 0) return resolve();
      if (status === 200) {
        const message = "The proxy sent bytes before the server was asked anything.";
        return reject(refused("ERR_HANDSHAKE_PROXY", message, { status, rawHeaders }));
      }
      const refusal = readRawBody(socket, head, response.headers).then((body) => {
        const message = `The proxy answered ${status} instead of 200.`;
        throw refused("ERR_HANDSHAKE_PROXY", message, { status, rawHeaders, body });
      });
      // At once, because the request closes at once.
      resolve(refusal);
    });
    request.on("error", reject);
    request.on("close", () => reject(new Error("The proxy ended the connection unanswered.")));
    request.end();
  });
}

/** The beginning of a refusal's body. node:http leaves that to us, because it expects a tunnel. */
function readRawBody(
  socket: Socket,
  head: Buffer,
  headers: NodeJS.Dict<string | string[]>,
): Promise<string> {
  const isChunked = headers["transfer-encoding"] !== undefined;
  const length = Number(headers["content-length"] ?? maxAnswerBody);
  return new Promise((resolve) => {
    const body = new AnswerBody(isChunked || !(length >= 0) ? maxAnswerBody : length);
    const finish = () => {
      socket.destroy();
      resolve(isChunked ? decodeChunks(body.bytes).text : body.text);
    };
    const take = (chunk: Buffer) => {
      body.push(chunk);
      if (body.isFull || (isChunked && decodeChunks(body.bytes).isWhole)) finish();
    };
    socket.on("data", take);
    socket.on("end", finish);
    socket.on("close", finish);
    take(head);
  });
}

/** Takes the chunked coding off what there is of a body. @see RFC 9112 §7.1 */
function decodeChunks(bytes: Buffer): { text: string; isWhole: boolean } {
  const body = new AnswerBody();
  let isWhole = false;
  for (let at = 0; !isWhole; ) {
    const lineEnd = bytes.indexOf("\r\n", at);
    const size = Number.parseInt(bytes.toString("latin1", at, Math.max(at, lineEnd)), 16);
    if (lineEnd < 0 || !(size >= 0)) break;
    body.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + size));
    isWhole = size === 0;
    at = lineEnd + 2 + size + 2;
  }
  return { text: body.text, isWhole };
}
