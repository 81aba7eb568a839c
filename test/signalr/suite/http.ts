/** Requests as they stand on the wire, and the steps that every connection begins with. */
import assert from "node:assert/strict";
import { type IncomingHttpHeaders, type IncomingMessage, request as startRequest } from "node:http";
import { once, Signal, timeLimit, withTimeout } from "../../support/network.js";
import type { Scene } from "./case.js";

export const recordSeparator = "\x1e";

export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly text: string;
}

export interface RequestOptions {
  readonly headers?: Record<string, string>;
  readonly body?: string | Uint8Array;
  readonly signal?: AbortSignal;
}

/** Sends a request on a connection of its own and reads the head of the response. */
async function begin(
  scene: Scene,
  method: string,
  path: string,
  { headers = {}, body, signal }: RequestOptions = {},
): Promise<IncomingMessage> {
  const length = { "Content-Length": String(body === undefined ? 0 : Buffer.byteLength(body)) };
  const hasBody = body !== undefined || method === "POST";
  const request = startRequest(scene.url(path), {
    method,
    agent: false,
    headers: { ...(hasBody && length), ...headers },
    ...(signal && { signal }),
  });
  // An abort after the head is an error of both, request and response.
  request.on("error", () => {});
  request.end(body);
  const [response] = await once(request, "response", 2 * timeLimit);
  return response;
}

/** A whole exchange. */
export async function request(
  scene: Scene,
  method: string,
  path: string,
  options: RequestOptions = {},
): Promise<Reply> {
  const response = await begin(scene, method, path, options);
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  return {
    status: response.statusCode as number,
    headers: response.headers,
    body,
    text: body.toString(),
  };
}

/** The status, the type and the text of a reply, to compare with. */
export function summary({ status, headers, text }: Reply) {
  return { status, type: headers["content-type"]?.split(";")[0], text };
}

export interface Negotiated {
  readonly negotiateVersion: number;
  readonly connectionId: string;
  readonly connectionToken: string;
  readonly useStatefulReconnect?: boolean;
  readonly availableTransports: readonly { transport: string; transferFormats: string[] }[];
}

export interface NegotiateOptions {
  readonly version?: number;
  readonly isStateful?: boolean;
  readonly token?: string | undefined;
}

/** A fresh connection of a path. */
export async function negotiate(
  scene: Scene,
  path: string,
  { version = 1, isStateful = false, token }: NegotiateOptions = {},
): Promise<Negotiated> {
  const query = `negotiateVersion=${version}${isStateful ? "&useStatefulReconnect=true" : ""}`;
  const headers: Record<string, string> = token ? { Authorization: `Bearer ${token}` } : {};
  const reply = await request(scene, "POST", `${path}/negotiate?${query}`, { headers });
  assert.equal(reply.status, 200, reply.text);
  const negotiated = JSON.parse(reply.text) as Negotiated;
  return version === 0 ? { ...negotiated, connectionToken: negotiated.connectionId } : negotiated;
}

/** A response that goes on: what comes is read piece by piece. */
export class EventStream {
  readonly response: IncomingMessage;
  readonly #ended = new Signal("the end of the response");
  #received = "";
  #wake = () => {};

  constructor(response: IncomingMessage) {
    this.response = response;
    response.on("data", (chunk) => {
      this.#received += chunk;
      this.#wake();
    });
    response.on("error", () => {});
    response.once("close", () => {
      this.#ended.fire();
      this.#wake();
    });
  }

  /** Everything up to and including the next `end`. */
  readUntil(end: string): Promise<string> {
    const search = async () => {
      for (;;) {
        const at = this.#received.indexOf(end);
        if (at >= 0) {
          const found = this.#received.slice(0, at + end.length);
          this.#received = this.#received.slice(at + end.length);
          return found;
        }
        assert.ok(!this.response.closed, `ended before ${JSON.stringify(end)}: ${this.#received}`);
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    };
    return withTimeout(search(), timeLimit, JSON.stringify(end));
  }

  /** Hub messages of the next event. */
  async nextMessages(): Promise<Record<string, unknown>[]> {
    const event = await this.readUntil("\r\n\r\n");
    const data = /^data: (.*)\r\n\r\n$/s.exec(event)?.[1] ?? "";
    assert.ok(data.endsWith(recordSeparator), `not an event of whole messages: ${event}`);
    return parseJson(data);
  }

  /** Resolves when the server has ended the response. */
  whenEnded(): Promise<void> {
    return this.#ended.wait();
  }

  close(): void {
    this.response.destroy();
  }
}

/** Opens a connection's event stream; the first bytes are still to be read. */
export async function openEvents(
  scene: Scene,
  path: string,
  options: RequestOptions = {},
): Promise<EventStream> {
  const headers = { Accept: "text/event-stream", ...options.headers };
  const response = await begin(scene, "GET", path, { ...options, headers });
  scene.defer(() => response.destroy());
  assert.equal(response.statusCode, 200);
  return new EventStream(response);
}

/** JSON messages, each with its separator. */
export function parseJson(text: string): Record<string, unknown>[] {
  if (text === "") return [];
  assert.ok(text.endsWith(recordSeparator), `not whole messages: ${JSON.stringify(text)}`);
  return text
    .slice(0, -1)
    .split(recordSeparator)
    .map((each) => JSON.parse(each));
}

/** JSON messages as they are sent. */
export function encodeJson(...messages: object[]): string {
  return messages.map((each) => `${JSON.stringify(each)}${recordSeparator}`).join("");
}

export const jsonHandshake = encodeJson({ protocol: "json", version: 1 });

/** A long-polling connection over which JSON is spoken. */
export class PollPeer {
  readonly scene: Scene;
  readonly path: string;
  readonly negotiated: Negotiated;
  readonly #headers: Record<string, string>;
  #pending: Record<string, unknown>[] = [];

  constructor(scene: Scene, path: string, negotiated: Negotiated, headers = {}) {
    this.scene = scene;
    this.path = `${path}?id=${negotiated.connectionToken}`;
    this.negotiated = negotiated;
    this.#headers = headers;
  }

  get connectionId(): string {
    return this.negotiated.connectionId;
  }

  poll(options: RequestOptions = {}): Promise<Reply> {
    return request(this.scene, "GET", this.path, { headers: this.#headers, ...options });
  }

  post(body: string | Uint8Array): Promise<Reply> {
    return request(this.scene, "POST", this.path, { headers: this.#headers, body });
  }

  delete(): Promise<Reply> {
    return request(this.scene, "DELETE", this.path, { headers: this.#headers });
  }

  async send(...messages: object[]): Promise<void> {
    const reply = await this.post(encodeJson(...messages));
    assert.equal(reply.status, 200, reply.text);
  }

  /** The next message; polls until there is one. */
  async next(): Promise<Record<string, unknown>> {
    while (this.#pending.length === 0) {
      const reply = await this.poll();
      assert.equal(reply.status, 200, reply.text);
      this.#pending.push(...parseJson(reply.text));
    }
    return this.#pending.shift() as Record<string, unknown>;
  }

  /** Calls a method and returns its completion. */
  async invoke(target: string, ...args: unknown[]): Promise<Record<string, unknown>> {
    await this.send({ type: 1, invocationId: "1", target, arguments: args });
    return this.next();
  }
}

/** A connection after its first poll. */
export async function openPolls(scene: Scene, path = "/wire", token?: string): Promise<PollPeer> {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const peer = new PollPeer(scene, path, await negotiate(scene, path, { token }), headers);
  // The server may be down by then.
  scene.defer(() => peer.delete().catch(() => {}));
  assert.equal((await peer.poll()).status, 200);
  return peer;
}

/** A connection after its handshake. */
export async function openHubPolls(scene: Scene, path = "/wire", token?: string) {
  const peer = await openPolls(scene, path, token);
  assert.equal((await peer.post(jsonHandshake)).status, 200);
  assert.deepEqual(await peer.next(), {});
  return peer;
}
